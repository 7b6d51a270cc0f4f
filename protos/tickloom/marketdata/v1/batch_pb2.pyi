from tickloom.marketdata.v1 import header_pb2 as _header_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Batch(_message.Message):
    __slots__ = ("header", "trades", "tickers", "books", "events")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    TRADES_FIELD_NUMBER: _ClassVar[int]
    TICKERS_FIELD_NUMBER: _ClassVar[int]
    BOOKS_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    header: _header_pb2.Header
    trades: Trades
    tickers: Tickers
    books: Books
    events: Events
    def __init__(self, header: _Optional[_Union[_header_pb2.Header, _Mapping]] = ..., trades: _Optional[_Union[Trades, _Mapping]] = ..., tickers: _Optional[_Union[Tickers, _Mapping]] = ..., books: _Optional[_Union[Books, _Mapping]] = ..., events: _Optional[_Union[Events, _Mapping]] = ...) -> None: ...

class Trades(_message.Message):
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
    symbol_index: _containers.RepeatedScalarFieldContainer[int]
    exchange_time_us: _containers.RepeatedScalarFieldContainer[int]
    receive_time_ns: _containers.RepeatedScalarFieldContainer[int]
    price: _containers.RepeatedScalarFieldContainer[float]
    amount: _containers.RepeatedScalarFieldContainer[float]
    side: bytes
    trade_ids: bytes
    trade_id_lengths: bytes
    def __init__(self, symbols: _Optional[_Iterable[str]] = ..., symbol_index: _Optional[_Iterable[int]] = ..., exchange_time_us: _Optional[_Iterable[int]] = ..., receive_time_ns: _Optional[_Iterable[int]] = ..., price: _Optional[_Iterable[float]] = ..., amount: _Optional[_Iterable[float]] = ..., side: _Optional[bytes] = ..., trade_ids: _Optional[bytes] = ..., trade_id_lengths: _Optional[bytes] = ...) -> None: ...

class Tickers(_message.Message):
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
    symbol_index: _containers.RepeatedScalarFieldContainer[int]
    exchange_time_us: _containers.RepeatedScalarFieldContainer[int]
    receive_time_ns: _containers.RepeatedScalarFieldContainer[int]
    last: _containers.RepeatedScalarFieldContainer[float]
    bid: _containers.RepeatedScalarFieldContainer[float]
    bid_amount: _containers.RepeatedScalarFieldContainer[float]
    ask: _containers.RepeatedScalarFieldContainer[float]
    ask_amount: _containers.RepeatedScalarFieldContainer[float]
    open: _containers.RepeatedScalarFieldContainer[float]
    high: _containers.RepeatedScalarFieldContainer[float]
    low: _containers.RepeatedScalarFieldContainer[float]
    vwap: _containers.RepeatedScalarFieldContainer[float]
    base_volume: _containers.RepeatedScalarFieldContainer[float]
    quote_volume: _containers.RepeatedScalarFieldContainer[float]
    change_percent: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, symbols: _Optional[_Iterable[str]] = ..., symbol_index: _Optional[_Iterable[int]] = ..., exchange_time_us: _Optional[_Iterable[int]] = ..., receive_time_ns: _Optional[_Iterable[int]] = ..., last: _Optional[_Iterable[float]] = ..., bid: _Optional[_Iterable[float]] = ..., bid_amount: _Optional[_Iterable[float]] = ..., ask: _Optional[_Iterable[float]] = ..., ask_amount: _Optional[_Iterable[float]] = ..., open: _Optional[_Iterable[float]] = ..., high: _Optional[_Iterable[float]] = ..., low: _Optional[_Iterable[float]] = ..., vwap: _Optional[_Iterable[float]] = ..., base_volume: _Optional[_Iterable[float]] = ..., quote_volume: _Optional[_Iterable[float]] = ..., change_percent: _Optional[_Iterable[float]] = ...) -> None: ...

class Books(_message.Message):
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
    symbol_index: _containers.RepeatedScalarFieldContainer[int]
    exchange_time_us: _containers.RepeatedScalarFieldContainer[int]
    receive_time_ns: _containers.RepeatedScalarFieldContainer[int]
    sequence: _containers.RepeatedScalarFieldContainer[int]
    kind: bytes
    bid_count: _containers.RepeatedScalarFieldContainer[int]
    bid_price: _containers.RepeatedScalarFieldContainer[float]
    bid_amount: _containers.RepeatedScalarFieldContainer[float]
    ask_count: _containers.RepeatedScalarFieldContainer[int]
    ask_price: _containers.RepeatedScalarFieldContainer[float]
    ask_amount: _containers.RepeatedScalarFieldContainer[float]
    previous_sequence: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, symbols: _Optional[_Iterable[str]] = ..., symbol_index: _Optional[_Iterable[int]] = ..., exchange_time_us: _Optional[_Iterable[int]] = ..., receive_time_ns: _Optional[_Iterable[int]] = ..., sequence: _Optional[_Iterable[int]] = ..., kind: _Optional[bytes] = ..., bid_count: _Optional[_Iterable[int]] = ..., bid_price: _Optional[_Iterable[float]] = ..., bid_amount: _Optional[_Iterable[float]] = ..., ask_count: _Optional[_Iterable[int]] = ..., ask_price: _Optional[_Iterable[float]] = ..., ask_amount: _Optional[_Iterable[float]] = ..., previous_sequence: _Optional[_Iterable[int]] = ...) -> None: ...

class Events(_message.Message):
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
    receive_time_ns: _containers.RepeatedScalarFieldContainer[int]
    kind: _containers.RepeatedScalarFieldContainer[str]
    subject_channel: _containers.RepeatedScalarFieldContainer[str]
    detail: _containers.RepeatedScalarFieldContainer[str]
    count: _containers.RepeatedScalarFieldContainer[int]
    range_start_ns: _containers.RepeatedScalarFieldContainer[int]
    range_end_ns: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, symbol: _Optional[_Iterable[str]] = ..., receive_time_ns: _Optional[_Iterable[int]] = ..., kind: _Optional[_Iterable[str]] = ..., subject_channel: _Optional[_Iterable[str]] = ..., detail: _Optional[_Iterable[str]] = ..., count: _Optional[_Iterable[int]] = ..., range_start_ns: _Optional[_Iterable[int]] = ..., range_end_ns: _Optional[_Iterable[int]] = ...) -> None: ...
