"""Bad input: one clear line that says what, where and what to do; exit code not 0; no traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.support.servers import find_free_port

SERVICES = ("planner", "collector", "parquet-sink")
BINANCE = {"channels": {"trades": {"symbols": ["BTC/USDT"]}}}


def run_service(folder: Path, service: str, config: dict | str, *flags: str) -> tuple[int, str]:
    """Run a service until it ends, and return its exit code and what it wrote."""
    path = folder / "tickloom.yaml"
    path.write_text(config if isinstance(config, str) else yaml.safe_dump(config))
    module = "tickloom_" + service.replace("-", "_")
    command = [sys.executable, "-m", module, f"--config={path}", *flags]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return result.returncode, result.stdout + result.stderr


def assert_one_clear_line(outcome: tuple[int, str], *parts: str) -> None:
    """Assert that the run failed with one `error:` line that holds all parts."""
    code, output = outcome
    assert code not in {0, 70}, output
    assert "Traceback" not in output, output
    errors = [line for line in output.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, output
    for part in parts:
        assert part in errors[0]


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize(
    ("config", "parts"),
    [
        ("venue: {}", ("tickloom.yaml:1", "unknown setting `venue`", "did you mean `venues`?")),
        ("bus:\n  partitions: x", ("tickloom.yaml:2", "bus.partitions", "expected `int`")),
        ("venues: {binance: {feed: quick}}", ("venues.binance.feed", "expected one of auto, native, ccxt")),
    ],
)
def test_configuration(tmp_path, service, config, parts):
    """Unknown keys and wrong types are refused by every service."""
    assert_one_clear_line(run_service(tmp_path, service, config), *parts)


@pytest.mark.parametrize("service", SERVICES)
def test_unknown_flag(tmp_path, service):
    """An unknown flag names the nearest known one."""
    assert_one_clear_line(run_service(tmp_path, service, "", "--confg=x"), "confg", "config")


@pytest.mark.parametrize("service", SERVICES)
def test_unreachable_nats(tmp_path, service):
    """No NATS: the address and what to do."""
    url = f"nats://127.0.0.1:{find_free_port()}"
    config = {"nats": {"url": url, "connect_timeout_s": 1}, "venues": {"binance": BINANCE}, "data_dir": str(tmp_path)}
    assert_one_clear_line(run_service(tmp_path, service, config), url, "start it or correct nats.url")


def test_unknown_venue(tmp_path):
    """A venue that ccxt does not know names the nearest it does."""
    config = {"venues": {"binanse": BINANCE}, "data_dir": str(tmp_path)}
    assert_one_clear_line(run_service(tmp_path, "planner", config, "--dry_run"), "binanse", "binance")


def test_unknown_symbol(tmp_path, simulator):
    """A symbol that the venue does not list names the venue and the nearest symbol."""
    config = {
        "venues": {
            "binance": {"endpoint": simulator.venues["binance"], "channels": {"trades": {"symbols": ["BTC/USDX"]}}}
        },
        "data_dir": str(tmp_path),
    }
    outcome = run_service(tmp_path, "planner", config, "--dry_run", "--profile_seconds=1")
    assert_one_clear_line(outcome, "BTC/USDX", "binance", "BTC/USDT")


def test_unwritable_folder(tmp_path, nats_server):
    """A Parquet folder that cannot be written is named at start."""
    blocker = tmp_path / "blocker"
    blocker.write_text("a file where a folder should be")
    config = {"nats": {"url": nats_server.url}, "parquet_sink": {"uri": str(blocker / "parquet")}}
    assert_one_clear_line(run_service(tmp_path, "parquet-sink", config), str(blocker))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_folder(tmp_path, nats_server):
    """A Parquet folder without write permission is named at start."""
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    config = {"nats": {"url": nats_server.url}, "parquet_sink": {"uri": str(locked)}}
    assert_one_clear_line(run_service(tmp_path, "parquet-sink", config), str(locked))
