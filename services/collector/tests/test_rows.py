"""From ccxt's records to columns: what is unknown is said to be, and a bad record leaves no trace."""

from __future__ import annotations

import math

import pytest

from tickloom_collector.feeds.rows import BookWriter, TickerWriter, TradeWriter
from tickloom_core.columns import MISSING_INT

from .recorder import Recorder, make_context

SYMBOL = "BTC/USD"
TRADE = {"symbol": SYMBOL, "id": "1", "timestamp": 1000, "price": 1.5, "amount": 2.0, "side": "buy"}


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def context(recorder):
    return make_context("kraken", "http://127.0.0.1:1", recorder)


async def test_unknown_values_are_missing_and_not_zero(recorder, context) -> None:
    """A trade without id, time, side and amount, a ticker of one number and a book without numbering are rows."""
    trades, tickers, books = TradeWriter(context), TickerWriter(context), BookWriter(context)
    trades.add([SYMBOL])
    tickers.add([SYMBOL])
    books.add([SYMBOL], depth=1)
    trades.write({**TRADE, "id": None, "timestamp": None, "side": None, "amount": None}, 7)
    tickers.write({"symbol": SYMBOL, "timestamp": None, "last": 3}, 7)
    levels = [[2.0, 1.0], [1.0, 1.0]]
    books.write({"symbol": SYMBOL, "timestamp": None, "nonce": None, "bids": levels, "asks": []}, 7)
    context.batcher.flush()
    rows = {batch.header.channel: batch.rows for batch in recorder.batches}
    trade, ticker, book = rows["trades"], rows["tickers"], rows["books"]
    assert memoryview(trade.exchange_time_us).cast("q")[0] == MISSING_INT
    assert math.isnan(memoryview(trade.amount).cast("d")[0])
    assert (trade.side, trade.trade_ids, trade.trade_id_lengths) == (b"\0", b"", b"\0")
    assert memoryview(ticker.last).cast("d")[0] == 3.0
    assert math.isnan(memoryview(ticker.bid).cast("d")[0])
    assert memoryview(book.sequence).cast("q")[0] == MISSING_INT
    assert list(memoryview(book.bid_price).cast("d")) == [2.0]
    assert book.ask_price == b""


async def test_the_first_snapshot_is_left_out_and_later_ones_fill(recorder, context) -> None:
    """What happened before the first subscription is not written; what a later snapshot has more is, once."""
    writer = TradeWriter(context)
    writer.add([SYMBOL])
    now_ns = 0

    def receive(kind: str, *ids: int) -> None:
        nonlocal now_ns
        now_ns += 1

        def handle(_client, _message) -> None:
            for number in ids:
                writer.write({**TRADE, "id": str(number)}, now_ns)

        writer.mark_snapshots(handle)(None, {"events": [{"type": kind}]})

    receive("snapshot", 1, 2, 3)
    receive("update", 4)
    receive("update", 3)
    receive("snapshot", 2, 3, 4, 5, 6)
    receive("update", 7)
    context.batcher.flush()
    (trades,) = [batch.rows for batch in recorder.batches if batch.header.channel == "trades"]
    assert trades.trade_ids == b"4567"


async def test_a_symbol_may_begin_without_a_snapshot(recorder, context) -> None:
    """An empty first snapshot takes nothing from what follows."""
    writer = TradeWriter(context)
    writer.add([SYMBOL])
    writer.write({**TRADE, "id": "1"}, 1)
    writer.mark_snapshots(lambda _client, _message: writer.write({**TRADE, "id": "2"}, 2))(
        None, {"events": [{"type": "snapshot"}]}
    )
    context.batcher.flush()
    assert recorder.batches[0].rows.trade_ids == b"12"


@pytest.mark.parametrize(
    "fault",
    [{"price": "no number"}, {"timestamp": 2**70}, {"amount": object()}, {"id": object()}, {"side": []}],
)
async def test_a_bad_trade_leaves_no_trace(recorder, context, fault) -> None:
    """A record that cannot be a row raises before any column has grown: the batch around it stays readable."""
    writer = TradeWriter(context)
    writer.add([SYMBOL])
    writer.write(TRADE, 1)
    with pytest.raises((ValueError, TypeError, OverflowError, AttributeError)):
        writer.write({**TRADE, "id": "2", **fault}, 2)
    writer.write({**TRADE, "id": "3"}, 3)
    context.batcher.flush()
    assert recorder.list_keys("trades", SYMBOL) == ["1", "3"]


@pytest.mark.parametrize("fault", [{"bids": [[None, 1.0]]}, {"asks": [["x", 1.0]]}, {"nonce": "x"}])
async def test_a_bad_book_leaves_no_trace(recorder, context, fault) -> None:
    """The same for books."""
    book = {"symbol": SYMBOL, "timestamp": 1, "nonce": 5, "bids": [[2.0, 1.0]], "asks": [[3.0, 1.0]]}
    writer = BookWriter(context)
    writer.add([SYMBOL], depth=10)
    writer.write(book, 1)
    with pytest.raises((ValueError, TypeError)):
        writer.write({**book, **fault}, 2)
    writer.write(book, 3)
    context.batcher.flush()
    assert recorder.list_keys("books", SYMBOL) == [1.0, 1.0]


async def test_rows_of_symbols_that_are_not_carried_are_left_out(recorder, context) -> None:
    """What a connection still delivers of a symbol that went to another collector is not written twice."""
    writer = TradeWriter(context)
    writer.add([SYMBOL])
    writer.write(TRADE, 1)
    writer.remove([SYMBOL])
    writer.write({**TRADE, "id": "2"}, 2)
    context.batcher.flush()
    assert recorder.list_keys("trades", SYMBOL) == ["1"]
