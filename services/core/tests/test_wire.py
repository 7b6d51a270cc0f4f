"""The wire contract: what is encoded is ordinary protobuf, and what cannot be read says why."""

from __future__ import annotations

import contextlib
import math

import pytest
from hypothesis import given, strategies

from tickloom.marketdata.v1 import batch_columns_pb2, batch_pb2
from tickloom.marketdata.v1.header_pb2 import Header
from tickloom_core.columns import BUFFERS, MISSING_INT, BookBuffer, EventBuffer, RowBuffer, TickerBuffer, TradeBuffer
from tickloom_core.errors import PoisonousMessageError
from tickloom_core.wire import SCHEMA_VERSION, decode, encode

_FLOATS = strategies.floats(allow_nan=False)


def _header(channel: str) -> Header:
    return Header(exchange="binance", channel=channel, writer="w", writer_sequence=1)


def _trade(buffer: TradeBuffer, symbol: str, price: float, time_us: int, trade_id: bytes) -> None:
    buffer.symbol_index.append(buffer.index_of(symbol))
    buffer.exchange_time_us.append(time_us)
    buffer.receive_time_ns.append(time_us * 1000)
    buffer.price.append(price)
    buffer.amount.append(price / 2)
    buffer.side.append(1)
    buffer.append_id(trade_id)


@given(
    strategies.lists(
        strategies.tuples(
            strategies.sampled_from(["BTC/USDT", "ETH/USDT", "ÄÖ/USD"]),
            _FLOATS,
            strategies.integers(min_value=0, max_value=2**50),
            strategies.binary(max_size=255).filter(lambda value: value.isascii()),
        ),
        max_size=20,
    )
)
def test_trades_read_as_ordinary_protobuf(rows):
    """Any protobuf reader of batch.proto sees the rows that were appended."""
    buffer = TradeBuffer()
    for row in rows:
        _trade(buffer, *row)
    message = batch_pb2.Batch.FromString(encode(_header("trades"), buffer))
    trades = message.trades
    assert [trades.symbols[index] for index in trades.symbol_index] == [row[0] for row in rows]
    assert list(trades.price) == [row[1] for row in rows]
    assert list(trades.exchange_time_us) == [row[2] for row in rows]
    assert list(trades.trade_id_lengths) == [len(row[3]) for row in rows]
    assert trades.trade_ids == b"".join(row[3] for row in rows)


def test_twin_is_the_contract_with_bytes():
    """Every field of the twin has the number, name and wire meaning of the contract."""
    for name in ("Batch", "Trades", "Tickers", "Books", "Events"):
        contract = getattr(batch_pb2, name).DESCRIPTOR
        twin = getattr(batch_columns_pb2, f"{name}Columns").DESCRIPTOR
        assert [(field.number, field.name) for field in twin.fields] == [
            (field.number, field.name) for field in contract.fields
        ]
        for ours, theirs in zip(twin.fields, contract.fields, strict=True):
            packed = theirs.is_repeated and theirs.type in {
                theirs.TYPE_DOUBLE,
                theirs.TYPE_FIXED32,
                theirs.TYPE_SFIXED64,
            }
            assert ours.type == (ours.TYPE_BYTES if packed else theirs.type)


@pytest.mark.parametrize("kind", BUFFERS.values(), ids=BUFFERS.keys())
def test_buffers_hold_every_column_of_the_contract(kind):
    """A buffer's columns are those of the message, no more and no fewer."""
    buffer: RowBuffer = kind()
    fields = {field.name for field in getattr(batch_pb2, kind.channel.capitalize()).DESCRIPTOR.fields}
    columns = set(buffer.typecodes) | (set(EventBuffer.texts) if kind is EventBuffer else {"symbols"})
    if kind is TradeBuffer:
        columns.add("trade_ids")
    assert columns == fields


@given(strategies.lists(strategies.lists(strategies.tuples(_FLOATS, _FLOATS), max_size=5), max_size=8))
def test_books_come_back(levels):
    """Levels of all rows stand one behind the other, and the counts say whose they are."""
    buffer = BookBuffer()
    for row in levels:
        buffer.symbol_index.append(buffer.index_of("BTC/USDT"))
        buffer.exchange_time_us.append(MISSING_INT)
        buffer.receive_time_ns.append(7)
        buffer.sequence.append(1)
        buffer.previous_sequence.append(MISSING_INT)
        buffer.kind.append(1)
        buffer.bid_count.append(len(row))
        buffer.bid_price.extend(level[0] for level in row)
        buffer.bid_amount.extend(level[1] for level in row)
        buffer.ask_count.append(0)
    batch = decode(encode(_header("books"), buffer))
    assert batch.row_count == len(levels)
    message = batch_pb2.Batch.FromString(encode(_header("books"), buffer))
    assert list(message.books.bid_price) == [level[0] for row in levels for level in row]


def test_missing_numbers_stay_missing():
    """NaN and INT64_MIN cross the wire as they are."""
    buffer = TickerBuffer()
    buffer.symbol_index.append(buffer.index_of("BTC/USD"))
    buffer.exchange_time_us.append(MISSING_INT)
    buffer.receive_time_ns.append(1)
    for name in TickerBuffer.numbers:
        getattr(buffer, name).append(math.nan)
    message = batch_pb2.Batch.FromString(encode(_header("tickers"), buffer))
    assert message.tickers.exchange_time_us[0] == MISSING_INT
    assert math.isnan(message.tickers.bid[0])


def test_long_trade_id_is_refused():
    """An id that its length byte cannot describe is an error, not a truncation."""
    with pytest.raises(ValueError, match="256 bytes"):
        TradeBuffer().append_id(b"x" * 256)


def _valid_trades() -> bytes:
    buffer = TradeBuffer()
    _trade(buffer, "BTC/USDT", 1.5, 1, b"17")
    return encode(_header("trades"), buffer)


def _spoil(change) -> bytes:
    message = batch_columns_pb2.BatchColumns.FromString(_valid_trades())
    change(message)
    return message.SerializeToString()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\xff\xff\xff", "no tickloom"),
        (b"", "rows are None"),
        (_spoil(lambda m: setattr(m.trades, "price", b"")), "trades.price has 0 entries or bytes where 1 rows need 8"),
        (_spoil(lambda m: setattr(m.trades, "symbol_index", b"\x05\0\0\0")), "symbol index 5"),
        (
            _spoil(lambda m: setattr(m.trades, "trade_ids", b"1")),
            "trade_ids has 1 entries or bytes where 1 rows need 2",
        ),
        (_spoil(lambda m: setattr(m.header, "channel", "books")), "the header says channel 'books'"),
        (_spoil(lambda m: setattr(m.header, "schema_version", SCHEMA_VERSION + 1)), "schema version"),
    ],
)
def test_unreadable_messages_say_why(data, reason):
    """What is no valid batch is poisonous, with the reason."""
    with pytest.raises(PoisonousMessageError, match=reason):
        decode(data)


@given(strategies.lists(strategies.integers(0, 600), min_size=1, max_size=20), strategies.integers(1, 600))
def test_symbol_indexes_are_checked(indexes, symbols):
    """A batch is readable exactly when every index names a symbol, however many there are."""
    buffer = TradeBuffer()
    for number in range(symbols):
        buffer.index_of(f"S{number}")
    for index in indexes:
        _trade(buffer, "S0", 1.0, 1, b"1")
        buffer.symbol_index[-1] = index
    data = encode(_header("trades"), buffer)
    if max(indexes) < symbols:
        assert decode(data).row_count == len(indexes)
    else:
        with pytest.raises(PoisonousMessageError, match=f"symbol index {max(indexes)}"):
            decode(data)


@given(strategies.binary(max_size=200))
def test_random_bytes_never_surprise(data):
    """Any bytes are either a batch or poisonous."""
    with contextlib.suppress(PoisonousMessageError):
        assert decode(data).row_count >= 0
