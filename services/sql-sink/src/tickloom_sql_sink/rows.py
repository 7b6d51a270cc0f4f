"""Batches to rows: the columns of a batch as the columns of its table, None where the wire says that nothing is known.

Times are whole microseconds since 1970, UTC; the dialects write them as their database wants them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any, Final

from sqlalchemy import Table

from tickloom_core.columns import MISSING_INT, TickerBuffer
from tickloom_core.rows import BOOK_KIND_NAMES, SIDE_NAMES, read_column, read_levels, read_symbols, read_trade_ids
from tickloom_core.wire import Batch
from tickloom_sql_sink.tables import OF_CHANNEL

_NS_PER_US: Final = 1000
_DAY_US: Final = 86_400 * 10**6
_FIRST_TRADE_US: Final = 1_230_940_800 * 10**6
"""2009-01-03: a trade in a cryptocurrency cannot be older."""
_ROW_BITS: Final = 20
"""A batch has fewer rows than 2 ** 20: a message of the bus is at most a megabyte, a row takes more than one byte."""
_MAX_INT64: Final = 2**63 - 1
_BASIS_POINTS: Final = 10_000

_SIZES: Final = {"bid_amount": "bid_size", "ask_amount": "ask_size"}
"""What the columns of a ticker are called in SQL, where that differs."""
_LEVELS: Final = {
    "bid_prices": "bid_price",
    "bid_sizes": "bid_amount",
    "ask_prices": "ask_price",
    "ask_sizes": "ask_amount",
}
_Columns = dict[str, Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one table: one sequence a column, in the order of the table's columns, all of one length."""

    table: Table
    columns: tuple[Sequence[Any], ...]

    def __len__(self) -> int:
        return len(self.columns[0])

    def pick(self, indices: Iterable[int]) -> Rows:
        """Return only the rows at `indices`, in their order."""
        wanted = list(indices)
        return Rows(self.table, tuple([column[index] for index in wanted] for column in self.columns))

    def leave_out(self, indices: Collection[int]) -> Rows:
        """Return the rows without those at `indices`."""
        if not indices:
            return self
        return self.pick(index for index in range(len(self)) if index not in indices)

    def __getitem__(self, name: str) -> Sequence[Any]:
        return self.columns[self.table.columns.keys().index(name)]


def read_rows(batch: Batch) -> Rows:
    """Return the rows of a batch, for the table of its channel."""
    table = OF_CHANNEL[batch.header.channel]
    columns = _READERS[batch.header.channel](batch)
    columns["exchange"] = [batch.header.exchange] * batch.row_count
    columns["receive_time_ns"] = read_column(batch, "receive_time_ns").tolist()
    return Rows(table, tuple(columns[column.name] for column in table.columns))


def _read_trades(batch: Batch) -> _Columns:
    clocks = _read_clocks(batch)
    trade_ids = [text or None for text in read_trade_ids(batch)]
    ordinals = [
        ordinal if trade_id is None else 0 for ordinal, trade_id in zip(_count_rows(batch), trade_ids, strict=True)
    ]
    return {
        **clocks,
        "symbol": read_symbols(batch),
        "ts": [*map(_choose_time, clocks["exchange_ts_utc"], clocks["ingestion_ts_utc"])],
        "price": _read_floats(batch, "price"),
        "quantity": _read_floats(batch, "amount"),
        "side": _read_names(batch, "side", SIDE_NAMES),
        "trade_id": trade_ids,
        "ordinal": ordinals,
    }


def _read_tickers(batch: Batch) -> _Columns:
    return {
        **_read_clocks(batch),
        "symbol": read_symbols(batch),
        **{_SIZES.get(name, name): _read_floats(batch, name) for name in TickerBuffer.numbers},
        "ordinal": _count_rows(batch),
    }


def _read_books(batch: Batch) -> _Columns:
    kinds = _read_names(batch, "kind", BOOK_KIND_NAMES)
    levels = {name: [*map(_know_all, read_levels(batch, wire))] for name, wire in _LEVELS.items()}
    bids = [*map(_find_best, kinds, levels["bid_prices"])]
    asks = [*map(_find_best, kinds, levels["ask_prices"])]
    return {
        **_read_clocks(batch),
        "symbol": read_symbols(batch),
        "kind": kinds,
        "sequence": _read_ints(batch, "sequence"),
        "previous_sequence": _read_ints(batch, "previous_sequence"),
        "best_bid": bids,
        "best_ask": asks,
        "spread_bps": [*map(_measure_spread, bids, asks)],
        **levels,
        "ordinal": _count_rows(batch),
    }


def _read_events(batch: Batch) -> _Columns:
    rows = batch.rows
    texts = {"symbol": rows.symbol, "channel": rows.subject_channel, "kind": rows.kind, "detail": rows.detail}
    return {
        **{name: [text or None for text in values] for name, values in texts.items()},
        "ts": _read_receipt(batch),
        "count": _read_ints(batch, "count"),
        "range_start": _round_times(_read_ints(batch, "range_start_ns")),
        "range_end": _round_times(_read_ints(batch, "range_end_ns")),
        "ordinal": _count_rows(batch),
    }


_READERS: Final[dict[str, Callable[[Batch], _Columns]]] = {
    "trades": _read_trades,
    "tickers": _read_tickers,
    "books": _read_books,
    "events": _read_events,
}


def _read_clocks(batch: Batch) -> _Columns:
    return {"exchange_ts_utc": _read_ints(batch, "exchange_time_us"), "ingestion_ts_utc": _read_receipt(batch)}


def _read_receipt(batch: Batch) -> list[int]:
    return [time_ns // _NS_PER_US for time_ns in read_column(batch, "receive_time_ns")]


def _round_times(times_ns: Sequence[int | None]) -> list[int | None]:
    return [None if time_ns is None else time_ns // _NS_PER_US for time_ns in times_ns]


def _choose_time(exchange_us: int | None, receipt_us: int) -> int:
    """Return the time by which a trade is filed: the venue's, where it gives one that can be true."""
    if exchange_us is None or not _FIRST_TRADE_US <= exchange_us <= receipt_us + _DAY_US:
        return receipt_us
    return exchange_us


def _count_rows(batch: Batch) -> Sequence[int]:
    """Return numbers that tell the rows of one writer apart for ever, the same whenever the batch comes again."""
    first = batch.header.writer_sequence << _ROW_BITS & _MAX_INT64
    return range(first, first + batch.row_count)


def _read_ints(batch: Batch, name: str) -> list[int | None]:
    values: list[Any] = read_column(batch, name).tolist()
    if MISSING_INT in values:
        return [None if value == MISSING_INT else value for value in values]
    return values


def _read_floats(batch: Batch, name: str) -> list[float | None]:
    values: list[Any] = read_column(batch, name).tolist()
    return _know_all(values)


def _know_all(values: list[float]) -> list[float | None]:
    return [None if isnan(value) else value for value in values]


def _read_names(batch: Batch, name: str, meanings: Sequence[str]) -> list[str | None]:
    """Read one-byte codes; 0 and codes that nobody knows are None."""
    names = {code: meaning or None for code, meaning in enumerate(meanings)}
    return [*map(names.get, getattr(batch.rows, name))]


def _find_best(kind: str | None, prices: Sequence[float | None]) -> float | None:
    """Return the best price of a side; the levels of a delta are changes, not the book."""
    return prices[0] if prices and kind == "snapshot" else None


def _measure_spread(bid: float | None, ask: float | None) -> float | None:
    """Return the spread in basis points of the mid price."""
    if bid is None or ask is None or bid + ask <= 0:
        return None
    return (ask - bid) / (bid + ask) * 2 * _BASIS_POINTS
