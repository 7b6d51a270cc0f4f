"""The rows of one batch while it is being filled: one array a column, no object a row.

A feed appends values to the arrays of the buffer for its channel; `encode` (tickloom_core.wire) copies each array into
the message as one buffer. What the columns mean stands in protos/tickloom/marketdata/v1/batch.proto.
"""

from __future__ import annotations

from array import array
from typing import ClassVar, Final

from tickloom_core.events import Event

MISSING_INT: Final = -(2**63)
"""A time, sequence or count that is not known."""
MISSING_FLOAT: Final = float("nan")
"""A number that is not known."""

SIDE_UNKNOWN: Final = 0
SIDE_BUY: Final = 1
SIDE_SELL: Final = 2

KIND_SNAPSHOT: Final = 1
KIND_DELTA: Final = 2

MAX_TRADE_ID_BYTES: Final = 255

LEVEL_COUNTS: Final = {
    "bid_price": "bid_count",
    "bid_amount": "bid_count",
    "ask_price": "ask_count",
    "ask_amount": "ask_count",
}
"""The columns of order book levels, each with the column that says how many belong to a row."""

U32: Final = "I"
I64: Final = "q"
F64: Final = "d"
U8: Final = "B"


class RowBuffer:
    """The columns of one channel, and the dictionary of symbols that they refer to.

    Attributes:
        channel: the name of the channel.
        typecodes: the packed columns with their `array` typecodes.
    """

    channel: ClassVar[str]
    typecodes: ClassVar[dict[str, str]]
    __slots__ = ("_index_of_symbol", "receive_time_ns", "symbols")

    receive_time_ns: array[int]

    def __init__(self) -> None:
        self.symbols: list[str] = []
        self._index_of_symbol: dict[str, int] = {}
        for name, typecode in self.typecodes.items():
            setattr(self, name, array(typecode))

    def __len__(self) -> int:
        return len(self.receive_time_ns)

    @property
    def size_bytes(self) -> int:
        """Bytes that the packed columns hold."""
        total = 0
        for name in self.typecodes:
            column: array[int] = getattr(self, name)
            total += len(column) * column.itemsize
        return total

    def index_of(self, symbol: str) -> int:
        """Return the position of `symbol` in the dictionary, and add it when it is new."""
        index = self._index_of_symbol.get(symbol)
        if index is None:
            index = self._index_of_symbol[symbol] = len(self.symbols)
            self.symbols.append(symbol)
        return index


class TradeBuffer(RowBuffer):
    """Trades; `trade_ids` and `trade_id_lengths` hold the ids as UTF-8."""

    channel = "trades"
    typecodes: ClassVar = {
        "symbol_index": U32,
        "exchange_time_us": I64,
        "receive_time_ns": I64,
        "price": F64,
        "amount": F64,
        "side": U8,
        "trade_id_lengths": U8,
    }
    __slots__ = (
        "amount",
        "exchange_time_us",
        "price",
        "side",
        "symbol_index",
        "trade_id_lengths",
        "trade_ids",
    )

    symbol_index: array[int]
    exchange_time_us: array[int]
    price: array[float]
    amount: array[float]
    side: array[int]
    trade_id_lengths: array[int]

    def __init__(self) -> None:
        super().__init__()
        self.trade_ids = bytearray()

    @property
    def size_bytes(self) -> int:
        """Bytes that the columns hold."""
        return super().size_bytes + len(self.trade_ids)

    def append_id(self, trade_id: bytes) -> None:
        """Append the id of the newest row.

        Raises:
            ValueError: the id is longer than 255 bytes.
        """
        if len(trade_id) > MAX_TRADE_ID_BYTES:
            raise ValueError(f"a trade id of {len(trade_id)} bytes; at most {MAX_TRADE_ID_BYTES} fit the wire format")
        self.trade_ids += trade_id
        self.trade_id_lengths.append(len(trade_id))


class TickerBuffer(RowBuffer):
    """Tickers."""

    channel = "tickers"
    numbers: ClassVar = (
        "last",
        "bid",
        "bid_amount",
        "ask",
        "ask_amount",
        "open",
        "high",
        "low",
        "vwap",
        "base_volume",
        "quote_volume",
        "change_percent",
    )
    typecodes: ClassVar = {
        "symbol_index": U32,
        "exchange_time_us": I64,
        "receive_time_ns": I64,
        **dict.fromkeys(numbers, F64),
    }
    __slots__ = (*numbers, "exchange_time_us", "symbol_index")

    symbol_index: array[int]
    exchange_time_us: array[int]
    last: array[float]
    bid: array[float]
    bid_amount: array[float]
    ask: array[float]
    ask_amount: array[float]
    open: array[float]
    high: array[float]
    low: array[float]
    vwap: array[float]
    base_volume: array[float]
    quote_volume: array[float]
    change_percent: array[float]


class BookBuffer(RowBuffer):
    """Order books; the levels of all rows stand one behind the other, `bid_count` and `ask_count` say how many."""

    channel = "books"
    typecodes: ClassVar = {
        "symbol_index": U32,
        "exchange_time_us": I64,
        "receive_time_ns": I64,
        "sequence": I64,
        "kind": U8,
        "bid_count": U32,
        "bid_price": F64,
        "bid_amount": F64,
        "ask_count": U32,
        "ask_price": F64,
        "ask_amount": F64,
        "previous_sequence": I64,
    }
    __slots__ = tuple(name for name in typecodes if name != "receive_time_ns")

    symbol_index: array[int]
    exchange_time_us: array[int]
    sequence: array[int]
    kind: array[int]
    bid_count: array[int]
    bid_price: array[float]
    bid_amount: array[float]
    ask_count: array[int]
    ask_price: array[float]
    ask_amount: array[float]
    previous_sequence: array[int]


class EventBuffer(RowBuffer):
    """Events of the collection itself; texts are lists, since events are rare."""

    channel = "events"
    typecodes: ClassVar = {
        "receive_time_ns": I64,
        "count": I64,
        "range_start_ns": I64,
        "range_end_ns": I64,
    }
    texts: ClassVar = ("symbol", "kind", "subject_channel", "detail")
    __slots__ = (*texts, "count", "range_end_ns", "range_start_ns")

    symbol: list[str]
    kind: list[str]
    subject_channel: list[str]
    detail: list[str]
    count: array[int]
    range_start_ns: array[int]
    range_end_ns: array[int]

    def __init__(self) -> None:
        super().__init__()
        for name in self.texts:
            setattr(self, name, [])

    def append(self, event: Event) -> None:
        """Append one event."""
        self.receive_time_ns.append(event.receive_ns)
        self.symbol.append(event.symbol)
        self.kind.append(event.kind)
        self.subject_channel.append(event.channel)
        self.detail.append(event.detail)
        for column, value in ((self.count, event.count), (self.range_start_ns, event.first_ns)):
            column.append(MISSING_INT if value is None else value)
        self.range_end_ns.append(MISSING_INT if event.last_ns is None else event.last_ns)


BUFFERS: Final[dict[str, type[RowBuffer]]] = {
    buffer.channel: buffer for buffer in (TradeBuffer, TickerBuffer, BookBuffer, EventBuffer)
}
