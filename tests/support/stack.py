"""The whole system as processes on this machine: nats-server, planner, collector and Parquet sink."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.support import stored
from tests.support.servers import NatsServer
from tests.support.simulator import AGENT, Simulator

PARTITIONS = 2
CHANNELS = ("trades", "tickers", "books")


def wait_until(condition: Callable[[], bool], *, within_s: float, what: str) -> None:
    """Poll until `condition` holds, and fail with `what` when it does not in time."""
    end_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end_s, f"not within {within_s} s: {what}"
        time.sleep(0.1)


def make_config(folder: Path, simulator: Simulator, nats_url: str) -> dict[str, Any]:
    """Return a configuration that carries everything the simulator offers."""
    return {
        "data_dir": str(folder / "data"),
        "nats": {"url": nats_url},
        "bus": {"partitions": PARTITIONS},
        "venues": {
            venue: {"endpoint": endpoint, "channels": {channel: {} for channel in CHANNELS}}
            for venue, endpoint in simulator.venues.items()
        },
        "planner": {"profile_seconds": 1, "profile_symbol_limit": 2, "workers": 1},
        "parquet_sink": {"chunk_window_s": 1},
        "collector": {"backoff_base_s": 0.2, "backoff_max_s": 2},
    }


class Stack:
    """The services of one installation, each a process that can be killed and started again."""

    def __init__(self, folder: Path, nats: NatsServer, simulator: Simulator, config: dict[str, Any]) -> None:
        self.folder = folder
        self.nats = nats
        self.simulator = simulator
        self.config_path = folder / "tickloom.yaml"
        self.config_path.write_text(yaml.safe_dump(config))
        self.root = Path(config["data_dir"]) / "parquet"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, *services: str) -> None:
        """Start services by name: planner, collector-0, parquet-sink."""
        for name in services:
            module = "tickloom_" + (name.rpartition("-")[0] if name[-1].isdigit() else name).replace("-", "_")
            command = [sys.executable, "-m", module, f"--config={self.config_path}", f"--name={name}"]
            with (self.folder / f"{name}.log").open("ab") as log:
                self.processes[name] = subprocess.Popen(command, stdout=log, stderr=log)

    def start_all(self) -> None:
        """Start everything and wait until the collector has subscribed to everything that it was assigned."""
        self.start("parquet-sink", "collector-0", "planner")

    def stop(self, name: str, number: int = signal.SIGTERM, *, within_s: float = 60) -> int:
        """End a service with a signal and return its exit code."""
        process = self.processes.pop(name)
        process.send_signal(number)
        return process.wait(timeout=within_s)

    def read_log(self, name: str) -> str:
        """Return what a service has logged."""
        return (self.folder / f"{name}.log").read_text()

    def stop_all(self) -> None:
        """End what still runs."""
        for name in list(self.processes):
            process = self.processes.pop(name)
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
                process.wait(timeout=10)

    def assert_running(self) -> None:
        """Fail when a service has ended by itself."""
        for name, process in self.processes.items():
            assert process.poll() is None, f"{name} ended with {process.returncode}: {self.read_log(name)[-2000:]}"

    def wait_for_flow(self, *, within_s: float = 60) -> None:
        """Wait until every channel of every venue has been sent rows."""

        def flowing() -> bool:
            self.assert_running()
            return all(self.count_sent_by_channel().values())

        wait_until(flowing, within_s=within_s, what="rows on every channel of every venue")

    def count_sent_by_channel(self) -> dict[tuple[str, str], int]:
        """Return how many rows were sent to collectors, by venue and channel."""
        counts = dict.fromkeys(((venue, channel) for venue in self.simulator.venues for channel in CHANNELS), 0)
        for row in self.simulator.call("GET", f"/truth?agent={AGENT}"):
            counts[row["venue"], row["channel"]] += row["sent"]
        return counts

    def wait_for_stored(self, *, within_s: float = 60) -> None:
        """Wait until as many rows are stored as were sent; the comparison by id is the caller's."""

        def complete() -> bool:
            self.assert_running()
            return stored.count_rows(self.root) >= self.simulator.count_sent()

        wait_until(complete, within_s=within_s, what="stored rows reach sent rows")

    def compare(self) -> list[tuple[str, str, int, int, int]]:
        """Return venue, channel, sent, missing and repeated rows, by key and symbol."""
        rows = []
        for venue in self.simulator.venues:
            for channel in CHANNELS:
                sent = self.simulator.read_keys(venue, channel)
                kept = stored.read_keys(self.root, venue, channel)
                count = sum(len(keys) for keys in sent.values())
                missing = sum(len(set(keys) - set(kept.get(symbol, ()))) for symbol, keys in sent.items())
                repeated = sum(n - 1 for counter in kept.values() for n in counter.values())
                rows.append((venue, channel, count, missing, repeated))
        return rows


@contextmanager
def running_stack(stack: Stack) -> Iterator[Stack]:
    """Start all services and end them with the block."""
    try:
        stack.start_all()
        yield stack
    finally:
        stack.stop_all()
