"""How fast the InfluxDB sink stores rows, against influxdata's own client and against what the server alone takes.

All run on this machine beside the server, which takes most of it: processor time is told as well.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import yaml
from influxdb_client import InfluxDBClient, Point
from influxdb_client.client.write_api import SYNCHRONOUS

from tests.bench.collecting import read_cpu_seconds
from tests.bench.report import Row, at_least
from tests.bench.storing import make_batches, publish
from tests.support.influx import BUCKET, ORG, TOKEN, InfluxServer, find_influxd
from tests.support.servers import NatsServer
from tests.support.stack import wait_until
from tickloom_core.bus.connection import connect
from tickloom_core.bus.spool import Outgoing
from tickloom_core.bus.topology import ensure_topology
from tickloom_core.config import BusConfig, InfluxSinkConfig, NatsConfig
from tickloom_core.rows import SIDE_NAMES, read_column, read_symbols, read_trade_ids
from tickloom_core.wire import decode
from tickloom_influx_sink.client import compress, open_client
from tickloom_influx_sink.lines import gather_points

ROWS = 1_000_000
POINT_ROWS = 50_000
ROUNDS = 3
SETTINGS = InfluxSinkConfig()
DEADLINE_S = 120.0


@contextmanager
def running_influx() -> Iterator[InfluxServer]:
    """Provide an empty InfluxDB."""
    program = find_influxd()
    assert program is not None, "there is no influxd"
    with tempfile.TemporaryDirectory() as folder:
        server = InfluxServer(Path(folder), program)
        server.start()
        try:
            yield server
        finally:
            server.stop()


@dataclass(frozen=True, slots=True)
class Run:
    """What one way of writing reached: rows a second, and processor time of the writer for each."""

    per_second: float
    cpu_us: float


def measure_sink(batches: list[Outgoing]) -> Run:
    """Carry a full stream into committed points; counted from the first commit to the last."""
    with ExitStack() as resources:
        influx = resources.enter_context(running_influx())
        folder = Path(resources.enter_context(tempfile.TemporaryDirectory()))
        nats = NatsServer(folder)
        nats.start()
        resources.callback(nats.stop)
        bus = BusConfig(partitions=1, sinks=("influx",))
        asyncio.run(_ensure_consumer(nats.url, bus))
        asyncio.run(publish(nats.url, folder, batches))
        config = {
            "data_dir": str(folder),
            "nats": {"url": nats.url},
            "bus": {"partitions": bus.partitions, "sinks": list(bus.sinks)},
            "influx_sink": {"url": influx.url, "bucket": BUCKET, "org": ORG},
        }
        path = folder / "tickloom.yaml"
        path.write_text(yaml.safe_dump(config))
        log = path.with_suffix(".log")
        with _running_sink(path, log) as pid:
            wait_until(lambda: bool(_read_commits(log)), within_s=DEADLINE_S, what="the first commit")
            before, cpu_s = sum(rows for _, rows in _read_commits(log)), -read_cpu_seconds(pid)
            wait_until(
                lambda: sum(rows for _, rows in _read_commits(log)) >= ROWS, within_s=DEADLINE_S, what="all rows stored"
            )
            cpu_s += read_cpu_seconds(pid)
        assert influx.count_rows() == ROWS
        commits = _read_commits(log)
        per_second = (ROWS - commits[0][1]) / (commits[-1][0] - commits[0][0])
        return Run(per_second, 1e6 * cpu_s / (ROWS - before))


async def _ensure_consumer(url: str, bus: BusConfig) -> None:
    connection = await connect(NatsConfig(url=url), name="bench")
    await ensure_topology(connection, bus)
    await connection.close()


@contextmanager
def _running_sink(config: Path, log: Path) -> Iterator[int]:
    command = [sys.executable, "-m", "tickloom_influx_sink", f"--config={config}", "--log_level=debug"]
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*command, "--log_format=json"], stdout=file, stderr=file, env=os.environ | {"INFLUXDB_TOKEN": TOKEN}
        )
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait(timeout=30)


def _read_commits(log: Path) -> list[tuple[float, int]]:
    """Return when chunks were committed, in seconds, and how many rows each."""
    entries = [json.loads(line) for line in log.read_text().splitlines() if '"influx.committed"' in line]
    return [(datetime.fromisoformat(entry["timestamp"]).timestamp(), entry["rows"]) for entry in entries]


def measure_points(batches: list[Outgoing]) -> Run:
    """Write the same columns with influxdata's client: a Point each, 5,000 a request."""
    columns = [_read_columns(batch) for batch in batches[: POINT_ROWS * len(batches) // ROWS]]
    with running_influx() as server, InfluxDBClient(server.url, TOKEN, org=ORG) as client:
        api = client.write_api(write_options=SYNCHRONOUS)
        start_s, cpu_s = time.perf_counter(), time.process_time()
        points: list[Point] = []
        for rows in columns:
            points += [_make_point(*row) for row in zip(*rows, strict=True)]
            if len(points) >= SETTINGS.request_lines:
                api.write(BUCKET, record=points)
                points = []
        seconds, cpu_s = time.perf_counter() - start_s, time.process_time() - cpu_s
        assert not points
        return Run(POINT_ROWS / seconds, 1e6 * cpu_s / POINT_ROWS)


def _read_columns(outgoing: Outgoing) -> tuple[list, ...]:
    batch = decode(outgoing.payload)
    times_ns = [time_us * 1000 for time_us in read_column(batch, "exchange_time_us")]
    numbers = [read_column(batch, name).tolist() for name in ("price", "amount", "receive_time_ns")]
    sides = [SIDE_NAMES[code] for code in batch.rows.side]
    return times_ns, list(read_symbols(batch)), sides, read_trade_ids(batch), *numbers


def _make_point(time_ns, symbol, side, trade_id, price, amount, receive_time_ns) -> Point:
    return (
        Point("trades")
        .tag("exchange", "binance")
        .tag("side", side)
        .tag("symbol", symbol)
        .field("price", price)
        .field("amount", amount)
        .field("trade_id", trade_id)
        .field("receive_time_ns", receive_time_ns)
        .time(time_ns + int(trade_id) % 1_000_000)
    )


def measure_server(batches: list[Outgoing]) -> float:
    """Return rows a second that the server takes: the sink's own requests, made before the clock runs."""
    points = gather_points(decode(batch.payload) for batch in batches)
    step = SETTINGS.request_lines
    bodies = [compress(points.spell_lines(range(start, start + step))) for start in range(0, ROWS, step)]
    with running_influx() as server:
        seconds = asyncio.run(_post(server, bodies))
        assert server.count_rows() == ROWS
        return ROWS / seconds


async def _post(server: InfluxServer, bodies: list[bytes]) -> float:
    waiting = iter(bodies)
    async with open_client(SETTINGS, server.access) as client:

        async def carry() -> None:
            for body in waiting:
                assert await client.write(body) is None

        start_s = time.perf_counter()
        await asyncio.gather(*[carry() for _ in range(SETTINGS.requests_in_flight)])
        return time.perf_counter() - start_s


def measure() -> list[Row]:
    """Return the rows of this part; the best of three of each, taken in turn."""
    if find_influxd() is None:
        print("influx-sink: skipped, there is no influxd (TICKLOOM_INFLUXD)")
        return []
    batches = make_batches(ROWS)
    sinks, clients, servers = [], [], []
    for _ in range(ROUNDS):
        servers.append(measure_server(batches))
        sinks.append(measure_sink(batches))
        clients.append(measure_points(batches))
    server = max(servers)
    sink, client = (max(run.per_second for run in runs) for runs in (sinks, clients))
    sink_us, client_us = (min(run.cpu_us for run in runs) for runs in (sinks, clients))
    return [
        Row("InfluxDB alone, the sink's requests ready made", server, "rows/s"),
        Row("influxdb-client, a Point a row", client, "rows/s"),
        Row("influx-sink, stream to committed points", sink, "rows/s"),
        at_least("influx-sink / influxdb-client", sink / client, "x", 5),
        at_least("influx-sink / InfluxDB alone", sink / server, "x", 0.6),
        Row("influxdb-client, CPU", client_us, "us/row"),
        Row("influx-sink, stream and all, CPU", sink_us, "us/row"),
        Row("influxdb-client CPU / influx-sink CPU", client_us / sink_us, "x"),
    ]
