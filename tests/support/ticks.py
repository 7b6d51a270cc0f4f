"""Rows whose keys count from 1 in each channel, so that what a store holds can be compared with what was sent.

Where the key of a row stands: the id of a trade, the base volume of a ticker, the sequence of an order book, the count
of an event. Every fifth row lacks all that a row may lack.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from tickloom.marketdata.v1.header_pb2 import Header
from tickloom_core.bus.spool import Outgoing
from tickloom_core.bus.subjects import make_subject
from tickloom_core.columns import (
    BUFFERS,
    KIND_DELTA,
    KIND_SNAPSHOT,
    LEVEL_COUNTS,
    MISSING_FLOAT,
    MISSING_INT,
    BookBuffer,
    EventBuffer,
    RowBuffer,
    TickerBuffer,
    TradeBuffer,
)
from tickloom_core.events import Event
from tickloom_core.rows import BOOK_KIND_NAMES, SIDE_NAMES, read_column, read_levels, read_symbols, read_trade_ids
from tickloom_core.wire import Batch, decode, encode

CHANNELS: Final = tuple(BUFFERS)
KEY_FIELDS: Final = {"trades": "trade_id", "tickers": "base_volume", "books": "sequence", "events": "count"}
SYMBOLS: Final = ("BTC/USDT", "ETH/USDT", "SOL/USDT", "a b,c=d\\/USDT")

EPOCH: Final = 7

Row = dict[str, Any]

_NO_VALUES: Final = frozenset({"symbol_index", "trade_id_lengths"})
_SPARSE_EVERY: Final = 5
_LEVELS: Final = 5


class Tape:
    """Makes batches of one writer.

    Args:
        writer: its name; two writers of one name would be taken for one.
    """

    def __init__(self, writer: str = "tape") -> None:
        self._writer = writer
        self._sequence = 0
        self._receive_ns = time.time_ns()
        self.last_keys: Counter[str] = Counter()
        """The highest key that was given, by channel."""

    def make(
        self,
        channel: str = "trades",
        rows: int = 10,
        *,
        exchange: str = "binance",
        partition: int = 0,
        symbols: tuple[str, ...] = SYMBOLS,
    ) -> Outgoing:
        """Return the next batch; its rows go round the symbols."""
        return self.pack(self.fill(channel, rows, symbols), exchange=exchange, partition=partition)

    def fill(self, channel: str, rows: int, symbols: tuple[str, ...] = SYMBOLS) -> Any:
        """Return the next rows as a buffer, to be packed."""
        buffer = BUFFERS[channel]()
        for _ in range(rows):
            self.last_keys[channel] += 1
            # Distinct and rising, as those of frames are.
            self._receive_ns = max(self._receive_ns + 1000, time.time_ns())
            key = self.last_keys[channel]
            _APPENDERS[channel](buffer, key, self._receive_ns, symbols[key % len(symbols)])
        return buffer

    def pack(self, buffer: RowBuffer, *, exchange: str = "binance", partition: int = 0) -> Outgoing:
        """Return a buffer as the writer's next batch."""
        self._sequence += 1
        header = Header(
            exchange=exchange,
            channel=buffer.channel,
            writer=self._writer,
            writer_sequence=self._sequence,
            partition=partition,
            epoch=EPOCH,
        )
        return Outgoing(
            subject=make_subject(partition, buffer.channel, exchange),
            message_id=f"{self._writer}-{self._sequence}",
            payload=encode(header, buffer),
            exchange=exchange,
            channel=buffer.channel,
            rows=len(buffer),
            first_ns=buffer.receive_time_ns[0],
            last_ns=buffer.receive_time_ns[-1],
        )


def read_keys(batch: Batch) -> list[int]:
    """Return the keys of the rows of a batch."""
    field = KEY_FIELDS[batch.header.channel]
    return [int(key) for key in (read_trade_ids(batch) if field == "trade_id" else read_column(batch, field))]


def describe_difference(stored: Counter[str], wanted: Counter[str]) -> str:
    """Say how two sets of keys differ."""
    missing, repeated = list((wanted - stored).elements()), list((stored - wanted).elements())
    return f"{len(missing)} missing, such as {missing[:5]}; {len(repeated)} too many, such as {repeated[:5]}"


def describe_rows(data: Batch | bytes) -> list[Row]:
    """Return what a batch says, a record a row, None where nothing is known; the suite's own idea of a row."""
    batch = data if isinstance(data, Batch) else decode(data)
    columns: dict[str, list[Any]] = {
        "exchange": [batch.header.exchange] * batch.row_count,
        "epoch": [batch.header.epoch] * batch.row_count,
        "symbol": [symbol or None for symbol in read_symbols(batch)],
        **_DESCRIBERS[batch.header.channel](batch),
    }
    for name, typecode in BUFFERS[batch.header.channel].typecodes.items():
        if name not in columns and name not in _NO_VALUES:
            is_missing = math.isnan if typecode == "d" else MISSING_INT.__eq__
            columns[name] = [None if is_missing(value) else value for value in read_column(batch, name).tolist()]
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _append_trade(buffer: TradeBuffer, key: int, receive_ns: int, symbol: str) -> None:
    is_sparse = key % _SPARSE_EVERY == 0
    buffer.symbol_index.append(buffer.index_of(symbol))
    buffer.exchange_time_us.append(MISSING_INT if is_sparse else receive_ns // 10**6 * 1000)
    buffer.receive_time_ns.append(receive_ns)
    buffer.price.append(100 + key % 977 / 100)
    buffer.amount.append(MISSING_FLOAT if is_sparse else key % 89 / 1000)
    buffer.side.append(0 if is_sparse else 1 + key % 2)
    buffer.append_id(str(key).encode())


def _append_ticker(buffer: TickerBuffer, key: int, receive_ns: int, symbol: str) -> None:
    is_sparse = key % _SPARSE_EVERY == 0
    buffer.symbol_index.append(buffer.index_of(symbol))
    buffer.exchange_time_us.append(MISSING_INT if is_sparse else receive_ns // 10**6 * 1000)
    buffer.receive_time_ns.append(receive_ns)
    for place, name in enumerate(buffer.numbers):
        getattr(buffer, name).append(MISSING_FLOAT if is_sparse else place + key / 8)
    buffer.base_volume[-1] = key


def _append_book(buffer: BookBuffer, key: int, receive_ns: int, symbol: str) -> None:
    is_sparse = key % _SPARSE_EVERY == 0
    levels = 0 if is_sparse else 1 + key % _LEVELS
    buffer.symbol_index.append(buffer.index_of(symbol))
    buffer.exchange_time_us.append(MISSING_INT if is_sparse else receive_ns // 10**6 * 1000)
    buffer.receive_time_ns.append(receive_ns)
    buffer.sequence.append(key)
    buffer.previous_sequence.append(key - 1 if is_sparse else MISSING_INT)
    buffer.kind.append(KIND_DELTA if is_sparse else KIND_SNAPSHOT)
    for counts, prices, amounts, step in (
        (buffer.bid_count, buffer.bid_price, buffer.bid_amount, -0.5),
        (buffer.ask_count, buffer.ask_price, buffer.ask_amount, 0.5),
    ):
        counts.append(levels)
        for level in range(levels):
            prices.append(1000 + step * (level + 1))
            amounts.append(1 + level / 4)


def _append_event(buffer: EventBuffer, key: int, receive_ns: int, symbol: str) -> None:
    is_sparse = key % _SPARSE_EVERY == 0
    event = Event(
        kind="gap",
        exchange="",
        detail="" if is_sparse else f'number {key}, "quoted",\nin two lines',
        symbol="" if is_sparse else symbol,
        channel="" if is_sparse else "trades",
        count=key,
        first_ns=None if is_sparse else receive_ns - 10**9,
        last_ns=None if is_sparse else receive_ns,
        receive_ns=receive_ns,
    )
    buffer.append(event)


_APPENDERS: Final[dict[str, Callable[..., None]]] = {
    "trades": _append_trade,
    "tickers": _append_ticker,
    "books": _append_book,
    "events": _append_event,
}


def _describe_trades(batch: Batch) -> dict[str, list[Any]]:
    return {
        "side": [SIDE_NAMES[code] or None for code in batch.rows.side],
        "trade_id": [text or None for text in read_trade_ids(batch)],
    }


def _describe_tickers(_: Batch) -> dict[str, list[Any]]:
    return {}


def _describe_books(batch: Batch) -> dict[str, list[Any]]:
    is_whole = [code == KIND_SNAPSHOT for code in batch.rows.kind]
    columns: dict[str, list[Any]] = {"kind": [BOOK_KIND_NAMES[code] or None for code in batch.rows.kind]}
    for name in LEVEL_COUNTS:
        columns[name] = read_levels(batch, name)
    for side in ("bid", "ask"):
        prices, amounts = columns[f"{side}_price"], columns[f"{side}_amount"]
        # Of a delta nobody can say what the book is.
        columns[f"best_{side}"] = [levels[0] if whole else None for whole, levels in zip(is_whole, prices, strict=True)]
        columns[f"{side}_depth"] = [sum(row) if whole else None for whole, row in zip(is_whole, amounts, strict=True)]
    return columns


def _describe_events(batch: Batch) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {
        name: [text or None for text in getattr(batch.rows, name)] for name in EventBuffer.texts
    }
    for name in ("range_start", "range_end"):
        times_ns = read_column(batch, f"{name}_ns").tolist()
        columns[f"{name}_us"] = [None if time_ns == MISSING_INT else time_ns // 1000 for time_ns in times_ns]
    return columns


_DESCRIBERS: Final[dict[str, Callable[[Batch], dict[str, list[Any]]]]] = {
    "trades": _describe_trades,
    "tickers": _describe_tickers,
    "books": _describe_books,
    "events": _describe_events,
}
