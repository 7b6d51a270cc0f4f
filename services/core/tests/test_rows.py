"""Rows of a batch as Python sequences, and messages of some of its rows."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies

from tickloom.marketdata.v1.batch_columns_pb2 import BatchColumns
from tickloom.marketdata.v1.header_pb2 import Header
from tickloom_core.columns import MISSING_FLOAT, BookBuffer, EventBuffer, TickerBuffer, TradeBuffer
from tickloom_core.errors import PoisonousMessageError
from tickloom_core.events import Event
from tickloom_core.rows import pick_rows, read_column, read_levels, read_symbols, read_trade_ids
from tickloom_core.wire import decode, encode

IDS = strategies.lists(strategies.text(max_size=20), min_size=1, max_size=30)


def make_trades(ids):
    buffer = TradeBuffer()
    for number, trade_id in enumerate(ids):
        buffer.symbol_index.append(buffer.index_of(f"S{number % 3}/USDT"))
        buffer.exchange_time_us.append(number)
        buffer.receive_time_ns.append(number * 1000)
        buffer.price.append(number + 0.5)
        buffer.amount.append(1.0)
        buffer.side.append(number % 3)
        buffer.append_id(trade_id.encode())
    return decode(encode(Header(exchange="x", channel="trades", writer="w", writer_sequence=7), buffer))


@given(IDS)
def test_columns(ids):
    """Every column comes back row by row."""
    batch = make_trades(ids)
    assert read_trade_ids(batch) == ids
    assert read_symbols(batch) == [f"S{number % 3}/USDT" for number in range(len(ids))]
    assert read_column(batch, "price").tolist() == [number + 0.5 for number in range(len(ids))]


@given(IDS, strategies.data())
def test_picking(ids, data):
    """A message of some rows holds these rows, in their order, under the same header."""
    batch = make_trades(ids)
    indices = data.draw(strategies.lists(strategies.integers(0, len(ids) - 1), unique=True))
    picked = decode(pick_rows(batch, indices))
    assert picked.header == batch.header
    assert read_trade_ids(picked) == [ids[index] for index in indices]
    assert read_symbols(picked) == [read_symbols(batch)[index] for index in indices]
    assert read_column(picked, "price").tolist() == [read_column(batch, "price")[index] for index in indices]


def test_levels():
    """Levels come back row by row, also when rows are picked."""
    buffer = BookBuffer()
    for number in range(4):
        buffer.symbol_index.append(buffer.index_of("A/B"))
        for name in ("exchange_time_us", "receive_time_ns", "sequence", "previous_sequence"):
            getattr(buffer, name).append(number)
        buffer.kind.append(1)
        buffer.bid_count.append(number)
        buffer.bid_price.extend(float(level) for level in range(number))
        buffer.bid_amount.extend(1.0 for _ in range(number))
        buffer.ask_count.append(1)
        buffer.ask_price.append(9.0)
        buffer.ask_amount.append(number)
    batch = decode(encode(Header(exchange="x", channel="books"), buffer))
    assert read_levels(batch, "bid_price") == [[], [0.0], [0.0, 1.0], [0.0, 1.0, 2.0]]
    picked = decode(pick_rows(batch, [3, 1]))
    assert read_levels(picked, "bid_price") == [[0.0, 1.0, 2.0], [0.0]]
    assert read_levels(picked, "ask_amount") == [[3.0], [1.0]]


def test_events():
    """Events have no dictionary of symbols; theirs come back as they are."""
    buffer = EventBuffer()
    for number in range(3):
        buffer.append(Event("gap", "x", f"detail {number}", symbol="A/B" if number else "", receive_ns=number))
    batch = decode(encode(Header(exchange="x", channel="events"), buffer))
    assert read_symbols(batch) == ["", "A/B", "A/B"]
    assert list(decode(pick_rows(batch, [2])).rows.detail) == ["detail 2"]


def make_tickers():
    buffer = TickerBuffer()
    for number in range(4):
        buffer.symbol_index.append(buffer.index_of("A/B"))
        buffer.exchange_time_us.append(number)
        buffer.receive_time_ns.append(number)
        for name in TickerBuffer.numbers:
            getattr(buffer, name).append(MISSING_FLOAT)
        buffer.bid_amount[-1] = float(number)
    return encode(Header(exchange="x", channel="tickers"), buffer)


def test_tickers():
    """A ticker's amounts are numbers a row, although the levels of a book have columns of the same names."""
    picked = decode(pick_rows(decode(make_tickers()), [3, 1]))
    assert read_column(picked, "bid_amount").tolist() == [3.0, 1.0]


def test_tickers_that_do_not_fit_together():
    """A ticker's column of another length is found."""
    message = BatchColumns.FromString(make_tickers())
    message.tickers.bid_amount = message.tickers.bid_amount[8:]
    with pytest.raises(PoisonousMessageError, match="bid_amount"):
        decode(message.SerializeToString())
