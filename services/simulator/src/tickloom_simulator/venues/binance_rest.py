"""Binance spot over REST, and the empty halves of the other Binances that load_markets() asks for.

Formats: https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tickloom_simulator.clock import NS_PER_MS, now_ns
from tickloom_simulator.connection import read_agent
from tickloom_simulator.errors import RequestError
from tickloom_simulator.market import AMOUNT_SCALE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tickloom_simulator.book import Level
    from tickloom_simulator.candles import Candle
    from tickloom_simulator.faults import RateLimit
    from tickloom_simulator.hub import Hub
    from tickloom_simulator.instrument import Instrument
    from tickloom_simulator.listing import Listing
    from tickloom_simulator.market import Market
    from tickloom_simulator.tape import Trade

_DAY_MS = 86_400_000
_MAX_TRADES = 1000
_MAX_CANDLES = 1000
# Frames that arrive between the state a snapshot shows and its arrival are what makes snapshots hard.
_SNAPSHOT_LATENCY_S = 0.03
_QUOTE_FIELDS = ("symbol", "bidPrice", "bidQty", "askPrice", "askQty")
_INTERVALS_S = {
    "1m": 60,
    "3m": 180,
    "5m": 300,
    "15m": 900,
    "30m": 1800,
    "1h": 3600,
    "2h": 7200,
    "4h": 14_400,
    "6h": 21_600,
    "8h": 28_800,
    "12h": 43_200,
    "1d": 86_400,
}


class BinanceRest:
    """The REST paths of Binance spot."""

    def __init__(self, listing: Listing) -> None:
        self._listing = listing

    def add_routes(self, app: web.Application, hub: Hub) -> None:
        """Add the paths to a server; `hub` learns of snapshots."""
        self._hub = hub
        routes = {
            "/api/v3/ping": self._ping,
            "/api/v3/time": self._read_time,
            "/api/v3/exchangeInfo": self._read_exchange_info,
            "/api/v3/depth": self._read_depth,
            "/api/v3/trades": self._read_trades,
            "/api/v3/historicalTrades": self._read_trades,
            "/api/v3/aggTrades": self._read_aggregate_trades,
            "/api/v3/klines": self._read_candles,
            "/api/v3/ticker/24hr": self._read_tickers,
            "/api/v3/ticker/bookTicker": self._read_quotes,
        }
        for path, handler in routes.items():
            app.router.add_get(path, _refuse_bad_requests(handler))
        add_empty_routes(app)

    async def _ping(self, request: web.Request) -> web.Response:  # noqa: ARG002  # a handler's signature
        return web.json_response({})

    async def _read_time(self, request: web.Request) -> web.Response:  # noqa: ARG002  # a handler's signature
        return web.json_response({"serverTime": now_ns() // NS_PER_MS})

    async def _read_exchange_info(self, request: web.Request) -> web.Response:  # noqa: ARG002
        return web.json_response(
            {
                "timezone": "UTC",
                "serverTime": now_ns() // NS_PER_MS,
                "rateLimits": [
                    {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000},
                    {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 61_000},
                ],
                "exchangeFilters": [],
                "symbols": [_describe_market(market) for market in self._listing.markets],
            }
        )

    async def _read_depth(self, request: web.Request) -> web.Response:
        instrument = self._find(request)
        limit = _read_limit(request, 100, 5000)
        book, ticks = instrument.book, instrument.market.ticks_per_unit
        body = (
            f'{{"lastUpdateId":{book.last_update_id},"bids":{write_levels(book.bids.read(limit), ticks)},'
            f'"asks":{write_levels(book.asks.read(limit), ticks)}}}'
        )
        agent = read_agent(request.headers.get("User-Agent"))
        self._hub.settle_books(agent, instrument.market.symbol, book.last_update_id)
        await asyncio.sleep(_SNAPSHOT_LATENCY_S)
        return web.Response(text=body, content_type="application/json")

    async def _read_trades(self, request: web.Request) -> web.Response:
        instrument, limit = self._find(request), _read_limit(request, 500, _MAX_TRADES)
        trades = _select_trades(instrument, request, limit)
        return web.json_response([_describe_trade(trade, instrument.market) for trade in trades])

    async def _read_aggregate_trades(self, request: web.Request) -> web.Response:
        instrument, limit = self._find(request), _read_limit(request, 500, _MAX_TRADES)
        trades = _select_trades(instrument, request, limit)
        return web.json_response([_describe_aggregate_trade(trade, instrument.market) for trade in trades])

    async def _read_candles(self, request: web.Request) -> web.Response:
        instrument, limit = self._find(request), _read_limit(request, 500, _MAX_CANDLES)
        interval_s = _INTERVALS_S.get(request.query.get("interval", ""))
        if interval_s is None:
            raise RequestError("-1120 Invalid interval.")
        end_s = min(_read_int(request, "endTime", now_ns() // NS_PER_MS), now_ns() // NS_PER_MS) // 1000
        start_ms = _read_int(request, "startTime", (end_s // interval_s - limit + 1) * interval_s * 1000)
        first_s = -(-start_ms // (interval_s * 1000)) * interval_s
        times_s = range(first_s, min(end_s + 1, first_s + limit * interval_s), interval_s)
        candles = await instrument.candles.read_all(times_s, interval_s)
        return web.json_response([_describe_candle(candle, interval_s, instrument.market) for candle in candles])

    async def _read_tickers(self, request: web.Request) -> web.Response:
        return web.json_response(self._describe_tickers(request))

    async def _read_quotes(self, request: web.Request) -> web.Response:
        tickers = self._describe_tickers(request)
        if isinstance(tickers, dict):
            return web.json_response({name: tickers[name] for name in _QUOTE_FIELDS})
        return web.json_response([{name: ticker[name] for name in _QUOTE_FIELDS} for ticker in tickers])

    def _describe_tickers(self, request: web.Request) -> dict[str, Any] | list[dict[str, Any]]:
        """Describe one ticker when a symbol is named, else those of the named symbols, else all."""
        time_ns = now_ns()
        if "symbol" in request.query:
            return describe_ticker(self._find(request), time_ns)
        wanted = json.loads(request.query.get("symbols", "null"))
        return [
            describe_ticker(instrument, time_ns)
            for instrument in self._listing.instruments()
            if wanted is None or instrument.market.market_id in wanted
        ]

    def _find(self, request: web.Request) -> Instrument:
        instrument = self._listing.find_id(request.query.get("symbol"))
        if instrument is None:
            raise RequestError("-1121 Invalid symbol.")
        return instrument


def add_empty_routes(app: web.Application) -> None:
    """Add the market lists of the futures and options venues, which are empty here."""

    async def read_nothing(request: web.Request) -> web.Response:  # noqa: ARG001  # a handler's signature
        return web.json_response({"timezone": "UTC", "serverTime": now_ns() // NS_PER_MS, "symbols": []})

    for path in ("/fapi/v1/exchangeInfo", "/dapi/v1/exchangeInfo", "/eapi/v1/exchangeInfo"):
        app.router.add_get(path, read_nothing)


def write_levels(levels: Sequence[Level], ticks_per_unit: int) -> str:
    """Write levels as Binance does: [["61737.63000000","0.00000000"],…]."""
    pairs = (f'["{level.price_ticks / ticks_per_unit:.8f}","{level.amount_e8 / AMOUNT_SCALE:.8f}"]' for level in levels)
    return f"[{','.join(pairs)}]"


def describe_ticker(instrument: Instrument, time_ns: int) -> dict[str, Any]:
    """Describe a ticker as /api/v3/ticker/24hr does; the websocket ticker abbreviates the same fields."""
    ticker, ticks = instrument.read_ticker(time_ns), instrument.market.ticks_per_unit
    change = ticker.last_ticks - ticker.open_ticks
    cost = ticker.vwap_ticks / ticks * ticker.volume_e8 / AMOUNT_SCALE
    return {
        "symbol": instrument.market.market_id,
        "priceChange": f"{change / ticks:.8f}",
        "priceChangePercent": f"{100 * change / ticker.open_ticks:.3f}",
        "weightedAvgPrice": f"{ticker.vwap_ticks / ticks:.8f}",
        "prevClosePrice": f"{ticker.open_ticks / ticks:.8f}",
        "lastPrice": f"{ticker.last_ticks / ticks:.8f}",
        "lastQty": f"{ticker.bid_amount_e8 / AMOUNT_SCALE:.8f}",
        "bidPrice": f"{ticker.bid_ticks / ticks:.8f}",
        "bidQty": f"{ticker.bid_amount_e8 / AMOUNT_SCALE:.8f}",
        "askPrice": f"{ticker.ask_ticks / ticks:.8f}",
        "askQty": f"{ticker.ask_amount_e8 / AMOUNT_SCALE:.8f}",
        "openPrice": f"{ticker.open_ticks / ticks:.8f}",
        "highPrice": f"{ticker.high_ticks / ticks:.8f}",
        "lowPrice": f"{ticker.low_ticks / ticks:.8f}",
        "volume": f"{ticker.volume_e8 / AMOUNT_SCALE:.8f}",
        "quoteVolume": f"{cost:.8f}",
        "openTime": time_ns // NS_PER_MS - _DAY_MS,
        "closeTime": time_ns // NS_PER_MS,
        "firstId": max(0, ticker.last_trade_id - ticker.trade_count),
        "lastId": ticker.last_trade_id,
        "count": ticker.trade_count,
    }


def write_not_found(request: web.Request) -> web.Response:
    """Answer a path that the venue does not have."""
    body = {
        "timestamp": now_ns() // NS_PER_MS,
        "status": 404,
        "error": "Not Found",
        "message": "No message available",
        "path": request.path,
    }
    return web.json_response(body, status=404)


def write_rate_limit(fault: RateLimit) -> web.Response:
    """Answer a request that came too early."""
    body = {"code": -1003, "msg": "Too much request weight used; current limit is 6000 request weight per 1 MINUTE."}
    return web.json_response(body, status=fault.status, headers={"Retry-After": f"{fault.retry_after_s:g}"})


def _refuse_bad_requests(handler: Callable[[web.Request], Any]) -> Callable[[web.Request], Any]:
    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            response: web.StreamResponse = await handler(request)
        except (RequestError, ValueError) as error:
            code, _, message = str(error).partition(" ")
            if not isinstance(error, RequestError):
                code, message = "-1100", "Illegal characters found in a parameter."
            return web.json_response({"code": int(code), "msg": message}, status=400)
        return response

    return handle


def _read_int(request: web.Request, name: str, default: int) -> int:
    return int(request.query.get(name, default))


def _read_limit(request: web.Request, default: int, maximum: int) -> int:
    return min(maximum, max(1, _read_int(request, "limit", default)))


def _select_trades(instrument: Instrument, request: web.Request, limit: int) -> list[Trade]:
    """Select a page: from an id, or from a time on, oldest first; else the newest."""
    query, time_ns = request.query, now_ns()
    if not query.keys() & {"fromId", "startTime", "endTime"}:
        return instrument.tape.read_recent(limit, time_ns)
    first_id = _read_int(request, "fromId", 0)
    start_ns = _read_int(request, "startTime", 0) * NS_PER_MS
    end_ns = (_read_int(request, "endTime", time_ns // NS_PER_MS) + 1) * NS_PER_MS
    page: list[Trade] = []
    for trade in instrument.tape.read_all(time_ns):
        if trade.trade_id >= first_id and start_ns <= trade.time_ns < end_ns:
            page.append(trade)
            if len(page) == limit:
                break
    return page


def _describe_market(market: Market) -> dict[str, object]:
    tick, step = (
        f"{10**-digits:.8f}" for digits in (market.precision.price_decimals, market.precision.amount_decimals)
    )
    return {
        "symbol": market.market_id,
        "status": "TRADING",
        "baseAsset": market.base,
        "baseAssetPrecision": 8,
        "quoteAsset": market.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET"],
        "icebergAllowed": True,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "1000000.00000000", "tickSize": tick},
            {"filterType": "LOT_SIZE", "minQty": step, "maxQty": "9000.00000000", "stepSize": step},
            {"filterType": "NOTIONAL", "minNotional": "5.00000000", "maxNotional": "9000000.00000000"},
        ],
        "permissions": [],
        "permissionSets": [["SPOT"]],
    }


def _describe_trade(trade: Trade, market: Market) -> dict[str, object]:
    cost = trade.price_ticks / market.ticks_per_unit * trade.amount_e8 / AMOUNT_SCALE
    return {
        "id": trade.trade_id,
        "price": f"{trade.price_ticks / market.ticks_per_unit:.8f}",
        "qty": f"{trade.amount_e8 / AMOUNT_SCALE:.8f}",
        "quoteQty": f"{cost:.8f}",
        "time": trade.time_ns // NS_PER_MS,
        "isBuyerMaker": trade.is_sell,
        "isBestMatch": True,
    }


def _describe_aggregate_trade(trade: Trade, market: Market) -> dict[str, object]:
    return {
        "a": trade.trade_id,
        "p": f"{trade.price_ticks / market.ticks_per_unit:.8f}",
        "q": f"{trade.amount_e8 / AMOUNT_SCALE:.8f}",
        "f": trade.trade_id,
        "l": trade.trade_id,
        "T": trade.time_ns // NS_PER_MS,
        "m": trade.is_sell,
        "M": True,
    }


def _describe_candle(candle: Candle, interval_s: int, market: Market) -> list[object]:
    ticks, volume = market.ticks_per_unit, candle.volume_e8 / AMOUNT_SCALE
    cost = volume * (candle.high + candle.low) / 2 / ticks
    return [
        candle.open_time_s * 1000,
        *(f"{price / ticks:.8f}" for price in (candle.open, candle.high, candle.low, candle.close)),
        f"{volume:.8f}",
        (candle.open_time_s + interval_s) * 1000 - 1,
        f"{cost:.8f}",
        interval_s // 2,
        f"{volume / 2:.8f}",
        f"{cost / 2:.8f}",
        "0",
    ]
