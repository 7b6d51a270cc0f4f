"""What the tests of the InfluxDB sink share: batches, chunks, a server, a reader of line protocol."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from msgspec import structs

from tests.support.influx import ORG, TOKEN, InfluxServer, find_influxd
from tickloom.marketdata.v1.header_pb2 import Header
from tickloom_core.bus.identity import StreamIdentity
from tickloom_core.columns import BUFFERS, TradeBuffer
from tickloom_core.sink import Chunk
from tickloom_core.wire import Batch, decode, encode
from tickloom_core.writers import WriterWindow
from tickloom_influx_sink.store import open_store

NOON_NS = 1_795_262_400 * 10**9
"""2026-11-21T12:00:00Z."""
STREAM = StreamIdentity("MARKETDATA", "2026-11-21T05:15:13.334000223Z")


def _fill(channel, rows, ids):
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
            buffer.append_id(trade_id.encode())
    return buffer


@pytest.fixture(scope="session")
def make_message():
    """Make one message of the bus: make_message("trades", rows, ids, writer=…, sequence=…)."""

    def make(channel, rows, ids=(), *, exchange="binance", writer="w", sequence=1):
        header = Header(exchange=exchange, channel=channel, writer=writer, writer_sequence=sequence)
        return encode(header, _fill(channel, rows, ids))

    return make


@pytest.fixture(scope="session")
def make_batch(make_message):
    """Make one decoded batch, as `make_message` does."""
    return lambda *arguments, **header: decode(make_message(*arguments, **header))


@pytest.fixture(scope="session")
def make_trades(make_message):
    """Make a message of `count` trades of one millisecond, whose ids are `<1000 * sequence + row>`."""

    def make(sequence, count=3, *, receive_time_ns=NOON_NS, symbol="BTC/USDT", **header):
        rows = [
            {
                "symbol": symbol,
                "exchange_time_us": receive_time_ns // 1000,
                "receive_time_ns": receive_time_ns + row,
                "price": 60_000.0 + row,
                "amount": 0.5,
                "side": 1 + row % 2,
            }
            for row in range(count)
        ]
        ids = [str(1000 * sequence + row) for row in range(count)]
        return make_message("trades", rows, ids, sequence=sequence, **header)

    return make


@pytest.fixture(scope="session")
def make_chunk():
    """Make the chunk that the sink loop would make of these messages or batches."""

    def make(messages, *, first=1, partition=0, stream=STREAM):
        batches = [message if isinstance(message, Batch) else decode(message) for message in messages]
        chunk = Chunk(partition, stream, first, WriterWindow(), first + max(len(batches), 1) - 1, NOON_NS, batches)
        for batch in batches:
            chunk.writers.note(batch.header.writer, batch.header.writer_sequence)
        chunk.row_count = sum(batch.row_count for batch in batches)
        return chunk

    return make


@pytest.fixture(scope="session")
def influx_program() -> str:
    """Provide the path of influxd, or skip."""
    program = find_influxd()
    if program is None:
        pytest.skip("no InfluxDB: put influxd on PATH or set TICKLOOM_INFLUXD to its path")
    return program


@pytest.fixture(scope="session")
def influx(influx_program, tmp_path_factory) -> Iterator[InfluxServer]:
    """Provide a running InfluxDB, one for all tests; each keeps to a bucket of its own."""
    server = InfluxServer(tmp_path_factory.mktemp("influx"), influx_program)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def bucket(influx) -> str:
    """Provide an empty bucket."""
    name = uuid4().hex
    influx.make_bucket(name)
    return name


@pytest.fixture
async def open_influx(influx, bucket) -> AsyncIterator:
    """Open stores on the bucket, with settings of their own; what they refuse goes to the list `refused`."""
    async with AsyncExitStack() as stores:

        async def make(refused=None, **changes):
            async def set_aside(rejected):
                assert refused is not None, f"refused: {rejected.reason}"
                refused.append(rejected)

            config = structs.replace(influx.config, **{"bucket": bucket} | changes)
            access = replace(influx.access, bucket=config.bucket, url=config.url)
            store = await stores.enter_async_context(open_store(config, access, set_aside))
            await store.open_partition(0, STREAM)
            return store

        yield make


@pytest.fixture
def own_influx(influx_program, tmp_path) -> Iterator[InfluxServer]:
    """Provide a running InfluxDB that the test may kill."""
    folder = tmp_path / "influx"
    folder.mkdir()
    server = InfluxServer(folder, influx_program)
    server.start()
    yield server
    server.stop()


class SinkProcess:
    """The sink as people start it."""

    def __init__(self, config: Path, *flags: str, environment: dict[str, str]) -> None:
        command = [sys.executable, "-m", "tickloom_influx_sink", f"--config={config}", "--log_format=json", *flags]
        self._log = config.with_suffix(".log")
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | environment)

    def wait(self, timeout_s: float = 20) -> int:
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
        return self._log.read_text()


@pytest.fixture
def start_sink(tmp_path) -> Iterator:
    """Start the sink with a configuration (a dict) and flags; it ends with the test."""
    with ExitStack() as ends:

        def start(config, *flags, environment=None):
            path = tmp_path / "tickloom.yaml"
            path.write_text(json.dumps(config))
            access = {"INFLUXDB_TOKEN": TOKEN, "INFLUXDB_ORG": ORG}
            process = SinkProcess(path, *flags, environment=access | (environment or {}))
            ends.callback(lambda: process.is_running and process.end(signal.SIGKILL))
            return process

        yield start
