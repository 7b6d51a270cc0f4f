"""Unmodified ccxt.pro, told only where to connect, reads every venue; what it reads is what the truth says."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

SYMBOLS = {"binance": "BTC/USDT", "kraken": "BTC/USD", "coinbase": "BTC/USD"}
VENUES = tuple(SYMBOLS)
ENOUGH = 25


def read_trade_ids(exchange: Any, symbol: str) -> list[str]:
    return [trade["id"] for trade in exchange.trades.get(symbol, ())]


@pytest.mark.parametrize("venue", VENUES)
async def test_load_markets(simulator, venue):
    """load_markets() works without options and lists the first coins as active spot markets."""
    async with simulator.open_exchange(venue) as exchange:
        markets = await exchange.load_markets()
    quote = SYMBOLS[venue].partition("/")[2]
    assert list(markets) == [f"{coin}/{quote}" for coin in ("BTC", "ETH", "SOL", "XRP")]
    assert all(market["spot"] and market["active"] for market in markets.values())


@pytest.mark.parametrize("venue", VENUES)
async def test_watch_trades(simulator, venue):
    """watch_trades() gets exactly the trades that the truth counts, with contiguous ids and their sums."""
    symbol = SYMBOLS[venue]
    async with simulator.open_exchange(venue) as exchange, simulator.keep_calling(exchange.watch_trades, symbol):
        await simulator.poll(lambda: len(read_trade_ids(exchange, symbol)) >= 3 * ENOUGH)
        sent, superseded = await simulator.read_keys(venue, "trades", symbol)
        received = await simulator.read_trade_ids(venue, symbol)
        await simulator.poll(lambda: sorted(read_trade_ids(exchange, symbol), key=int) == received)
        rows = [row for row in await simulator.call("GET", "/truth?agent=Python") if row["channel"] == "trades"]
        trades = [trade for trade in exchange.trades[symbol] if trade["id"] in set(sent)]
    # Coinbase begins with the trades that happened before.
    assert len(superseded) == (50 if venue == "coinbase" else 0)
    assert [int(key) for key in sent] == list(range(int(sent[0]), int(sent[-1]) + 1))
    assert len(rows) == 1
    assert (rows[0]["first_key"], rows[0]["last_key"]) == (sent[0], sent[-1])
    assert rows[0]["sum_amount"] == pytest.approx(sum(trade["amount"] for trade in trades), rel=1e-12)
    assert rows[0]["sum_cost"] == pytest.approx(sum(trade["amount"] * trade["price"] for trade in trades), rel=1e-12)


@pytest.mark.parametrize(
    ("venue", "method", "options"),
    [
        ("binance", "watch_tickers", {}),
        ("binance", "watch_tickers", {"watchTickers": {"name": "ticker"}}),
        ("binance", "watch_ticker", {}),
        ("kraken", "watch_tickers", {}),
        ("kraken", "watch_ticker", {}),
        ("coinbase", "watch_ticker", {}),
    ],
)
async def test_watch_tickers(simulator, venue, method, options):
    """Each ticker is told by its base volume, which only grows; ccxt sees all of them."""
    symbol = SYMBOLS[venue]
    async with simulator.open_exchange(venue, options) as exchange:
        keys = simulator.observe(exchange, lambda exchange: exchange.tickers.get(symbol, {}).get("baseVolume"))
        async with simulator.keep_calling(getattr(exchange, method), [symbol] if method == "watch_tickers" else symbol):
            await simulator.poll(lambda: len(keys) >= ENOUGH)
            sent, _ = await simulator.read_keys(venue, "tickers", symbol)
            await simulator.poll(lambda: keys == sent)
        ticker = exchange.tickers[symbol]
    assert keys == sorted(set(keys))
    assert ticker["last"] > 0
    if options or venue != "binance":
        assert ticker["bid"] < ticker["ask"]


@pytest.mark.parametrize(
    ("venue", "symbols"), [("coinbase", ["BTC/USD", "ETH/USD"]), ("binance", None)], ids=["ticker_batch", "arr"]
)
async def test_batched_tickers(simulator, venue, symbols):
    """Batched tickers come about once a second with the newest state, and only what was sent is counted."""
    symbol = SYMBOLS[venue]
    async with simulator.open_exchange(venue) as exchange:
        keys = simulator.observe(exchange, lambda exchange: exchange.tickers.get(symbol, {}).get("baseVolume"))
        async with simulator.keep_calling(exchange.watch_tickers, symbols):
            await simulator.poll(lambda: len(keys) >= 3)
            sent, _ = await simulator.read_keys(venue, "tickers", symbol)
            await simulator.poll(lambda: keys == sent)


@pytest.mark.parametrize("venue", VENUES)
async def test_watch_order_book(simulator, venue):
    """ccxt's book passes through the states that the truth counts, and ends in the last of them."""
    symbol = SYMBOLS[venue]

    def read_best_bid_amount(exchange: Any) -> float | None:
        book = exchange.orderbooks.get(symbol)
        return book["bids"][0][1] if book is not None and book["bids"] else None

    async with simulator.open_exchange(venue) as exchange:
        keys = simulator.observe(exchange, read_best_bid_amount)
        async with simulator.keep_calling(exchange.watch_order_book, symbol):
            await simulator.poll(lambda: len(keys) >= ENOUGH)
            sent, _ = await simulator.read_keys(venue, "books", symbol)
            await simulator.poll(lambda: keys[-1] == sent[-1])
        book = exchange.orderbooks[symbol]
        bids, asks = list(book["bids"]), list(book["asks"])
        served = await exchange.fetch_order_book(symbol, limit=10)
    if venue == "binance":  # the snapshot's state is not a message, and frames behind it are applied together with it
        assert set(keys[1:]) <= set(sent)
    else:
        assert keys == sent
    assert bids[0][0] < asks[0][0]
    depth = min(10, len(bids))
    assert [level[:2] for level in bids[:depth]] == [level[:2] for level in served["bids"][:depth]]
    assert [level[:2] for level in asks[:depth]] == [level[:2] for level in served["asks"][:depth]]


@pytest.mark.parametrize("venue", VENUES)
async def test_fetch_trades(simulator, venue):
    """REST serves the trades that websockets sent, so that a client can fill what it missed."""
    symbol = SYMBOLS[venue]
    async with simulator.open_exchange(venue) as exchange, simulator.keep_calling(exchange.watch_trades, symbol):
        await simulator.poll(lambda: len(read_trade_ids(exchange, symbol)) >= ENOUGH)
        received = await simulator.read_trade_ids(venue, symbol)
        fetched = await exchange.fetch_trades(symbol, limit=len(received))
    assert sorted((trade["id"] for trade in fetched), key=int) == received


async def test_pages_of_trades(simulator):
    """Binance pages by fromId and Kraken by since, each from where the last page ended, without hole or repeat."""
    async with simulator.open_exchange("binance") as exchange:
        await exchange.load_markets()
        first = await exchange.fetch_trades("BTC/USDT", limit=60, params={"fromId": 1})
        second = await exchange.fetch_trades("BTC/USDT", limit=60, params={"fromId": 61})
    assert [int(trade["id"]) for trade in first + second] == list(range(1, 101))
    async with simulator.open_exchange("kraken") as exchange:
        await exchange.load_markets()
        start = await exchange.publicGetTrades({"pair": "XXBTZUSD", "since": "0", "count": 60})
        rest = await exchange.publicGetTrades({"pair": "XXBTZUSD", "since": start["result"]["last"]})
    rows = start["result"]["XXBTZUSD"] + rest["result"]["XXBTZUSD"]
    assert [row[6] for row in rows] == list(range(1, 101))


@pytest.mark.parametrize("venue", VENUES)
async def test_fetch_ohlcv(simulator, venue):
    """An hour's candle is made of its minutes: same open, close, extremes and volume."""
    symbol = SYMBOLS[venue]
    async with simulator.open_exchange(venue) as exchange:
        hour = (await exchange.fetch_ohlcv(symbol, "1h", limit=3))[-2]
        minutes = await exchange.fetch_ohlcv(symbol, "1m", since=hour[0], limit=60)
    inside = [minute for minute in minutes if hour[0] <= minute[0] < hour[0] + 3_600_000]
    assert len(inside) == 60
    assert hour[1:5] == [
        inside[0][1],
        max(minute[2] for minute in inside),
        min(minute[3] for minute in inside),
        inside[-1][4],
    ]
    assert hour[5] == pytest.approx(sum(minute[5] for minute in inside))


@pytest.mark.parametrize("venue", VENUES)
async def test_same_agent_twice(simulator, venue):
    """A row counts once for an agent, however many of its connections got it."""
    symbol = SYMBOLS[venue]
    async with (
        simulator.open_exchange(venue) as first,
        simulator.open_exchange(venue) as second,
        simulator.keep_calling(first.watch_trades, symbol),
        simulator.keep_calling(second.watch_trades, symbol),
    ):
        await simulator.poll(
            lambda: min(len(read_trade_ids(exchange, symbol)) for exchange in (first, second)) >= ENOUGH
        )
        sent, _ = await simulator.read_keys(venue, "trades", symbol)
        received = set(await simulator.read_trade_ids(venue, symbol))
        await simulator.poll(lambda: {*read_trade_ids(first, symbol), *read_trade_ids(second, symbol)} == received)
    rows = await simulator.call("GET", "/truth")
    assert [(row["agent"], row["sent"]) for row in rows] == [("Python", len(sent))]


async def test_unsubscribing_ends_generation(simulator):
    """Nothing is made for a symbol that nobody is subscribed to."""
    async with simulator.open_exchange("binance") as exchange:
        await exchange.watch_trades("BTC/USDT")
        await exchange.un_watch_trades("BTC/USDT")

        async def is_unsubscribed():
            return not (await simulator.call("GET", "/status"))["subscriptions"]

        await simulator.poll(is_unsubscribed)
        before, _ = await simulator.read_keys("binance", "trades", "BTC/USDT")
        await simulator.call("POST", "/resume")
        await exchange.watch_trades("ETH/USDT")
        await asyncio.gather(*(exchange.watch_trades("ETH/USDT") for _ in range(5)))
        after, _ = await simulator.read_keys("binance", "trades", "BTC/USDT")
        newest = await exchange.fetch_trades("BTC/USDT", limit=1)
    assert before == after
    assert newest[0]["id"] == before[-1]
