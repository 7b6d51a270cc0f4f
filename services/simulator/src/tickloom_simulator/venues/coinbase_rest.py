"""Coinbase over REST: the public paths of the brokerage API and of version 2.

Formats: https://docs.cdp.coinbase.com/api-reference/advanced-trade-api/rest-api/public/list-public-products
"""

from __future__ import annotations

from inspect import isawaitable
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tickloom_simulator.clock import NS_PER_MS, NS_PER_S, format_us, now_ns
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

_GRANULARITIES_S = {
    "ONE_MINUTE": 60,
    "FIVE_MINUTE": 300,
    "FIFTEEN_MINUTE": 900,
    "THIRTY_MINUTE": 1800,
    "ONE_HOUR": 3600,
    "TWO_HOUR": 7200,
    "FOUR_HOUR": 14_400,
    "SIX_HOUR": 21_600,
    "ONE_DAY": 86_400,
}
# All off for a product in normal trade.
_PRODUCT_SWITCHES = (
    "watched",
    "is_disabled",
    "new",
    "cancel_only",
    "limit_only",
    "post_only",
    "trading_disabled",
    "auction_mode",
    "view_only",
)
_MAX_CANDLES = 350
_MAX_TRADES = 1000
_PRODUCTS = "/api/v3/brokerage/market/products"


class CoinbaseRest:
    """The public REST paths of Coinbase."""

    def __init__(self, listing: Listing) -> None:
        self._listing = listing

    def add_routes(self, app: web.Application) -> None:
        """Add the paths to a server."""
        routes: dict[str, _Read] = {
            "/v2/time": self._read_time_v2,
            "/v2/currencies": self._read_fiat,
            "/v2/currencies/crypto": self._read_crypto,
            "/v2/exchange-rates": self._read_rates,
            "/api/v3/brokerage/time": self._read_time,
            "/api/v3/brokerage/market/product_book": self._read_book,
            _PRODUCTS: self._read_products,
            f"{_PRODUCTS}/{{product_id}}": self._read_product,
            f"{_PRODUCTS}/{{product_id}}/candles": self._read_candles,
            f"{_PRODUCTS}/{{product_id}}/ticker": self._read_trades,
        }
        for path, handler in routes.items():
            app.router.add_get(path, _answer(handler))

    def _read_time_v2(self, request: web.Request) -> dict[str, Any]:  # noqa: ARG002  # a handler's signature
        time_ns = now_ns()
        return {"data": {"iso": format_us(time_ns), "epoch": time_ns // NS_PER_S}}

    def _read_time(self, request: web.Request) -> dict[str, Any]:  # noqa: ARG002  # a handler's signature
        time_ns = now_ns()
        return {
            "iso": format_us(time_ns),
            "epochSeconds": str(time_ns // NS_PER_S),
            "epochMillis": str(time_ns // NS_PER_MS),
        }

    def _read_fiat(self, request: web.Request) -> dict[str, Any]:  # noqa: ARG002  # a handler's signature
        return {"data": [{"id": "USD", "name": "United States Dollar", "min_size": "0.01"}]}

    def _read_crypto(self, request: web.Request) -> dict[str, Any]:  # noqa: ARG002  # a handler's signature
        coins = [market.base for market in self._listing.markets]
        return {
            "data": [
                {
                    "asset_id": f"00000000-0000-0000-0000-{number:012d}",
                    "code": coin,
                    "name": coin.capitalize(),
                    "color": "#0433FF",
                    "sort_index": number,
                    "exponent": 8,
                    "type": "crypto",
                    "address_regex": "^.*$",
                }
                for number, coin in enumerate(coins)
            ]
        }

    def _read_rates(self, request: web.Request) -> dict[str, Any]:
        rates = {market.base: f"{1 / market.start_price:.12f}" for market in self._listing.markets}
        return {"data": {"currency": request.query.get("currency", "USD"), "rates": {"USD": "1.0", **rates}}}

    def _read_products(self, request: web.Request) -> dict[str, Any]:
        wanted = request.query.getall("product_ids", [])
        instruments = [self._find(product_id) for product_id in wanted] or self._listing.instruments()
        if request.query.get("product_type", "SPOT") != "SPOT":
            instruments = []
        products = [_describe_product(instrument) for instrument in instruments]
        return {"products": products, "num_products": len(products)}

    def _read_product(self, request: web.Request) -> dict[str, Any]:
        return _describe_product(self._find(request.match_info["product_id"]))

    def _read_book(self, request: web.Request) -> dict[str, Any]:
        instrument = self._find(request.query.get("product_id", ""))
        book, market = instrument.book, instrument.market
        depth = int(request.query.get("limit", "100"))
        pricebook = {
            "product_id": market.market_id,
            "bids": _describe_levels(book.bids.read(depth), market),
            "asks": _describe_levels(book.asks.read(depth), market),
            "time": format_us(now_ns()),
        }
        return {"pricebook": pricebook}

    async def _read_candles(self, request: web.Request) -> dict[str, Any]:
        """Serve candles newest first, at most 350, as the venue does."""
        instrument = self._find(request.match_info["product_id"])
        granularity_s = _GRANULARITIES_S.get(request.query.get("granularity", ""))
        if granularity_s is None:
            raise RequestError("granularity argument is invalid")
        start_s, end_s = int(request.query["start"]), int(request.query["end"])
        first_s = -(-start_s // granularity_s) * granularity_s
        times_s = range(first_s, min(end_s, now_ns() // NS_PER_S) + 1, granularity_s)
        if len(times_s) > _MAX_CANDLES:
            raise RequestError(f"number of candles requested should be less than {_MAX_CANDLES}")
        candles = await instrument.candles.read_all(times_s, granularity_s)
        return {"candles": [_describe_candle(candle, instrument.market) for candle in reversed(candles)]}

    def _read_trades(self, request: web.Request) -> dict[str, Any]:
        """Serve trades newest first, between `start` and `end` when they are given."""
        instrument = self._find(request.match_info["product_id"])
        market, time_ns = instrument.market, now_ns()
        limit = min(_MAX_TRADES, max(1, int(request.query.get("limit", "100"))))
        start_ns = int(request.query.get("start", "0")) * NS_PER_S
        end_ns = int(request.query.get("end", str(time_ns // NS_PER_S + 1))) * NS_PER_S
        trades = [trade for trade in instrument.tape.read_all(time_ns) if start_ns <= trade.time_ns <= end_ns]
        return {
            "trades": [_describe_trade(trade, market) for trade in reversed(trades[-limit:])],
            "best_bid": write_price(instrument.tape.price_ticks - 1, market),
            "best_ask": write_price(instrument.tape.price_ticks + 1, market),
        }

    def _find(self, product_id: str) -> Instrument:
        instrument = self._listing.find_id(product_id)
        if instrument is None:
            raise web.HTTPNotFound(
                text='{"error":"NOT_FOUND","error_details":"valid product_id is required",'
                '"message":"valid product_id is required"}',
                content_type="application/json",
            )
        return instrument


def write_not_found(request: web.Request) -> web.Response:
    """Answer a path that the venue does not have, in the format of its API version."""
    if request.path.startswith("/v2/"):
        return web.json_response({"errors": [{"id": "not_found", "message": "Not found"}]}, status=404)
    return web.json_response({"error": "NOT_FOUND", "error_details": "", "message": "Not Found"}, status=404)


def write_rate_limit(fault: RateLimit) -> web.Response:
    """Answer a request that came too early."""
    body = {"errors": [{"id": "rate_limit_exceeded", "message": "Too many requests"}]}
    return web.json_response(body, status=fault.status, headers={"Retry-After": f"{fault.retry_after_s:g}"})


def write_price(price_ticks: int, market: Market) -> str:
    """Write a price with the market's decimals."""
    return f"{price_ticks / market.ticks_per_unit:.{market.precision.price_decimals}f}"


def _answer(read: _Read) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        try:
            answer = read(request)
            return web.json_response(await answer if isawaitable(answer) else answer)
        except (RequestError, KeyError, ValueError) as error:
            body = {"error": "INVALID_ARGUMENT", "error_details": str(error), "message": str(error)}
            return web.json_response(body, status=400)

    return handle


def _describe_product(instrument: Instrument) -> dict[str, Any]:
    market, ticker = instrument.market, instrument.read_ticker(now_ns())
    change = ticker.last_ticks - ticker.open_ticks
    volume = ticker.volume_e8 / AMOUNT_SCALE
    increment = f"{1 / market.ticks_per_unit:.{market.precision.price_decimals}f}"
    return {
        "product_id": market.market_id,
        "price": write_price(ticker.last_ticks, market),
        "price_percentage_change_24h": f"{100 * change / ticker.open_ticks:.14f}",
        "volume_24h": f"{volume:.8f}",
        "volume_percentage_change_24h": "0",
        "base_increment": "0.00000001",
        "quote_increment": increment,
        "quote_min_size": "1",
        "quote_max_size": "150000000",
        "base_min_size": "0.00000001",
        "base_max_size": "3400",
        **dict.fromkeys(_PRODUCT_SWITCHES, False),
        "base_name": market.base.capitalize(),
        "quote_name": "US Dollar",
        "status": "online",
        "product_type": "SPOT",
        "quote_currency_id": market.quote,
        "base_currency_id": market.base,
        "fcm_trading_session_details": None,
        "mid_market_price": "",
        "alias": "",
        "alias_to": [],
        "base_display_symbol": market.base,
        "quote_display_symbol": market.quote,
        "price_increment": increment,
        "display_name": market.market_id,
        "product_venue": "CBE",
        "approximate_quote_24h_volume": f"{volume * ticker.vwap_ticks / market.ticks_per_unit:.2f}",
    }


def _describe_levels(levels: Sequence[Level], market: Market) -> list[dict[str, str]]:
    return [
        {"price": write_price(level.price_ticks, market), "size": f"{level.amount_e8 / AMOUNT_SCALE:.8f}"}
        for level in levels
    ]


def _describe_candle(candle: Candle, market: Market) -> dict[str, str]:
    return {
        "start": str(candle.open_time_s),
        "low": write_price(candle.low, market),
        "high": write_price(candle.high, market),
        "open": write_price(candle.open, market),
        "close": write_price(candle.close, market),
        "volume": f"{candle.volume_e8 / AMOUNT_SCALE:.8f}",
    }


def _describe_trade(trade: Trade, market: Market) -> dict[str, str]:
    return {
        "trade_id": str(trade.trade_id),
        "product_id": market.market_id,
        "price": write_price(trade.price_ticks, market),
        "size": f"{trade.amount_e8 / AMOUNT_SCALE:.8f}",
        "time": format_us(trade.time_ns),
        "side": "SELL" if trade.is_sell else "BUY",
        "bid": "",
        "ask": "",
        "exchange": "coinbase",
    }
