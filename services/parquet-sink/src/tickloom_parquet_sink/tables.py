"""Batches to Arrow tables: the packed columns of a chunk are joined and handed to Arrow as buffers.

No element is touched in Python: masks, offsets and dictionaries are Arrow's own kernels over whole columns. What the
wire calls missing (INT64_MIN, NaN, no bytes) is null.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any, Final, cast

import pyarrow as pa
import pyarrow.compute as pc

from tickloom_core.columns import LEVEL_COUNTS, MISSING_INT, TickerBuffer
from tickloom_core.wire import Batch
from tickloom_parquet_sink.partitioning import DEFAULT_LAYOUT, Layout, Part
from tickloom_parquet_sink.schemas import BOOK_KINDS, LEVELS, SCHEMAS, SIDES


def build_parts(batches: Iterable[Batch], layout: Layout = DEFAULT_LAYOUT) -> Iterator[Part]:
    """Yield the rows of `batches`, a part for every file of the layout, by channel and exchange."""
    groups: dict[tuple[str, str], list[Batch]] = {}
    for batch in batches:
        if batch.row_count:
            groups.setdefault((batch.header.channel, batch.header.exchange), []).append(batch)
    for (channel, exchange), group in sorted(groups.items()):
        table = _Columns(group).build_table(channel, exchange)
        yield from layout.divide(channel, exchange, table)


class _Columns:
    """The columns of batches of one channel, joined."""

    def __init__(self, batches: Sequence[Batch]) -> None:
        self._batches = batches
        self._rows: list[Any] = [batch.rows for batch in batches]
        self._row_counts = [batch.row_count for batch in batches]
        self._row_count = sum(self._row_counts)

    def build_table(self, channel: str, exchange: str) -> pa.Table:
        """Return the table of the channel's schema."""
        columns = {
            "exchange": self._spread_texts([exchange] * len(self._batches)),
            "receive_time_ns": self._read("receive_time_ns", pa.int64()),
            **_READERS[channel](self),
            "writer": self._spread_texts([batch.header.writer for batch in self._batches]),
            "shard": self._spread_texts([batch.header.shard for batch in self._batches]),
            "epoch": self._spread(pa.array([batch.header.epoch for batch in self._batches], pa.uint64())),
        }
        schema = SCHEMAS[channel].schema
        return pa.table([columns[name] for name in schema.names], schema=schema)

    def read_trades(self) -> dict[str, pa.Array[Any]]:
        """Return the columns that only trades have."""
        return {
            "symbol": self._read_symbols(),
            "exchange_time": self._read_times("exchange_time_us"),
            "price": self._read_floats("price"),
            "amount": self._read_floats("amount"),
            "side": self._read_codes("side", SIDES),
            "trade_id": self._read_ids(),
        }

    def read_tickers(self) -> dict[str, pa.Array[Any]]:
        """Return the columns that only tickers have."""
        return {
            "symbol": self._read_symbols(),
            "exchange_time": self._read_times("exchange_time_us"),
            **{name: self._read_floats(name) for name in TickerBuffer.numbers},
        }

    def read_books(self) -> dict[str, pa.Array[Any]]:
        """Return the columns that only order books have."""
        return {
            "symbol": self._read_symbols(),
            "exchange_time": self._read_times("exchange_time_us"),
            "kind": self._read_codes("kind", BOOK_KINDS),
            "sequence": self._read_ints("sequence"),
            "previous_sequence": self._read_ints("previous_sequence"),
            **{name: self._read_levels(name, counts) for name, counts in LEVEL_COUNTS.items()},
        }

    def read_events(self) -> dict[str, pa.Array[Any]]:
        """Return the columns that only events have."""
        return {
            "symbol": self._read_texts("symbol").dictionary_encode(),
            "kind": self._read_texts("kind").dictionary_encode(),
            "subject_channel": self._read_texts("subject_channel").dictionary_encode(),
            "detail": self._read_texts("detail"),
            **{name: self._read_ints(name) for name in ("count", "range_start_ns", "range_end_ns")},
        }

    def _join(self, name: str) -> pa.Buffer:
        return pa.py_buffer(b"".join([getattr(rows, name) for rows in self._rows]))

    def _read(self, name: str, kind: pa.DataType) -> pa.Array[Any]:
        return pa.Array.from_buffers(kind, self._row_count, [None, self._join(name)])

    def _read_ints(self, name: str) -> pa.Array[Any]:
        values = self._read(name, pa.int64())
        return _mask(values, pc.not_equal(values, pa.scalar(MISSING_INT, pa.int64())))

    def _read_times(self, name: str) -> pa.Array[Any]:
        return self._read_ints(name).view(pa.timestamp("us", tz="UTC"))

    def _read_floats(self, name: str) -> pa.Array[Any]:
        return _mask_nan(self._read(name, pa.float64()))

    def _read_codes(self, name: str, meanings: Sequence[str]) -> pa.Array[Any]:
        """Read one-byte codes that count from 1; 0 and codes that nobody knows are null."""
        known = pa.array(range(1, len(meanings) + 1), pa.uint8())
        indices = pc.index_in(self._read(name, pa.uint8()), value_set=known)
        return pa.DictionaryArray.from_arrays(indices, pa.array(meanings))

    def _read_levels(self, name: str, counts: str) -> pa.Array[Any]:
        offsets = _accumulate(self._read(counts, pa.uint32()))
        joined = self._join(name)
        values = _mask_nan(pa.Array.from_buffers(pa.float64(), joined.size // 8, [None, joined]))
        return pa.ListArray.from_arrays(offsets, values, type=LEVELS)

    def _read_ids(self) -> pa.Array[Any]:
        lengths = self._read("trade_id_lengths", pa.uint8())
        offsets = _accumulate(lengths).buffers()[1]
        given = pc.not_equal(lengths, pa.scalar(0, pa.uint8())).buffers()[1]
        ids = pa.Array.from_buffers(pa.string(), self._row_count, [given, offsets, self._join("trade_ids")])
        try:
            ids.validate(full=True)
        except pa.ArrowInvalid:
            # Not UTF-8: the trade is worth more than the letters of its id.
            raw = pa.Array.from_buffers(pa.binary(), self._row_count, ids.buffers())
            texts = [None if value is None else value.decode(errors="replace") for value in raw.to_pylist()]
            return pa.array(texts, pa.string())
        return ids

    def _read_texts(self, name: str) -> pa.Array[Any]:
        texts = pa.array([text for rows in self._rows for text in getattr(rows, name)], pa.string())
        known: pa.Array[Any] = pc.if_else(pc.equal(texts, pa.scalar("")), pa.scalar(None, pa.string()), texts)
        return known

    def _read_symbols(self) -> pa.Array[Any]:
        """Read indices into the batches' own dictionaries as indices into one of the whole chunk."""
        sizes = [len(rows.symbols) for rows in self._rows]
        starts = pa.array([0, *accumulate(sizes[:-1])], pa.uint32())
        symbols = pa.array([symbol for rows in self._rows for symbol in rows.symbols], pa.string()).dictionary_encode()
        positions = pc.add(self._read("symbol_index", pa.uint32()), self._spread(starts))
        return pa.DictionaryArray.from_arrays(symbols.indices.take(positions), symbols.dictionary)

    def _spread_texts(self, texts: list[str]) -> pa.Array[Any]:
        """Return a dictionary column that holds each batch's text in all rows of the batch."""
        encoded = pa.array(texts, pa.string()).dictionary_encode()
        return pa.DictionaryArray.from_arrays(self._spread(encoded.indices), encoded.dictionary)

    def _spread(self, values: pa.Array[Any]) -> pa.Array[Any]:
        """Return a column that holds each batch's value in all rows of the batch."""
        run_ends = pa.array(accumulate(self._row_counts), pa.int32())
        runs: pa.RunEndEncodedArray[Any, Any] = pa.RunEndEncodedArray.from_arrays(run_ends, values)
        column: pa.Array[Any] = pc.call_function("run_end_decode", [runs])
        return column


_READERS: Final[dict[str, Callable[[_Columns], dict[str, pa.Array[Any]]]]] = {
    "trades": _Columns.read_trades,
    "tickers": _Columns.read_tickers,
    "books": _Columns.read_books,
    "events": _Columns.read_events,
}


def _mask(values: pa.Array[Any], is_known: pa.BooleanArray) -> pa.Array[Any]:
    """Return `values` without those that are not known; the booleans' bits are the validity bitmap as they stand."""
    return pa.Array.from_buffers(values.type, len(values), [is_known.buffers()[1], values.buffers()[1]])


def _mask_nan(values: pa.Array[Any]) -> pa.Array[Any]:
    return _mask(values, pc.invert(pc.is_nan(values)))


def _accumulate(counts: pa.Array[Any]) -> pa.Int32Array:
    """Return Arrow offsets (one more than there are rows) for counts a row."""
    zero = pa.array([0], pa.int32())
    return cast("pa.Int32Array", pa.concat_arrays([zero, pc.cumulative_sum_checked(counts.cast(pa.int32()))]))
