"""How much memory each service takes under load."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import yaml

from tests.bench.report import Row, at_most
from tests.support.influx import BUCKET, ORG, TOKEN, InfluxServer, find_influxd
from tests.support.postgres import PostgresServer, has_postgres
from tests.support.servers import NatsServer
from tests.support.simulator import running_simulator
from tests.support.stack import Stack, make_config, running_stack

LOAD = ("--synthetic", "--trades_per_s=2000", "--tickers_per_s=100", "--books_per_s=200")
LOAD_SECONDS = 15

SINK_LOAD = ("--ticks_per_s=5000", "--symbols_a_venue=334")
"""5,000 ticks/s of 1,002 symbols of three venues."""
SINK_LOAD_SECONDS = 45
SINK_BOUNDS_MB = {"parquet": 150, "influx": 100, "sql": 120}


def measure() -> list[Row]:
    """Return the resident memory of all services under the simulator, then of the sinks under their load."""
    return [*measure_stack(), *measure_sinks()]


def measure_stack() -> list[Row]:
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
        return [Row(f"memory, {name}", _read_resident_mb(pid), "MB") for name, pid in pids.items()]


def measure_sinks() -> list[Row]:
    """Return the resident memory of the sinks after 45 s at 5,000 ticks/s of 1,000 symbols, all on one stream."""
    with ExitStack() as resources:
        folder = Path(resources.enter_context(tempfile.TemporaryDirectory()))
        nats = NatsServer(folder)
        nats.start()
        resources.callback(nats.stop)
        sections = _start_stores(folder, resources)
        config = {
            "data_dir": str(folder),
            "nats": {"url": nats.url},
            "bus": {"sinks": list(sections)},
            **{f"{sink}_sink": section for sink, section in sections.items()},
        }
        path = folder / "tickloom.yaml"
        path.write_text(yaml.safe_dump(config))
        environment = os.environ | {"INFLUXDB_TOKEN": TOKEN, "INFLUXDB_ORG": ORG}
        sinks = {}
        for sink in sections:
            command = [sys.executable, "-m", f"tickloom_{sink}_sink", f"--config={path}", "--log_level=warning"]
            sinks[sink] = subprocess.Popen(command, env=environment)
            resources.callback(_end, sinks[sink])
        truth = folder / "truth.json"
        command = [sys.executable, "-m", "tests.support.load", f"--config={path}", f"--truth={truth}", *SINK_LOAD]
        load = subprocess.Popen(command)
        resources.callback(_end, load)
        time.sleep(SINK_LOAD_SECONDS)
        return [
            at_most(f"memory, {sink}-sink, 5,000 ticks/s of 1,000 symbols", _read_resident_mb(process.pid), "MB", bound)
            for sink, process in sinks.items()
            for bound in (SINK_BOUNDS_MB[sink],)
        ]


def _start_stores(folder: Path, resources: ExitStack) -> dict[str, dict[str, Any]]:
    """Start what can be had, and return each sink's section of the configuration."""
    sections: dict[str, dict[str, Any]] = {"parquet": {}}
    influxd = find_influxd()
    if influxd is not None:
        influx = InfluxServer(folder, influxd)
        influx.start()
        resources.callback(influx.kill)
        sections["influx"] = {"url": influx.url, "bucket": BUCKET}
    if has_postgres():
        postgres = PostgresServer(folder)
        postgres.start()
        resources.callback(postgres.stop)
        sections["sql"] = {"url": postgres.url}
    for sink in SINK_BOUNDS_MB.keys() - sections.keys():
        print(f"memory of {sink}-sink: skipped, its server is not here")
    return sections


def _read_resident_mb(pid: int) -> float:
    return float(psutil.Process(pid).memory_info().rss / 1e6)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=10)
