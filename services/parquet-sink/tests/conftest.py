"""What the tests of the Parquet sink share: batches, an S3 server, the sink as a process, a reader of manifests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from tickloom.marketdata.v1.header_pb2 import Header
from tickloom_core.bus.identity import StreamIdentity
from tickloom_core.columns import BUFFERS, TradeBuffer
from tickloom_core.sink import Chunk
from tickloom_core.wire import decode, encode
from tickloom_core.writers import WriterWindow

NOON_NS = 1_795_262_400 * 10**9
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
        header = Header(
            exchange=exchange,
            channel=channel,
            shard=f"{exchange}.{channel}.0",
            epoch=3,
            writer=writer,
            writer_sequence=sequence,
        )
        return encode(header, _fill(channel, rows, ids))

    return make


@pytest.fixture(scope="session")
def make_trades(make_message):
    """Make a message of `count` trades whose ids are `<sequence>-<row>`."""

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
        ids = [f"{sequence}-{row}".encode() for row in range(count)]
        return make_message("trades", rows, ids, sequence=sequence, **header)

    return make


@pytest.fixture(scope="session")
def make_chunk():
    """Make the chunk that the sink loop would make of these messages."""

    def make(messages, *, first=1, partition=0, stored_ns=NOON_NS, stream=STREAM):
        batches = [decode(message) for message in messages]
        chunk = Chunk(partition, stream, first, WriterWindow(), first + max(len(batches), 1) - 1, stored_ns, batches)
        for batch in batches:
            chunk.writers.note(batch.header.writer, batch.header.writer_sequence)
        return chunk

    return make


class Stored:
    """What readers see below a root: only files that a manifest names."""

    def __init__(self, filesystem: fs.FileSystem, root: str) -> None:
        self.filesystem = filesystem
        self.root = root

    def read_manifests(self) -> list[dict]:
        """Return the manifests, by partition and sequence."""
        selector = fs.FileSelector(f"{self.root}/_manifest", recursive=True, allow_not_found=True)
        paths = sorted(i.path for i in self.filesystem.get_file_info(selector) if i.path.endswith(".json"))
        return [json.loads(self.filesystem.open_input_stream(path).read()) for path in paths]

    def read_table(self, channel: str = "trades") -> pa.Table | None:
        """Return the rows of a channel, or None when there are none."""
        tables = [
            pq.ParquetFile(self.filesystem.open_input_file(f"{self.root}/{file['path']}")).read()
            for manifest in self.read_manifests()
            for file in manifest["files"]
            if file["channel"] == channel
        ]
        return pa.concat_tables(tables).unify_dictionaries() if tables else None

    def read_ids(self) -> list[str]:
        """Return the ids of all trades."""
        table = self.read_table()
        return [] if table is None else table["trade_id"].to_pylist()

    def count_rows(self) -> int:
        """Return how many rows the manifests name."""
        return sum(file["rows"] for manifest in self.read_manifests() for file in manifest["files"])

    def read_objects(self) -> dict[str, bytes]:
        """Return all objects below the root, whoever names them."""
        infos = self.filesystem.get_file_info(fs.FileSelector(self.root, recursive=True, allow_not_found=True))
        paths = [info.path.removeprefix(f"{self.root}/") for info in infos if info.is_file]
        return {
            path: self.filesystem.open_input_stream(f"{self.root}/{path}").read()
            for path in paths
            if not path.startswith("_active/")
        }


@pytest.fixture(scope="session")
def stored():
    """Read a local root as readers do: stored(path)."""
    return lambda root: Stored(fs.LocalFileSystem(), str(root))


class SinkProcess:
    """The sink as people start it."""

    def __init__(self, config: Path, *flags: str, environment: dict[str, str] | None = None) -> None:
        command = [sys.executable, "-m", "tickloom_parquet_sink", f"--config={config}", "--log_format=json", *flags]
        self._stderr = config.with_suffix(".log")
        with self._stderr.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | (environment or {}))

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
