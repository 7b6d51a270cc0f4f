"""The taps on ccxt's own client objects, fed with frames by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aiohttp import WSMessage, WSMsgType

from tickloom_collector.feeds.ccxt_feed import CcxtFeed
from tickloom_collector.feeds.venue import Venue

from .recorder import Recorder, make_context

SYMBOL = "BTC/USD"


class Wire:
    """A feed of Kraken whose frames the tests write."""

    def __init__(self) -> None:
        self.recorder = Recorder()
        self.context = make_context("kraken", "http://127.0.0.1:1", self.recorder)
        self.venue = Venue(self.context)
        self.feed = CcxtFeed(self.context, self.venue)
        market = {"id": "XBTUSD", "symbol": SYMBOL, "base": "BTC", "quote": "USD", "spot": True, "type": "spot"}
        self.venue.exchange.set_markets([self.venue.exchange.safe_market_structure(market)])
        self.feed._trades.add([SYMBOL])
        self.client = self.venue.exchange.client("ws://127.0.0.1:1/v2")

    def receive(self, frame: dict[str, Any]) -> None:
        self.client.handle_message(WSMessage(WSMsgType.TEXT, json.dumps(frame), None))

    def receive_trades(self, *ids: int) -> None:
        trade = {"symbol": SYMBOL, "side": "buy", "price": 1.5, "qty": 2.0, "ord_type": "market"}
        time = "2026-11-21T05:00:00.000000Z"
        data = [{**trade, "trade_id": trade_id, "timestamp": time} for trade_id in ids]
        self.receive({"channel": "trade", "type": "update", "data": data})


@pytest.fixture
async def wire():
    wire = Wire()
    yield wire
    await wire.venue.close(1)


async def test_a_frame_that_ccxt_cannot_handle_ends_nothing(wire) -> None:
    """It is counted in an event, and the frames behind it are written: ccxt alone would stop receiving for good."""
    wire.receive_trades(1)
    for _ in range(3):
        wire.receive({"channel": "book", "type": "update", "data": [{"symbol": "NO/SUCH", "bids": [], "asks": []}]})
    wire.receive_trades(2)
    wire.context.batcher.flush()
    assert wire.recorder.list_keys("trades", SYMBOL) == ["1", "2"]
    assert wire.recorder.list_events("error") == [("error", "", 1)]


async def test_no_trade_is_lost_between_two_awaits_of_watch_trades(wire) -> None:
    """More trades than ccxt's cache holds are all written, in order, and the cache stays at one entry."""
    for first in range(0, 5000, 50):
        wire.receive_trades(*range(first, first + 50))
    wire.context.batcher.flush()
    assert wire.recorder.list_keys("trades", SYMBOL) == [str(number) for number in range(5000)]
    assert len(list(wire.venue.exchange.trades[SYMBOL])) == 1
