from __future__ import annotations

import contextlib
import json
import signal
import sys
import urllib.request

import psutil
import pytest

SERVICES = ("nats", "parquet-sink", "collector-0", "planner")


def make_venues(simulator):
    return {"kraken": {"endpoint": simulator.venues["kraken"], "channels": {"trades": {}, "tickers": {}}}}


def find_child(up, module):
    for child in psutil.Process(up.pid).children():
        with contextlib.suppress(psutil.NoSuchProcess):  # it may end while it is looked at
            if module in child.cmdline():
                return child
    return None


def count_stored(run_tickloom, config, channel):
    done = run_tickloom("sql", f"--config={config}", f"select count(*) from {channel}")  # noqa: S608
    return int(done.stdout.splitlines()[1]) if done.returncode == 0 else 0


def count_sent(simulator, channel):
    return sum(row["sent"] for row in simulator.get("truth?agent=tickloom-collector") if row["channel"] == channel)


def pause(simulator):
    urllib.request.urlopen(urllib.request.Request(f"{simulator.control}/pause", method="POST"), timeout=30).close()  # noqa: S310


def test_up_runs_everything_restarts_what_dies_and_stores_it_all_at_the_end(
    simulator, write_config, start_tickloom, run_tickloom, wait
):
    """A killed sink starts again, a second `up` is refused; SIGTERM drains: every row sent is stored, all has ended."""
    config = write_config(venues=make_venues(simulator))
    up = start_tickloom("up", f"--config={config}", "--workers=1", "--restart_base_s=0.2")
    wait(lambda: count_sent(simulator, "trades") > 50, what="trades are sent")
    sink = find_child(up, "tickloom_parquet_sink")
    sink.kill()
    wait(lambda: (find_child(up, "tickloom_parquet_sink") or sink).pid != sink.pid, what="the sink is started again")
    wait(lambda: run_tickloom("status", f"--config={config}").returncode == 0, what="status finds everything working")
    second = run_tickloom("up", f"--config={config}")
    assert (second.returncode, second.stderr.count("another `tickloom up` runs on this folder")) == (2, 1)
    pause(simulator)
    children = psutil.Process(up.pid).children(recursive=True)
    up.send_signal(signal.SIGTERM)
    output, _ = up.communicate(timeout=90)
    assert up.returncode == 0, output
    assert "parquet-sink ended with code -9" in output
    assert output.splitlines()[-1] == "stopped"
    assert not [child for child in children if child.is_running()]
    for channel in ("trades", "tickers"):
        assert count_stored(run_tickloom, config, channel) == count_sent(simulator, channel)
    logs = {path.stem for path in (config.parent / "data" / "logs").iterdir()}
    assert logs == set(SERVICES)
    plan = json.loads((config.parent / "data" / "plan.json").read_text())
    assert [profile["exchange"] for profile in plan["profiles"]] == ["kraken"]


def test_up_uses_a_server_that_runs_and_ends_after_its_duration(nats_url, simulator, write_config, run_tickloom):
    """With NATS at the configured address none is embedded; `--duration` ends it with code 0."""
    config = write_config(venues=make_venues(simulator), nats={"url": nats_url})
    done = run_tickloom("up", f"--config={config}", "--workers=1", "--duration=3")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"NATS: existing, {nats_url}" in done.stdout
    assert not (config.parent / "data" / "nats").exists()


def test_a_wrong_configuration_of_a_service_ends_up(write_config, run_tickloom):
    """A venue that does not exist is found by the planner; its error line ends everything with code 2."""
    config = write_config(venues={"krakken": {"channels": {"trades": {}}}})
    done = run_tickloom("up", f"--config={config}", "--workers=1")
    assert done.returncode == 2, done.stdout
    assert "did you mean kraken" in done.stderr.splitlines()[-1]
    assert done.stderr.splitlines()[-1].startswith("error: ")


def test_a_file_that_is_no_configuration_starts_nothing(tmp_path, run_tickloom):
    """A missing file is one line and code 2."""
    done = run_tickloom("up", "--config=missing.yaml")
    assert done.returncode == 2
    assert done.stderr.startswith("error: missing.yaml: ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of their parent's death")
def test_no_child_survives_a_killed_parent(simulator, write_config, start_tickloom, wait):
    """When `up` itself is killed with -9, all it started ends."""
    config = write_config(venues=make_venues(simulator), collector={"drain_timeout_s": 2})
    up = start_tickloom("up", f"--config={config}", "--workers=1")
    wait(lambda: count_sent(simulator, "trades") > 0, what="trades are sent")
    children = psutil.Process(up.pid).children(recursive=True)
    assert len(children) == len(SERVICES)
    up.kill()
    _, left = psutil.wait_procs(children, timeout=60)
    assert left == []
