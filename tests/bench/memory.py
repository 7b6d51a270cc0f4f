"""How much memory each service takes under load."""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import psutil

from tests.bench.report import Row
from tests.support.servers import NatsServer
from tests.support.simulator import running_simulator
from tests.support.stack import Stack, make_config, running_stack

LOAD = ("--synthetic", "--trades_per_s=2000", "--tickers_per_s=100", "--books_per_s=200")
LOAD_SECONDS = 15


def measure() -> list[Row]:
    """Return the resident memory of each service after 15 s at 2,000 trades/s from three venues."""
    with ExitStack() as resources:
        folder = Path(resources.enter_context(tempfile.TemporaryDirectory()))
        nats = NatsServer(folder)
        nats.start()
        resources.callback(nats.stop)
        simulator = resources.enter_context(running_simulator(folder, *LOAD))
        config = make_config(folder, simulator, nats.url)
        stack = resources.enter_context(running_stack(Stack(folder, nats, simulator, config)))
        stack.wait_for_flow()
        time.sleep(LOAD_SECONDS)
        pids = {name: process.pid for name, process in stack.processes.items()} | {"nats-server": nats.pid}
        return [Row(f"memory, {name}", psutil.Process(pid).memory_info().rss / 1e6, "MB") for name, pid in pids.items()]
