"""The rows of a chunk as lines of InfluxDB's line protocol.

Rows are gathered a column at a time and over the whole chunk, so that those which would be one point can be told apart;
they become text a block at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from tickloom_core.columns import (
    KIND_DELTA,
    MISSING_FLOAT,
    MISSING_INT,
    SIDE_UNKNOWN,
    BookBuffer,
    EventBuffer,
    TickerBuffer,
    TradeBuffer,
)
from tickloom_core.rows import SIDE_NAMES, read_column, read_levels, read_symbols, read_trade_ids
from tickloom_core.wire import Batch
from tickloom_influx_sink.instants import find_twins, make_key, place_trades
from tickloom_influx_sink.spelling import (
    Column,
    join_fields,
    join_lines,
    spell_floats,
    spell_head,
    spell_ints,
    spell_numbers,
    spell_texts,
)

_T = TypeVar("_T")

_KNOWN_SIDES: Final = bytes(code if code < len(SIDE_NAMES) else SIDE_UNKNOWN for code in range(256))
_BPS: Final = 10_000
_NS_PER_US: Final = 1_000


@dataclass(slots=True)
class Points:
    """Rows on their way to lines, one entry a row in every list.

    Attributes:
        heads: measurement and tags.
        fields: the fields that are known; empty when none is, and then the row is no point.
        times_ns: the time.
        identities: the id of a trade, empty where there is none.
    """

    heads: list[str] = field(default_factory=list)
    fields: list[str] = field(default_factory=list)
    times_ns: list[int] = field(default_factory=list)
    identities: list[str] = field(default_factory=list)

    def extend(self, other: Points) -> None:
        """Append the rows of `other`."""
        self.heads += other.heads
        self.fields += other.fields
        self.times_ns += other.times_ns
        self.identities += other.identities

    def find_rows(self) -> Sequence[int]:
        """Return the rows that are points: all of them, as a range, where none lacks every field."""
        if all(self.fields):
            return range(len(self.fields))
        return [row for row, fields in enumerate(self.fields) if fields]

    def find_empty_rows(self) -> Sequence[int]:
        """Return the rows that are no points."""
        return [row for row, fields in enumerate(self.fields) if not fields]

    def spell_lines(self, rows: Sequence[int]) -> str:
        """Return the lines of some rows."""
        times = spell_numbers(_pick(self.times_ns, rows))
        return join_lines(_pick(self.heads, rows), _pick(self.fields, rows), times)


def gather_points(batches: Iterable[Batch]) -> Points:
    """Return the rows of a chunk; those that would be the same point as an earlier one get a tag `twin`."""
    points = Points()
    for batch in batches:
        if batch.row_count:
            points.extend(_READERS[batch.header.channel](batch))
    for row, number in find_twins(points.heads, points.times_ns, points.identities).items():
        points.heads[row] += f",twin={number}"
    return points


def _read_trades(batch: Batch) -> Points:
    sides: bytes = batch.rows.side.translate(_KNOWN_SIDES)
    prices, amounts = _read_values(batch, "price"), _read_values(batch, "amount")
    receive_times_ns = _read_values(batch, "receive_time_ns")
    ids = read_trade_ids(batch)
    keys = list(map(int, ids)) if _are_numbers(batch) else list(map(make_key, ids, prices, amounts, sides))
    columns = [
        spell_floats("price", prices),
        spell_floats("amount", amounts),
        spell_texts("trade_id", ids),
        spell_ints("receive_time_ns", receive_times_ns),
    ]
    times_us = _choose_times_us(_read_values(batch, "exchange_time_us"), receive_times_ns)
    return Points(_spell_trade_heads(batch, sides), join_fields(columns), place_trades(times_us, keys), ids)


def _read_tickers(batch: Batch) -> Points:
    columns = [spell_floats(name, _read_values(batch, name)) for name in TickerBuffer.numbers]
    columns.append(spell_ints("exchange_time_us", _read_values(batch, "exchange_time_us")))
    return _place_at_receipt(batch, _spell_symbol_heads(batch), columns)


def _read_books(batch: Batch) -> Points:
    # A delta names the levels that changed: of the top of the book and of its depth it says nothing.
    is_state = [kind != KIND_DELTA for kind in batch.rows.kind]
    bids, asks = _BookSide.read(batch, "bid", is_state), _BookSide.read(batch, "ask", is_state)
    columns = [
        *bids.spell("bid"),
        *asks.spell("ask"),
        spell_floats("spread_bps", list(map(_measure_spread, bids.prices, asks.prices))),
        *[spell_ints(name, _read_values(batch, name)) for name in ("sequence", "exchange_time_us")],
    ]
    return _place_at_receipt(batch, _spell_symbol_heads(batch), columns)


def _read_events(batch: Batch) -> Points:
    rows = batch.rows
    heads = [
        spell_head(
            EventBuffer.channel,
            ("channel", channel),
            ("exchange", batch.header.exchange),
            ("kind", kind),
            ("symbol", symbol),
        )
        for channel, kind, symbol in zip(rows.subject_channel, rows.kind, rows.symbol, strict=True)
    ]
    numbers = [spell_ints(name, _read_values(batch, name)) for name in ("count", "range_start_ns", "range_end_ns")]
    return _place_at_receipt(batch, heads, [spell_texts("detail", rows.detail), *numbers])


_READERS: Final[dict[str, Callable[[Batch], Points]]] = {
    TradeBuffer.channel: _read_trades,
    TickerBuffer.channel: _read_tickers,
    BookBuffer.channel: _read_books,
    EventBuffer.channel: _read_events,
}


@dataclass(frozen=True, slots=True)
class _BookSide:
    """One side of order books: the best level, and sums over all that are kept."""

    prices: list[float]
    amounts: list[float]
    depths: list[float]
    counts: list[int]

    @classmethod
    def read(cls, batch: Batch, side: str, is_state: Sequence[bool]) -> _BookSide:
        """Read the levels of `side`; what a row says nothing of is missing."""
        prices, amounts = read_levels(batch, f"{side}_price"), read_levels(batch, f"{side}_amount")
        has_best = [state and bool(levels) for state, levels in zip(is_state, prices, strict=True)]
        return cls(
            [levels[0] if known else MISSING_FLOAT for levels, known in zip(prices, has_best, strict=True)],
            [levels[0] if known else MISSING_FLOAT for levels, known in zip(amounts, has_best, strict=True)],
            [sum(levels) if state else MISSING_FLOAT for levels, state in zip(amounts, is_state, strict=True)],
            [len(levels) if state else MISSING_INT for levels, state in zip(prices, is_state, strict=True)],
        )

    def spell(self, side: str) -> list[Column]:
        """Return the columns."""
        return [
            spell_floats(side, self.prices),
            spell_floats(f"{side}_amount", self.amounts),
            spell_floats(f"{side}_depth", self.depths),
            spell_ints(f"{side}_levels", self.counts),
        ]


def _measure_spread(bid: float, ask: float) -> float:
    """Return the spread in hundredths of a percent of the middle; missing when a side is or the middle is not > 0."""
    middle = (bid + ask) / 2
    return _BPS * (ask - bid) / middle if middle > 0 else MISSING_FLOAT


def _read_values(batch: Batch, name: str) -> list[Any]:
    values: list[Any] = read_column(batch, name).tolist()
    return values


def _are_numbers(batch: Batch) -> bool:
    """Say whether every id is a number."""
    return batch.rows.trade_ids.isdigit() and all(batch.rows.trade_id_lengths)


def _choose_times_us(exchange_times_us: list[int], receive_times_ns: Sequence[int]) -> list[int]:
    """Return the venue's times, those of receipt where it gives none."""
    if MISSING_INT not in exchange_times_us:
        return exchange_times_us
    return [
        receive_ns // _NS_PER_US if exchange_us == MISSING_INT else exchange_us
        for exchange_us, receive_ns in zip(exchange_times_us, receive_times_ns, strict=True)
    ]


def _spell_trade_heads(batch: Batch, sides: bytes) -> list[str]:
    heads = [
        spell_head(TradeBuffer.channel, ("exchange", batch.header.exchange), ("side", side), ("symbol", symbol))
        for symbol in batch.rows.symbols
        for side in SIDE_NAMES
    ]
    width = len(SIDE_NAMES)
    return [heads[index * width + side] for index, side in zip(read_column(batch, "symbol_index"), sides, strict=True)]


def _spell_symbol_heads(batch: Batch) -> list[str]:
    header = batch.header
    channel, exchange = header.channel, header.exchange
    return [spell_head(channel, ("exchange", exchange), ("symbol", symbol)) for symbol in read_symbols(batch)]


def _place_at_receipt(batch: Batch, heads: list[str], columns: Sequence[Column]) -> Points:
    return Points(heads, join_fields(columns), _read_values(batch, "receive_time_ns"), [""] * batch.row_count)


def _pick(values: Sequence[_T], rows: Sequence[int]) -> Sequence[_T]:
    return values[rows.start : rows.stop] if isinstance(rows, range) else [values[row] for row in rows]
