from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from tickloom_core.config import VenueConfig
from tickloom_venues.errors import (
    TerminalVenueError,
    UnknownSymbolError,
    VenueRateLimitError,
    VenueUnavailableError,
)
from tickloom_venues.markets import Market, load_markets, resolve_symbols
from tickloom_venues.opening import close_venue, open_venue


def market(symbol, market_id="", *, active=True):
    pair, _, settle = symbol.partition(":")
    base, quote = pair.split("/")
    return Market(symbol, market_id or base + quote, base, quote, active, spot=not settle)


MARKETS = {
    found.symbol: found
    for found in (
        market("ETH/BTC"),
        market("BTC/USDT:USDT", "BTCUSDT"),
        market("BTC/USDT"),
        market("BTC/USD", "XXBTZUSD"),
        market("LUNA/USDT", active=False),
        market("1000SHIB/USDT"),
    )
}


def resolve(wanted, **more):
    return resolve_symbols(MARKETS, wanted, venue="testex", **more)


@pytest.mark.parametrize(
    ("text", "symbol"),
    [
        ("BTC/USDT", "BTC/USDT"),
        ("BTCUSDT", "BTC/USDT"),
        ("btc-usdt", "BTC/USDT"),
        ("btc/usdt", "BTC/USDT"),
        ("BTCUSD", "BTC/USD"),
        ("XXBTZUSD", "BTC/USD"),
        ("BTC/USDT:USDT", "BTC/USDT:USDT"),
        ("1000shibusdt", "1000SHIB/USDT"),
    ],
)
def test_a_symbol_is_found_in_any_spelling(text, symbol):
    """People's spellings and the venue's own id lead to ccxt's symbol, and to spot before a derivative."""
    assert resolve([text]) == [symbol]


def test_wanted_symbols_keep_their_order_once_each():
    """The order of the configuration is kept and repetition dropped, however it is spelt."""
    assert resolve(["ETH/BTC", "BTCUSDT", "ethbtc"]) == ["ETH/BTC", "BTC/USDT"]


def test_an_unknown_symbol_is_an_error_with_the_nearest_ones():
    """A misspelt symbol names the venue and what was probably meant."""
    with pytest.raises(
        UnknownSymbolError, match="testex: no market is called 'BTC/USTD'; did you mean BTC/USD"
    ) as refused:
        resolve(["BTC/USTD"])

    assert refused.value.symbol == "BTC/USTD"
    assert "BTC/USDT" in refused.value.near


def test_a_spelling_of_two_markets_is_an_error():
    """What two markets could equally be called is not guessed."""
    two = {found.symbol: found for found in (market("A/BC", "1"), market("AB/C", "2"))}

    with pytest.raises(UnknownSymbolError, match="can mean A/BC or AB/C"):
        resolve_symbols(two, ["ABC"], venue="testex")


def test_all_means_every_active_spot_market_by_name():
    """Derivatives and markets that do not trade are left out of "all"."""
    assert resolve("all") == ["1000SHIB/USDT", "BTC/USD", "BTC/USDT", "ETH/BTC"]
    assert "BTC/USDT:USDT" in resolve("all", spot_only=False)


def test_all_begins_with_the_busiest_where_volumes_are_known():
    """A limit keeps the markets with the most traded value, then those first by name."""
    assert resolve("all", limit=3, quote_volumes={"ETH/BTC": 5.0, "BTC/USDT": 9.0}) == [
        "BTC/USDT",
        "ETH/BTC",
        "1000SHIB/USDT",
    ]


@pytest.fixture
async def load_from(aiohttp_endpoint):
    """Loads the markets of a Kraken whose REST answers are given."""
    opened = []

    async def load(answer, **more):
        endpoint = await aiohttp_endpoint(answer)
        exchange = open_venue("kraken", VenueConfig(endpoint=endpoint), agent="tickloom-test/0")
        opened.append(exchange)
        return await load_markets(exchange, **more)

    yield load
    for exchange in opened:
        await close_venue(exchange)


async def answer_as_kraken(request):
    pair = {
        "altname": "XBTUSD",
        "wsname": "XBT/USD",
        "base": "XXBT",
        "quote": "ZUSD",
        "pair_decimals": 1,
        "lot_decimals": 8,
        "fees": [[0, 0.4]],
        "fees_maker": [[0, 0.25]],
        "status": "online",
        "ordermin": "0.00005",
    }
    asset = {"aclass": "currency", "decimals": 10, "display_decimals": 5}
    results = {
        "/0/public/AssetPairs": {"XXBTZUSD": pair},
        "/0/public/Assets": {"XXBT": {**asset, "altname": "XBT"}, "ZUSD": {**asset, "altname": "USD"}},
    }
    return web.json_response({"error": [], "result": results[request.path]})


async def test_markets_are_read_from_the_venue(load_from):
    """What the venue lists becomes records by symbol."""
    assert await load_from(answer_as_kraken) == {
        "BTC/USD": Market("BTC/USD", "XXBTZUSD", "BTC", "USD", active=True, spot=True)
    }


async def test_a_silent_venue_is_unavailable_after_the_deadline(load_from):
    """A venue that never answers is a transient error, not a wait without end."""

    async def say_nothing(_):
        await asyncio.Event().wait()

    with pytest.raises(VenueUnavailableError, match=r"no list of markets within 0\.2 s"):
        await load_from(say_nothing, deadline_s=0.2)


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (503, "maintenance", VenueUnavailableError),
        (200, "<html>", VenueUnavailableError),
        (200, '{"error": [], "result": {"XXBTZUSD": 5}}', VenueUnavailableError),
        (200, '{"error": ["EGeneral:Permission denied"]}', TerminalVenueError),
    ],
)
async def test_answers_without_markets_are_errors_of_ours(load_from, status, body, expected):
    """Whatever a venue answers instead of markets, the error is one of ours and says whether to come back."""

    async def answer(_):
        return web.Response(status=status, text=body, content_type="application/json")

    with pytest.raises(expected, match="kraken"):
        await load_from(answer)


async def test_a_rate_limit_says_how_long_to_wait(load_from):
    """The Retry-After of a refused REST request reaches the caller."""

    async def answer(_):
        return web.Response(status=429, text="slow down", headers={"Retry-After": "17"})

    with pytest.raises(VenueRateLimitError) as refused:
        await load_from(answer)

    assert refused.value.retry_after_s == 17


async def test_after_an_answer_without_markets_the_venue_is_asked_again(aiohttp_endpoint):
    """A page of HTML is not remembered as the list of markets; a list that was read is."""
    asked = []

    async def answer(request):
        asked.append(request.path)
        return web.Response(text="<html>") if len(asked) <= 2 else await answer_as_kraken(request)

    endpoint = await aiohttp_endpoint(answer)
    exchange = open_venue("kraken", VenueConfig(endpoint=endpoint), agent="tickloom-test/0")
    try:
        with pytest.raises(VenueUnavailableError, match="lists no markets"):
            await load_markets(exchange)
        first = await load_markets(exchange)
        second = await load_markets(exchange)
    finally:
        await close_venue(exchange)

    assert list(first) == list(second) == ["BTC/USD"]
    assert len(asked) == 4
