from tickloom.marketdata.v1 import header_pb2 as _header_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class BatchColumns(_message.Message):
    __slots__ = ("header", "trades", "tickers", "books", "events")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    TRADES_FIELD_NUMBER: _ClassVar[int]
    TICKERS_FIELD_NUMBER: _ClassVar[int]
    BOOKS_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    header: _header_pb2.Header
    trades: TradesColumns
    tickers: TickersColumns
    books: BooksColumns
    events: EventsColumns
    def __init__(self, header: _Optional[_Union[_header_pb2.Header, _Mapping]] = ..., trades: _Optional[_Union[TradesColumns, _Mapping]] = ..., tickers: _Optional[_Union[TickersColumns, _Mapping]] = ..., books: _Optional[_Union[BooksColumns, _Mapping]] = ..., events: _Optional[_Union[EventsColumns, _Mapping]] = ...) -> None: ...

class TradesColumns(_message.Message):
    __slots__ = ("symbols", "symbol_index", "exchange_time_us", "receive_time_ns", "price", "amount", "side", "trade_ids", "trade_id_lengths")
    SYMBOLS_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_INDEX_FIELD_NUMBER: _ClassVar[int]
    EXCHANGE_TIME_US_FIELD_NUMBER: _ClassVar[int]
    RECEIVE_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    TRADE_IDS_FIELD_NUMBER: _ClassVar[int]
    TRADE_ID_LENGTHS_FIELD_NUMBER: _ClassVar[int]
    symbols: _containers.RepeatedScalarFieldContainer[str]
    symbol_index: bytes
    exchange_time_us: bytes
    receive_time_ns: bytes
    price: bytes
    amount: bytes
    side: bytes
    trade_ids: bytes
    trade_id_lengths: bytes
    def __init__(self, symbols: _Optional[_Iterable[str]] = ..., symbol_index: _Optional[bytes] = ..., exchange_time_us: _Optional[bytes] = ..., receive_time_ns: _Optional[bytes] = ..., price: _Optional[bytes] = ..., amount: _Optional[bytes] = ..., side: _Optional[bytes] = ..., trade_ids: _Optional[bytes] = ..., trade_id_lengths: _Optional[bytes] = ...) -> None: ...

class TickersColumns(_message.Message):
    __slots__ = ("symbols", "symbol_index", "exchange_time_us", "receive_time_ns", "last", "bid", "bid_amount", "ask", "ask_amount", "open", "high", "low", "vwap", "base_volume", "quote_volume", "change_percent")
    SYMBOLS_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_INDEX_FIELD_NUMBER: _ClassVar[int]
    EXCHANGE_TIME_US_FIELD_NUMBER: _ClassVar[int]
    RECEIVE_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    BID_FIELD_NUMBER: _ClassVar[int]
    BID_AMOUNT_FIELD_NUMBER: _ClassVar[int]
    ASK_FIELD_NUMBER: _ClassVar[int]
    ASK_AMOUNT_FIELD_NUMBER: _ClassVar[int]
    OPEN_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    VWAP_FIELD_NUMBER: _ClassVar[int]
    BASE_VOLUME_FIELD_NUMBER: _ClassVar[int]
    QUOTE_VOLUME_FIELD_NUMBER: _ClassVar[int]
    CHANGE_PERCENT_FIELD_NUMBER: _ClassVar[int]
    symbols: _containers.RepeatedScalarFieldContainer[str]
    symbol_index: bytes
    exchange_time_us: bytes
    receive_time_ns: bytes
    last: bytes
    bid: bytes
    bid_amount: bytes
    ask: bytes
    ask_amount: bytes
    open: bytes
    high: bytes
    low: bytes
    vwap: bytes
    base_volume: bytes
    quote_volume: bytes
    change_percent: bytes
    def __init__(self, symbols: _Optional[_Iterable[str]] = ..., symbol_index: _Optional[bytes] = ..., exchange_time_us: _Optional[bytes] = ..., receive_time_ns: _Optional[bytes] = ..., last: _Optional[bytes] = ..., bid: _Optional[bytes] = ..., bid_amount: _Optional[bytes] = ..., ask: _Optional[bytes] = ..., ask_amount: _Optional[bytes] = ..., open: _Optional[bytes] = ..., high: _Optional[bytes] = ..., low: _Optional[bytes] = ..., vwap: _Optional[bytes] = ..., base_volume: _Optional[bytes] = ..., quote_volume: _Optional[bytes] = ..., change_percent: _Optional[bytes] = ...) -> None: ...

class BooksColumns(_message.Message):
    __slots__ = ("symbols", "symbol_index", "exchange_time_us", "receive_time_ns", "sequence", "kind", "bid_count", "bid_price", "bid_amount", "ask_count", "ask_price", "ask_amount", "previous_sequence")
    SYMBOLS_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_INDEX_FIELD_NUMBER: _ClassVar[int]
    EXCHANGE_TIME_US_FIELD_NUMBER: _ClassVar[int]
    RECEIVE_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    BID_COUNT_FIELD_NUMBER: _ClassVar[int]
    BID_PRICE_FIELD_NUMBER: _ClassVar[int]
    BID_AMOUNT_FIELD_NUMBER: _ClassVar[int]
    ASK_COUNT_FIELD_NUMBER: _ClassVar[int]
    ASK_PRICE_FIELD_NUMBER: _ClassVar[int]
    ASK_AMOUNT_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    symbols: _containers.RepeatedScalarFieldContainer[str]
    symbol_index: bytes
    exchange_time_us: bytes
    receive_time_ns: bytes
    sequence: bytes
    kind: bytes
    bid_count: bytes
    bid_price: bytes
    bid_amount: bytes
    ask_count: bytes
    ask_price: bytes
    ask_amount: bytes
    previous_sequence: bytes
    def __init__(self, symbols: _Optional[_Iterable[str]] = ..., symbol_index: _Optional[bytes] = ..., exchange_time_us: _Optional[bytes] = ..., receive_time_ns: _Optional[bytes] = ..., sequence: _Optional[bytes] = ..., kind: _Optional[bytes] = ..., bid_count: _Optional[bytes] = ..., bid_price: _Optional[bytes] = ..., bid_amount: _Optional[bytes] = ..., ask_count: _Optional[bytes] = ..., ask_price: _Optional[bytes] = ..., ask_amount: _Optional[bytes] = ..., previous_sequence: _Optional[bytes] = ...) -> None: ...

class EventsColumns(_message.Message):
    __slots__ = ("symbol", "receive_time_ns", "kind", "subject_channel", "detail", "count", "range_start_ns", "range_end_ns")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    RECEIVE_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_CHANNEL_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    RANGE_START_NS_FIELD_NUMBER: _ClassVar[int]
    RANGE_END_NS_FIELD_NUMBER: _ClassVar[int]
    symbol: _containers.RepeatedScalarFieldContainer[str]
    receive_time_ns: bytes
    kind: _containers.RepeatedScalarFieldContainer[str]
    subject_channel: _containers.RepeatedScalarFieldContainer[str]
    detail: _containers.RepeatedScalarFieldContainer[str]
    count: bytes
    range_start_ns: bytes
    range_end_ns: bytes
    def __init__(self, symbol: _Optional[_Iterable[str]] = ..., receive_time_ns: _Optional[bytes] = ..., kind: _Optional[_Iterable[str]] = ..., subject_channel: _Optional[_Iterable[str]] = ..., detail: _Optional[_Iterable[str]] = ..., count: _Optional[bytes] = ..., range_start_ns: _Optional[bytes] = ..., range_end_ns: _Optional[bytes] = ...) -> None: ...
