"""How fast the Parquet sink stores rows, against pyarrow alone; and how many bytes a trade takes."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pyarrow.parquet as pq
import yaml

from tests.bench.collecting import running
from tests.bench.report import Row, at_least, at_most
from tests.support import stored
from tests.support.servers import NatsServer, find_corpus
from tickloom.marketdata.v1.header_pb2 import Header
from tickloom_core.bus.connection import connect
from tickloom_core.bus.identity import StreamIdentity
from tickloom_core.bus.publisher import Publisher, PublisherLimits
from tickloom_core.bus.spool import Outgoing, Spool
from tickloom_core.bus.subjects import make_subject
from tickloom_core.bus.topology import ensure_topology
from tickloom_core.columns import TradeBuffer
from tickloom_core.config import BusConfig, NatsConfig
from tickloom_core.sink import Chunk
from tickloom_core.wire import decode, encode
from tickloom_core.writers import WriterWindow
from tickloom_parquet_sink.encoding import encode_chunk
from tickloom_parquet_sink.schemas import TRADES
from tickloom_parquet_sink.tables import build_parts

ROWS = 5_000_000
BATCH_ROWS = 1000
ROUNDS = 3
RECORDING = "recordings/binance_btcusdt_2024.jsonl.gz"


def make_batches(rows: int) -> list[Outgoing]:
    """Return synthetic trades of twenty symbols, as a collector would send them."""
    chance = random.Random(7)  # noqa: S311 - repeatable data, not a secret
    symbols = [f"S{n}/USDT" for n in range(20)]
    prices = [chance.uniform(1, 60000) for _ in symbols]
    batches = []
    now_ns = time.time_ns()
    for sequence in range(1, rows // BATCH_ROWS + 1):
        buffer = TradeBuffer()
        for row in range(BATCH_ROWS):
            number = chance.randrange(20)
            prices[number] *= 1 + chance.gauss(0, 1e-5)
            at_ns = now_ns + (sequence * BATCH_ROWS + row) * 2000
            buffer.symbol_index.append(buffer.index_of(symbols[number]))
            buffer.exchange_time_us.append(at_ns // 1_000_000 * 1000)
            buffer.receive_time_ns.append(at_ns)
            buffer.price.append(round(prices[number], 2))
            buffer.amount.append(round(chance.expovariate(3), 5))
            buffer.side.append(1 + chance.randrange(2))
            buffer.append_id(b"%d" % (10**9 + sequence * BATCH_ROWS + row))
        batches.append(_pack(buffer, sequence, "bench"))
    return batches


def _pack(buffer: TradeBuffer, sequence: int, writer: str) -> Outgoing:
    header = Header(exchange="binance", channel="trades", shard="s", epoch=1, writer=writer, writer_sequence=sequence)
    first_ns, last_ns = buffer.receive_time_ns[0], buffer.receive_time_ns[-1]
    payload = encode(header, buffer)
    subject = make_subject(0, "trades", "binance")
    return Outgoing(subject, f"{writer}-{sequence}", payload, "binance", "trades", len(buffer), first_ns, last_ns)


async def publish(url: str, folder: Path, batches: list[Outgoing]) -> None:
    """Put the batches into the stream."""
    connection = await connect(NatsConfig(url=url), name="bench")
    await ensure_topology(connection, BusConfig(partitions=1))
    publisher = Publisher(connection, PublisherLimits(256, 5, 2**30), Spool(folder / "spool", 0), lambda _: None)
    task = asyncio.create_task(publisher.run())
    for batch in batches:
        publisher.submit(batch)
    assert await publisher.drain(60) == 0
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await connection.close()


def measure_sink(batches: list[Outgoing]) -> float:
    """Return rows a second from a full stream to committed Parquet, counted from the first commit to the last."""
    with ExitStack() as resources:
        folder = Path(resources.enter_context(tempfile.TemporaryDirectory()))
        nats = NatsServer(folder)
        nats.start()
        resources.callback(nats.stop)
        asyncio.run(publish(nats.url, folder, batches))
        config = {"data_dir": str(folder), "nats": {"url": nats.url}, "bus": {"partitions": 1}}
        path = folder / "tickloom.yaml"
        path.write_text(yaml.safe_dump(config))
        resources.enter_context(running("tickloom_parquet_sink", f"--config={path}", "--log_level=warning"))
        root = folder / "parquet"
        while stored.count_rows(root) < ROWS:
            time.sleep(0.05)
        commits = sorted((path.stat().st_mtime, path) for path in root.glob("_manifest/*/*/*.json"))
        (first_s, first), (last_s, _) = commits[0], commits[-1]
        return (ROWS - sum(json.loads(first.read_text())["rows"].values())) / (last_s - first_s)


def _as_chunk(batches: list[Outgoing]) -> Chunk:
    chunk = Chunk(
        0, StreamIdentity("MARKETDATA", "2026-11-21T00:00:00Z"), 1, WriterWindow(), last_sequence=len(batches)
    )
    chunk.batches = [decode(batch.payload) for batch in batches]
    return chunk


def measure_pyarrow(batches: list[Outgoing]) -> float:
    """Return rows a second of pyarrow writing the sink's own tables, with the sink's encodings, to files."""
    per_chunk = 500_000 // BATCH_ROWS
    tables = [
        part.table
        for position in range(0, len(batches), per_chunk)
        for part in build_parts(_as_chunk(batches[position : position + per_chunk]).batches)
    ]
    with tempfile.TemporaryDirectory() as folder:
        start_s = time.perf_counter()
        for number, table in enumerate(tables):
            path = Path(folder) / f"{number}.parquet"
            with pq.ParquetWriter(path, table.schema, **TRADES.writer_options) as writer:
                writer.write_table(table)
        return ROWS / (time.perf_counter() - start_s)


def read_recorded_trades(path: Path) -> Iterator[tuple[int, dict]]:
    """Yield the receive time and the payload of each recorded trade."""
    with gzip.open(path, "rt") as lines:
        for line in lines:
            entry = json.loads(line)
            if entry["type"] == "ws" and '@trade"' in entry["data"][:40]:
                yield entry["ns"], json.loads(entry["data"])["data"]


def measure_bytes_per_trade(corpus: Path) -> float:
    """Return Parquet bytes a recorded Binance trade, all of one session in one chunk."""
    buffer = TradeBuffer()
    for receive_ns, trade in read_recorded_trades(corpus / RECORDING):
        buffer.symbol_index.append(buffer.index_of("BTC/USDT"))
        buffer.exchange_time_us.append(trade["T"] * 1000)
        buffer.receive_time_ns.append(receive_ns)
        buffer.price.append(float(trade["p"]))
        buffer.amount.append(float(trade["q"]))
        buffer.side.append(2 if trade["m"] else 1)
        buffer.append_id(str(trade["t"]).encode())
    files = encode_chunk(_as_chunk([_pack(buffer, 1, "recorded")]))
    return sum(file.data.size for file in files) / len(buffer)


def measure() -> list[Row]:
    """Return the rows of this part; the best of three of each, taken in turn."""
    batches = make_batches(ROWS)
    sinks, bare = [], []
    for _ in range(ROUNDS):
        bare.append(measure_pyarrow(batches))
        sinks.append(measure_sink(batches))
    rows = [
        Row("pyarrow alone writing the same tables", max(bare), "rows/s"),
        Row("parquet-sink, stream to committed files", max(sinks), "rows/s"),
        at_least("parquet-sink / pyarrow alone", max(sinks) / max(bare), "x", 0.5),
    ]
    corpus = find_corpus()
    if corpus is None:
        print("bytes a trade: skipped, recorded exchange traffic is not here (TICKLOOM_CORPUS)")
        return rows
    return [*rows, at_most("Parquet bytes a trade, recorded session", measure_bytes_per_trade(corpus), "B", 15)]
