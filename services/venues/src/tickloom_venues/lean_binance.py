"""The shortest way through ccxt for the busiest frames there are: public trades of Binance's family."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from tickloom_venues.lean import Json
    from tickloom_venues.opening import Exchange

_TRADE_EVENTS: Final = frozenset({"trade", "aggTrade"})


def dispatch_trades(exchange: Exchange) -> Callable[[Json, Json], None]:
    """Return a `handle_message` that recognises a trade at once; ccxt builds a table of 36 handlers for each frame.

    Takes frames of raw and of combined streams (https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams).
    """
    handle = exchange.handle_message

    def handle_message(client: Json, message: Json) -> None:
        if type(message) is dict:
            event = message.get("data", message) if "stream" in message else message
            if type(event) is dict and event.get("e") in _TRADE_EVENTS:
                exchange.handle_trade(client, event)
                return
        handle(client, message)

    return handle_message


def parse_trades(exchange: Exchange) -> Callable[[Json, Json], Json]:
    """Return a `parse_ws_trade` for the public trade and aggTrade events; anything else is left to ccxt."""
    parse = exchange.parse_ws_trade

    def parse_ws_trade(trade: Json, market: Json = None) -> Json:
        buyer_is_maker = trade.get("m")
        if (
            trade.get("e") not in _TRADE_EVENTS
            or market is None
            or market["option"] is True
            or type(buyer_is_maker) is not bool
            or "x" in trade
        ):
            return parse(trade, market)
        try:
            return {
                "info": trade,
                "timestamp": int(trade["T"]),
                "datetime": None,
                "symbol": market["symbol"],
                "id": str(trade["t"] if "t" in trade else trade["a"]),
                "order": None,
                "type": None,
                "side": "sell" if buyer_is_maker else "buy",
                "takerOrMaker": None,
                "price": float(trade["p"]),
                "amount": float(trade["q"]),
                "cost": None,
                "fee": None,
            }
        except (KeyError, TypeError, ValueError):
            return parse(trade, market)

    return parse_ws_trade
