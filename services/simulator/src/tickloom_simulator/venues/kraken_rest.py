"""Kraken spot over REST.

Formats: https://docs.kraken.com/api/docs/rest-api/get-tradable-asset-pairs (and assets, ticker, ohlc, depth, trades)
"""

from __future__ import annotations

from inspect import isawaitable
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tickloom_simulator.clock import NS_PER_S, now_ns
from tickloom_simulator.errors import RequestError
from tickloom_simulator.market import AMOUNT_SCALE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tickloom_simulator.book import Level
    from tickloom_simulator.candles import Candle
    from tickloom_simulator.faults import RateLimit
    from tickloom_simulator.instrument import Instrument
    from tickloom_simulator.listing import Listing
    from tickloom_simulator.market import Market
    from tickloom_simulator.tape import Trade

    _Answer = dict[str, Any]
    _Read = Callable[[web.Request], _Answer | Awaitable[_Answer]]

_INTERVALS_MIN = frozenset({1, 5, 15, 30, 60, 240, 1440})
_MAX_CANDLES = 720
_MAX_TRADES = 1000
_MAX_DEPTH = 500
# `since` of Trades is documented in nanoseconds and understood in seconds, too.
_LEAST_NS = 10**14
_ALTNAMES = {"XXBT": "XBT", "XXDG": "XDG", "XETH": "ETH", "XXRP": "XRP", "XLTC": "LTC", "XETC": "ETC", "ZUSD": "USD"}
_TAKER_FEES = [[0, 0.4], [10_000, 0.35], [50_000, 0.24]]
_MAKER_FEES = [[0, 0.25], [10_000, 0.2], [50_000, 0.14]]


class KrakenRest:
    """The REST paths of Kraken."""

    def __init__(self, listing: Listing) -> None:
        self._listing = listing

    def add_routes(self, app: web.Application) -> None:
        """Add the paths to a server."""
        routes: dict[str, _Read] = {
            "Time": self._read_time,
            "SystemStatus": self._read_status,
            "Assets": self._read_assets,
            "AssetPairs": self._read_pairs,
            "Ticker": self._read_tickers,
            "OHLC": self._read_candles,
            "Depth": self._read_depth,
            "Trades": self._read_trades,
        }
        for name, handler in routes.items():
            app.router.add_get(f"/0/public/{name}", _wrap_result(handler))

    def _read_time(self, request: web.Request) -> dict[str, Any]:  # noqa: ARG002  # a handler's signature
        return {"unixtime": now_ns() // NS_PER_S, "rfc1123": ""}

    def _read_status(self, request: web.Request) -> dict[str, Any]:  # noqa: ARG002  # a handler's signature
        return {"status": "online", "timestamp": ""}

    def _read_assets(self, request: web.Request) -> dict[str, Any]:  # noqa: ARG002  # a handler's signature
        names = {market.base for market in self._listing.markets} | {"ZUSD"}
        return {
            name: {
                "aclass": "currency",
                "altname": _ALTNAMES.get(name, name),
                "decimals": 10,
                "display_decimals": 5,
                "status": "enabled",
            }
            for name in sorted(names)
        }

    def _read_pairs(self, request: web.Request) -> dict[str, Any]:  # noqa: ARG002  # a handler's signature
        return {market.market_id: _describe_market(market) for market in self._listing.markets}

    def _read_tickers(self, request: web.Request) -> dict[str, Any]:
        wanted = request.query.get("pair")
        named = [self._find(market_id) for market_id in wanted.split(",")] if wanted is not None else None
        instruments = self._listing.instruments() if named is None else named
        return {instrument.market.market_id: _describe_ticker(instrument) for instrument in instruments}

    async def _read_candles(self, request: web.Request) -> dict[str, Any]:
        """Serve the newest 720 candles after `since`; older ones cannot be had, as at the venue."""
        instrument = self._find(request.query.get("pair", ""))
        interval_min = int(request.query.get("interval", "1"))
        if interval_min not in _INTERVALS_MIN:
            raise RequestError("EGeneral:Invalid arguments")
        interval_s, since_s = interval_min * 60, int(request.query.get("since", "0"))
        newest_s = now_ns() // NS_PER_S // interval_s * interval_s
        oldest_s = newest_s - (_MAX_CANDLES - 1) * interval_s
        first_s = max(oldest_s, (since_s // interval_s + 1) * interval_s)
        candles = await instrument.candles.read_all(range(first_s, newest_s + 1, interval_s), interval_s)
        rows = [_describe_candle(candle, instrument.market, interval_s) for candle in candles]
        return {instrument.market.market_id: rows, "last": max(newest_s - interval_s, 0)}

    def _read_depth(self, request: web.Request) -> dict[str, Any]:
        instrument = self._find(request.query.get("pair", ""))
        depth = min(_MAX_DEPTH, int(request.query.get("count", "100")))
        time_s, book = now_ns() // NS_PER_S, instrument.book
        sides = {
            "asks": _describe_levels(book.asks.read(depth), instrument.market, time_s),
            "bids": _describe_levels(book.bids.read(depth), instrument.market, time_s),
        }
        return {instrument.market.market_id: sides}

    def _read_trades(self, request: web.Request) -> dict[str, Any]:
        instrument = self._find(request.query.get("pair", ""))
        count = min(_MAX_TRADES, max(1, int(request.query.get("count", str(_MAX_TRADES)))))
        time_ns = now_ns()
        if "since" in request.query:
            since = int(request.query["since"])
            since_ns = since if since >= _LEAST_NS else since * NS_PER_S
            trades = [trade for trade in instrument.tape.read_all(time_ns) if trade.time_ns > since_ns][:count]
        else:
            since_ns = time_ns
            trades = instrument.tape.read_recent(count, time_ns)
        rows = [_describe_trade(trade, instrument.market) for trade in trades]
        return {instrument.market.market_id: rows, "last": str(trades[-1].time_ns if trades else since_ns)}

    def _find(self, market_id: str) -> Instrument:
        instrument = self._listing.find_id(market_id)
        if instrument is None:
            raise RequestError("EQuery:Unknown asset pair")
        return instrument


def write_not_found(request: web.Request) -> web.Response:  # noqa: ARG001  # the venue does not repeat the path
    """Answer a path that the venue does not have."""
    return web.json_response({"error": ["EGeneral:Unknown method"]})


def write_rate_limit(fault: RateLimit) -> web.Response:
    """Answer a request that came too early."""
    body = {"error": ["EAPI:Rate limit exceeded"]}
    return web.json_response(body, status=fault.status, headers={"Retry-After": f"{fault.retry_after_s:g}"})


def _wrap_result(read: _Read) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        try:
            answer = read(request)
            return web.json_response({"error": [], "result": await answer if isawaitable(answer) else answer})
        except RequestError as error:
            return web.json_response({"error": [str(error)]})
        except ValueError:
            return web.json_response({"error": ["EGeneral:Invalid arguments"]})

    return handle


def _write_price(price_ticks: int, market: Market) -> str:
    return f"{price_ticks / market.ticks_per_unit:.{market.precision.price_decimals}f}"


def _describe_market(market: Market) -> dict[str, object]:
    base, quote = (_ALTNAMES.get(asset, asset) for asset in (market.base, market.quote))
    return {
        "altname": base + quote,
        "wsname": f"{base}/{quote}",
        "aclass_base": "currency",
        "base": market.base,
        "aclass_quote": "currency",
        "quote": market.quote,
        "lot": "unit",
        "cost_decimals": 5,
        "pair_decimals": market.precision.price_decimals,
        "lot_decimals": market.precision.amount_decimals,
        "lot_multiplier": 1,
        "leverage_buy": [],
        "leverage_sell": [],
        "fees": _TAKER_FEES,
        "fees_maker": _MAKER_FEES,
        "fee_volume_currency": "ZUSD",
        "margin_call": 80,
        "margin_stop": 40,
        "ordermin": "0.0001",
        "costmin": "0.5",
        "tick_size": f"{1 / market.ticks_per_unit:g}",
        "status": "online",
    }


def _describe_ticker(instrument: Instrument) -> dict[str, object]:
    market, ticker = instrument.market, instrument.read_ticker(now_ns())
    volume = f"{ticker.volume_e8 / AMOUNT_SCALE:.8f}"
    price = {
        name: _write_price(ticks, market)
        for name, ticks in {
            "ask": ticker.ask_ticks,
            "bid": ticker.bid_ticks,
            "last": ticker.last_ticks,
            "low": ticker.low_ticks,
            "high": ticker.high_ticks,
            "open": ticker.open_ticks,
            "vwap": round(ticker.vwap_ticks),
        }.items()
    }
    return {
        "a": [price["ask"], "1", f"{ticker.ask_amount_e8 / AMOUNT_SCALE:.3f}"],
        "b": [price["bid"], "1", f"{ticker.bid_amount_e8 / AMOUNT_SCALE:.3f}"],
        "c": [price["last"], f"{ticker.bid_amount_e8 / AMOUNT_SCALE:.8f}"],
        "v": [volume, volume],
        "p": [price["vwap"], price["vwap"]],
        "t": [ticker.trade_count, ticker.trade_count],
        "l": [price["low"], price["low"]],
        "h": [price["high"], price["high"]],
        "o": price["open"],
    }


def _describe_levels(levels: Sequence[Level], market: Market, time_s: int) -> list[list[object]]:
    return [
        [_write_price(level.price_ticks, market), f"{level.amount_e8 / AMOUNT_SCALE:.8f}", time_s] for level in levels
    ]


def _describe_trade(trade: Trade, market: Market) -> list[object]:
    return [
        _write_price(trade.price_ticks, market),
        f"{trade.amount_e8 / AMOUNT_SCALE:.8f}",
        trade.time_ns / NS_PER_S,
        "s" if trade.is_sell else "b",
        "l",
        "",
        trade.trade_id,
    ]


def _describe_candle(candle: Candle, market: Market, interval_s: int) -> list[object]:
    prices = [
        _write_price(price, market)
        for price in (candle.open, candle.high, candle.low, candle.close, (candle.high + candle.low) // 2)
    ]
    return [candle.open_time_s, *prices, f"{candle.volume_e8 / AMOUNT_SCALE:.8f}", interval_s // 2]
