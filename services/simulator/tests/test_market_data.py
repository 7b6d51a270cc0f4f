"""What is made up follows the rules that the truth relies on."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickloom_simulator.book import Level, OrderBook
from tickloom_simulator.candles import CandlePath
from tickloom_simulator.instrument import Instrument, InstrumentSettings
from tickloom_simulator.market import Precision
from tickloom_simulator.venues import binance, coinbase, kraken
from tickloom_simulator.venues.kraken import compute_checksum

SETTINGS = InstrumentSettings(seed=1, book_levels=50, first_trade_id=7, history_trades=1000)
LISTINGS = [binance.list_markets, kraken.list_markets, coinbase.list_markets]


@pytest.mark.parametrize("list_markets", LISTINGS)
def test_a_thousand_markets(list_markets):
    """A thousand markets have a thousand symbols and ids, and fewer markets are the first of more."""
    markets = list_markets(1000, 1)
    assert len({market.symbol for market in markets}) == len({market.market_id for market in markets}) == 1000
    assert list_markets(4, 1) == markets[:4]


@pytest.mark.parametrize("list_markets", LISTINGS)
def test_book_keys_are_unique(list_markets):
    """No best bid's amount comes twice, the book never crosses, and applying the changes gives the book."""
    market = list_markets(4, 1)[3]
    rng = random.Random(1)  # noqa: S311  # reproducible, not secret
    book = OrderBook(market, rng, mid_ticks=50_000, levels=50)
    copies = [{level.price_ticks: level.amount_e8 for level in side.read(50)} for side in (book.bids, book.asks)]
    keys = [book.best_bid_amount_e8]
    toward = 50_000
    for number in range(3_000):
        toward += rng.choice((-2, 0, 2))
        before = book.last_update_id
        update = book.update(number, toward)
        assert update.first_update_id == before + 1
        for copy, levels in zip(copies, (update.bids, update.asks), strict=True):
            for level in levels:
                copy[level.price_ticks] = level.amount_e8
        keys.append(copies[0][max(price for price, amount in copies[0].items() if amount)])
        assert keys[-1] == update.best_bid_amount_e8 > 0
        assert book.bids.price(0) < book.asks.price(0)
        assert len(book.bids) == len(book.asks) == 50
    assert len(set(keys)) == len(keys)
    for copy, side in zip(copies, (book.bids, book.asks), strict=True):
        assert {price: amount for price, amount in copy.items() if amount} == {
            level.price_ticks: level.amount_e8 for level in side.read(50)
        }


def test_tape_and_day():
    """Trade ids are contiguous from the first id on; every ticker has more volume than the one before."""
    instrument = Instrument(binance.list_markets(1, 1)[0], SETTINGS)
    trades = [*instrument.tape.print(50, 0, 1_000), *instrument.tape.print(50, 1_000, 1_000)]
    assert [trade.trade_id for trade in trades] == list(range(7, 107))
    assert [trade.time_ns for trade in trades] == sorted(trade.time_ns for trade in trades)
    assert all(trade.amount_e8 > 0 and trade.price_ticks > 0 for trade in trades)
    volumes = []
    for _ in range(100):
        instrument.advance_ticker()
        volumes.append(instrument.read_ticker(0).volume_e8 / 1e8)
    assert volumes == sorted(set(volumes))


@given(hour=st.integers(min_value=300_000, max_value=600_000), seed=st.integers(min_value=0, max_value=99))
def test_candles_agree(hour, seed):
    """Longer candles are made of shorter ones, neighbours touch, and the same seed gives the same candle."""
    market = coinbase.list_markets(1, 1)[0]
    path = CandlePath(market, seed)
    minutes = [path.read(hour * 3600 + minute * 60, 60) for minute in range(61)]
    whole = path.read(hour * 3600, 3600)
    assert whole == CandlePath(market, seed).read(hour * 3600, 3600)
    assert (whole.open, whole.close) == (minutes[0].open, minutes[59].close)
    assert whole.high == max(minute.high for minute in minutes[:60])
    assert whole.low == min(minute.low for minute in minutes[:60])
    assert whole.volume_e8 == sum(minute.volume_e8 for minute in minutes[:60])
    assert all(minute.low <= min(minute.open, minute.close) for minute in minutes)
    assert all(minute.high >= max(minute.open, minute.close) for minute in minutes)


def test_kraken_checksum(corpus):
    """The checksum of a book that Kraken sent is the one that Kraken sent with it."""
    lines = (corpus / "frames" / "kraken_ws_v2.jsonl").read_text().splitlines()
    snapshots = [
        message["data"][0]
        for message in map(json.loads, lines)
        if message.get("channel") == "book" and message["type"] == "snapshot" and "BTC" in message["data"][0]["symbol"]
    ]

    def read_levels(side: list[dict[str, float]]) -> list[Level]:
        return [Level(round(level["price"] * 10), round(level["qty"] * 1e8)) for level in side]

    assert snapshots
    for book in snapshots:
        checksum = compute_checksum(read_levels(book["asks"]), read_levels(book["bids"]), Precision(1, 8))
        assert checksum == book["checksum"]
