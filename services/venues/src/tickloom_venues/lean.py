"""ccxt's parsing without what nobody reads: about half the time a trade, the same values.

ccxt gives every trade a cost (in decimal arithmetic), fees, an ISO date; every ticker a change, an average and whatever
else follows from the rest. `lean_parsing` replaces the steps that do so by ones that leave these fields out, on one
exchange *object*; ccxt's classes stay as they are. What remains equal, value for value, to unmodified ccxt:

- trades: id, timestamp, symbol, side, price, amount, info;
- tickers: symbol, timestamp, last, bid, bidVolume, ask, askVolume, open, high, low, vwap, baseVolume, quoteVolume,
  percentage, info.

All other fields may be missing, None, or text. REST requests are untouched: signing needs `iso8601`, which is therefore
replaced only for as long as a frame is being handled, and nothing is signed in between since frames are handled
synchronously. A venue that overrides one of these steps keeps its own.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import ccxt.pro
from ccxt.base.precise import Precise

from tickloom_venues import lean_binance

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tickloom_venues.opening import Exchange

Json: TypeAlias = Any
"""What a venue sent, decoded, or one of ccxt's structures: anything may be in it."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_SECONDS_LENGTH: Final = len("2026-11-21T04:45:00Z")


def lean_parsing(exchange: Exchange) -> None:
    """Make an exchange parse frames faster, see the module; call it before the first connection, once.

    An exchange whose numbers are not floats is left alone.
    """
    if exchange.number is not float:
        return
    for name, step in _EQUAL_STEPS.items():
        _replace(exchange, name, step)
    _replace(exchange, "safe_trade", _safe_trade)
    _replace(exchange, "safe_ticker", _safe_ticker_of(exchange))
    _replace(exchange, "parse_trades_helper", _parse_trades_helper_of(exchange))
    if isinstance(exchange, ccxt.pro.binance):
        exchange.parse_ws_trade = lean_binance.parse_trades(exchange)
        exchange.handle_message = lean_binance.dispatch_trades(exchange)
    exchange.handle_message = _without_dates(exchange)


def _replace(exchange: Exchange, name: str, step: Callable[..., Json]) -> None:
    """Set a step on the instance, unless the venue's own classes have changed it."""
    original = getattr(ccxt.pro.Exchange, name)
    found = getattr(type(exchange), name)
    if found is original:
        setattr(exchange, name, step)


# ccxt's accessors. Same results, but a key that is missing from a dict costs no exception. ccxt's never raise, whatever
# they are given, and neither do these.


def _safe_value(container: Json, key: Json, default: Json = None) -> Json:
    try:
        value = container.get(key) if type(container) is dict else container[key]
    except Exception:  # noqa: BLE001 (see above)
        return default
    return default if value is None or (type(value) is str and not value) else value


def _safe_string(container: Json, key: Json, default: Json = None) -> Json:
    try:
        value = container.get(key) if type(container) is dict else container[key]
    except Exception:  # noqa: BLE001 (see above)
        return default
    kind = type(value)
    if kind is str:
        return value or default
    return str(value) if kind is float or kind is int else default


def _safe_string_2(container: Json, key: Json, other_key: Json, default: Json = None) -> Json:
    value = _safe_string(container, key)
    return _safe_string(container, other_key, default) if value is None else value


def _safe_dict(container: Json, key: Json, default: Json = None) -> Json:
    try:
        value = container.get(key) if type(container) is dict else container[key]
    except Exception:  # noqa: BLE001 (see above)
        return default
    return value if isinstance(value, dict) else default


def _safe_list(container: Json, key: Json, default: Json = None) -> Json:
    try:
        value = container.get(key) if type(container) is dict else container[key]
    except Exception:  # noqa: BLE001 (see above)
        return default
    return value if isinstance(value, list) else default


def _parse8601(text: Json = None) -> Json:
    """Return milliseconds since 1970 for `2026-11-21T04:45:00.123456789Z`; any other form is left to ccxt."""
    if type(text) is str and len(text) >= _SECONDS_LENGTH and text[10] == "T" and text[-1] == "Z" and text[19] in ".Z":
        try:
            return (datetime.fromisoformat(text) - _EPOCH) // _MILLISECOND
        except ValueError:
            pass
    return ccxt.pro.Exchange.parse8601(text)


_EQUAL_STEPS: Final[Mapping[str, Callable[..., Json]]] = {
    "safe_value": _safe_value,
    "safe_string": _safe_string,
    "safe_string_2": _safe_string_2,
    "safe_dict": _safe_dict,
    "safe_list": _safe_list,
    "parse8601": _parse8601,
}
"""Steps whose results do not differ from ccxt's at all."""


def _number(value: Json) -> float | None:
    """Do what `parse_number(safe_string(…))` does."""
    kind = type(value)
    if kind is str or kind is float or kind is int:
        try:
            return float(value)
        except ValueError:
            return None
    return None


def _text(value: Json) -> Json:
    """Do what `omit_zero(safe_string(…))` does."""
    kind = type(value)
    if kind is not str:
        if kind is not float and kind is not int:
            return None
        value = str(value)
    try:
        return None if value == "" or float(value) == 0 else value
    except ValueError:
        return value


def _safe_trade(trade: Json, market: Json = None) -> Json:  # noqa: ARG001 (ccxt's signature)
    """Make price and amount numbers; no cost and no fees."""
    trade["price"] = _number(trade.get("price"))
    trade["amount"] = _number(trade.get("amount"))
    return trade


def _safe_ticker_of(exchange: Exchange) -> Callable[..., Json]:
    full = exchange.safe_ticker

    def safe_ticker(ticker: Json, market: Json = None) -> Json:
        """Derive what a ticker of ours has and no more, by the same decimal steps; odd tickers are left to ccxt."""
        opened = _text(ticker.get("open"))
        close = _text(_safe_string_2(ticker, "close", "last"))
        change = _safe_string(ticker, "change")
        if close is None or (opened is None and change is None):
            return full(ticker, market)
        percentage = _text(ticker.get("percentage"))
        vwap = _safe_string(ticker, "vwap")
        if opened is None:
            opened = Precise.string_sub(close, change)
        if percentage is None:
            moved = Precise.string_sub(close, opened) if change is None else change
            percentage = Precise.string_mul(Precise.string_div(moved, opened), "100")
        if vwap is None:
            vwap = Precise.string_div(_text(ticker.get("quoteVolume")), _safe_string(ticker, "baseVolume"))
        last = _number(close)
        return {
            **ticker,
            "bid": _number(_text(ticker.get("bid"))),
            "bidVolume": _number(ticker.get("bidVolume")),
            "ask": _number(_text(ticker.get("ask"))),
            "askVolume": _number(ticker.get("askVolume")),
            "high": _number(_text(ticker.get("high"))),
            "low": _number(_text(ticker.get("low"))),
            "open": _number(_text(opened)),
            "close": last,
            "last": last,
            "percentage": _number(percentage),
            "vwap": _number(vwap),
            "baseVolume": _number(ticker.get("baseVolume")),
            "quoteVolume": _number(ticker.get("quoteVolume")),
        }

    return safe_ticker


def _parse_trades_helper_of(exchange: Exchange) -> Callable[..., Json]:
    full = exchange.parse_trades_helper

    def parse_trades_helper(
        is_ws: bool,  # noqa: FBT001 (ccxt's signature)
        trades: Json,
        market: Json = None,
        since: Json = None,
        limit: Json = None,
        params: Json = None,
    ) -> Json:
        """Parse the one trade of a frame without sorting and filtering it; anything else is left to ccxt."""
        if type(trades) is not list or len(trades) != 1 or since is not None or limit is not None or params:
            return full(is_ws, trades, market, since, limit, params or {})
        trade = exchange.parse_ws_trade(trades[0], market) if is_ws else exchange.parse_trade(trades[0], market)
        return [trade] if market is None or trade["symbol"] == market["symbol"] else []

    return parse_trades_helper


def _no_date(timestamp: Json = None) -> None:
    """Stand in for `iso8601` while a frame is handled."""


def _without_dates(exchange: Exchange) -> Callable[[Json, Json], None]:
    handle = exchange.handle_message

    def handle_message(client: Json, message: Json) -> None:
        exchange.iso8601 = _no_date
        try:
            handle(client, message)
        finally:
            del exchange.iso8601

    return handle_message
