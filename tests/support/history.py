"""Days of trades as the Parquet sink stores them, made up: many files of chunks, in the order of receipt.

Prices walk in ticks, amounts are exponential in steps, takers fill several orders at once, ids count per symbol, venues
tell milliseconds, and every frame has its own delay: as hard to compress as the real thing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tickloom_core.bus.identity import StreamIdentity
from tickloom_core.manifests import DataFile, Manifest, hash_stream, make_manifest_path
from tickloom_parquet_sink.schemas import SCHEMAS, TRADES

STREAM = StreamIdentity("MARKETDATA", "2026-01-01T00:00:00Z")
_DAY_NS = 86_400 * 10**9
_FILLS = 3
"""Trades of one taker, on average."""


@dataclass(frozen=True)
class Market:
    """What is traded.

    Attributes:
        symbols: how many; the busiest has a third as many trades as all others, and so on down.
        rows_a_day: trades of all of them.
    """

    symbols: int
    rows_a_day: int

    def count_trades(self) -> list[int]:
        """Return how many trades each symbol has in a day."""
        weights = [1 / (rank + 3) for rank in range(self.symbols)]
        counts = [int(self.rows_a_day * weight / sum(weights)) for weight in weights]
        counts[0] += self.rows_a_day - sum(counts)
        return counts


def make_day(market: Market, day: str, seed: int) -> pa.Table:
    """Return one day's trades of one venue, in the order of receipt."""
    start_ns = int(datetime.combine(date.fromisoformat(day), time(tzinfo=UTC)).timestamp()) * 10**9
    parts = [
        _make_symbol(rank, rows, start_ns, seed * market.symbols + rank)
        for rank, rows in enumerate(market.count_trades())
    ]
    table = pa.concat_tables(parts).unify_dictionaries().combine_chunks()
    return table.take(pc.sort_indices(table, sort_keys=[("receive_time_ns", "ascending")]))


def receive_again(table: pa.Table, share: float, seed: int) -> pa.Table:
    """Return the trades, and with them a share of them a second time, as another collector received them."""
    is_again = pc.less(pc.random(table.num_rows, initializer=seed), share)
    again = table.filter(is_again)
    later = pc.add(again["receive_time_ns"], 40_000_000)
    again = again.set_column(table.schema.names.index("receive_time_ns"), table.schema.field("receive_time_ns"), later)
    both = pa.concat_tables([table, again]).combine_chunks()
    return both.take(pc.sort_indices(both, sort_keys=[("receive_time_ns", "ascending")]))


def _make_symbol(rank: int, rows: int, start_ns: int, seed: int) -> pa.Table:
    chance = _Chance(seed, rows)
    is_taker = pc.less(chance.draw(), 1 / _FILLS)
    taker = pc.cumulative_sum(is_taker.cast(pa.int64()))
    takers = rows + 1

    def spread(values):
        """Return a taker's value for each of its trades."""
        return values.take(taker)

    gaps = pc.negate(pc.ln(_Chance(seed + 10**6, takers).draw()))
    at_share = pc.cumulative_sum(gaps)
    at_ns = pc.multiply(pc.divide(at_share, pc.add(at_share[-1], 1.0)), float(_DAY_NS - 10**9)).cast(
        pa.int64(), safe=False
    )
    exchange_us = spread(pc.multiply(pc.divide(pc.add(at_ns, start_ns), 10**6), 1000))
    # Trades of one taker come one behind the other on one connection.
    delay_ns = spread(pc.multiply(pc.exp(pc.multiply(_Chance(seed + 4 * 10**6, takers).draw_normal(), 0.4)), 8e6))
    elapsed_ns = pc.cumulative_sum(pc.multiply(pc.negate(pc.ln(chance.draw())), 30_000.0))
    begun_ns = spread(pa.concat_arrays([elapsed_ns.slice(0, 1), elapsed_ns.filter(is_taker)]))
    delay_ns = pc.add(delay_ns, pc.subtract(elapsed_ns, begun_ns)).cast(pa.int64(), safe=False)
    tick = 10.0 ** -(rank % 5)
    start_price = 40_000 / (1 + rank) ** 1.5
    moves = pc.round(pc.multiply(_Chance(seed + 2 * 10**6, takers).draw_normal(), 3.0))
    ticks = pc.add(spread(pc.cumulative_sum(moves)), pc.round(chance.draw()))
    price = pc.round(pc.max_element_wise(pc.multiply(pc.add(ticks, round(start_price / tick)), tick), tick), rank % 5)
    amount = pc.round(pc.add(pc.multiply(pc.negate(pc.ln(chance.draw())), 50 / start_price), 1e-5), 5)
    side = spread(pc.if_else(pc.less(_Chance(seed + 3 * 10**6, takers).draw(), 0.5), "buy", "sell"))
    ids = pa.arange(
        10**9 + rank * 10**7 + start_ns // _DAY_NS * rows, 10**9 + rank * 10**7 + start_ns // _DAY_NS * rows + rows
    )
    columns = {
        "exchange": pa.repeat("binance", rows),
        "symbol": pa.repeat(f"C{rank:03d}/USDT", rows),
        "exchange_time": exchange_us.cast(pa.timestamp("us", tz="UTC")),
        "receive_time_ns": pc.add(pc.multiply(exchange_us, 1000), delay_ns),
        "price": price,
        "amount": amount,
        "side": side,
        "trade_id": ids.cast(pa.string()),
        "writer": pa.repeat("collector-0.17a3f2", rows),
        "shard": pa.repeat("", rows),
        "epoch": pa.repeat(3, rows),
    }
    return pa.table(columns).cast(TRADES.schema)


class _Chance:
    """Columns of random numbers, the same for the same seed."""

    def __init__(self, seed: int, rows: int) -> None:
        self._seed = seed * 64
        self._rows = rows

    def draw(self) -> pa.Array:
        """Uniform in (0, 1)."""
        self._seed += 1
        return pc.add(pc.multiply(pc.random(self._rows, initializer=self._seed), 1 - 1e-9), 1e-10)

    def draw_normal(self) -> pa.Array:
        """Normal, by Box and Muller."""
        radius = pc.sqrt(pc.multiply(pc.ln(self.draw()), -2.0))
        return pc.multiply(radius, pc.cos(pc.multiply(self.draw(), 2 * math.pi)))


class ChunkWriter:
    """Writes chunks of one partition below a root, as the sink does: files, then the manifest."""

    def __init__(self, root: Path, partition: int = 0) -> None:
        self._root = root
        self._partition = partition
        self._last_sequence = 0

    def write(self, *tables: pa.Table, stored_ns: int, channel: str = "trades") -> Manifest:
        """Write one chunk: a file for each venue and day of the rows of each table."""
        first, last = self._last_sequence + 1, self._last_sequence + 10
        files = tuple(
            self._write_file(channel, exchange, day, part, first, last)
            for table in tables
            for exchange, day, part in split(table)
        )
        manifest = Manifest(
            stream=STREAM,
            partition=self._partition,
            first_sequence=first,
            last_sequence=last,
            stored_ns=stored_ns,
            files=files,
            rows={channel: sum(file.rows for file in files)},
            writer_window="",
            software="test",
        )
        path = self._root / make_manifest_path(
            manifest, datetime.fromtimestamp(stored_ns // 10**9, UTC).date().isoformat()
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.encode(manifest))
        self._last_sequence = last
        return manifest

    def _write_file(self, channel: str, exchange: str, day: str, table: pa.Table, first: int, last: int) -> DataFile:
        name = f"{self._partition:04d}-{hash_stream(STREAM)}-{first:020d}-{last:020d}-{exchange:.8}.parquet"
        path = self._root / f"{channel}/exchange={exchange}/dt={day}/{name}"
        path.parent.mkdir(parents=True, exist_ok=True)
        with pq.ParquetWriter(path, table.schema, **SCHEMAS[channel].writer_options) as writer:
            writer.write_table(table)
        return DataFile(str(path.relative_to(self._root)), channel, exchange, day, table.num_rows, path.stat().st_size)


def split(table: pa.Table) -> Iterator[tuple[str, str, pa.Table]]:
    """Yield the rows of each venue and UTC day of receipt."""
    days = table["receive_time_ns"].cast(pa.timestamp("ns")).cast(pa.date32(), safe=False)
    exchanges = table["exchange"].cast(pa.string())
    for exchange in sorted(pc.unique(exchanges).to_pylist()):
        for day in sorted(pc.unique(days).to_pylist()):
            part = table.filter(pc.and_(pc.equal(exchanges, exchange), pc.equal(days, day)))
            if part.num_rows:
                yield exchange, str(day), part


def cut(table: pa.Table, rows: int) -> Iterator[pa.Table]:
    """Yield a table in pieces."""
    for start in range(0, table.num_rows, rows):
        yield table.slice(start, rows)
