"""Order books of Binance's family: every depth frame that ccxt applies is a row.

ccxt resolves a book once when it unrolls the frames that were cached until the REST snapshot came; the states between
would be lost. So the rows are taken where a frame is applied. A book whose sequence breaks is taken from a new snapshot
on the same subscription: ccxt's own way, subscribing again, would start every book of the subscription anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from tickloom_collector.backoff import Backoff
from tickloom_collector.feeds.feed import FeedContext
from tickloom_collector.feeds.taps import Client, Clock, Record, Sink
from tickloom_core.events import RESYNC, Event
from tickloom_venues.errors import classify
from tickloom_venues.opening import Exchange

_HASH: Final = "orderbook::"
_RECEIVE_NS: Final = "tickloom_receive_ns"


def is_binance(exchange: Exchange) -> bool:
    """Return whether an exchange is of the family: its depth handlers are ccxt's Binance ones."""
    return any(cls.__name__ == "binance" for cls in type(exchange).__mro__)


class BinanceBooks:
    """Taps the depth handlers of one exchange object, before its first connection."""

    def __init__(self, exchange: Exchange, context: FeedContext, clock: Clock, sink: Sink) -> None:
        self._exchange = exchange
        self._context = context
        self._subscriptions: dict[str, tuple[Client, Record]] = {}
        self._backoffs: dict[str, Backoff] = {}
        self._subscribe = exchange.handle_order_book_subscription
        exchange.handle_order_book_subscription = self._note_subscription
        exchange.handle_order_book = _stamp(exchange.handle_order_book, clock)
        exchange.handle_order_book_message = self._tap(exchange.handle_order_book_message, sink)

    def recover(self, client: Client, error: Exception, message_hash: str | None) -> bool:
        """Take a new snapshot of the book that ccxt has just given up; return False when it is none of ours."""
        if message_hash is None or not message_hash.startswith(_HASH):
            return False
        symbol = message_hash.removeprefix(_HASH)
        known = self._subscriptions.get(symbol)
        if known is None or known[0] is not client or client.closed():
            return False
        subscription = known[1]
        reason = classify(error, venue=self._context.exchange, exchange=self._exchange)
        backoff = self._backoffs.setdefault(
            symbol, Backoff(self._context.limits.backoff_base_s, self._context.limits.backoff_max_s)
        )
        delay_s = backoff.next_s(getattr(reason, "retry_after_s", None))
        self._context.events.record(
            Event(RESYNC, self._context.exchange, f"a new snapshot is taken: {reason}", symbol=symbol, channel="books")
        )
        # ccxt has forgotten the subscription, which the venue still serves.
        client.subscriptions[message_hash] = subscription
        asyncio.get_running_loop().call_later(delay_s, self._take_snapshot, client, symbol, subscription)
        return True

    def _take_snapshot(self, client: Client, symbol: str, subscription: Record) -> None:
        known = self._subscriptions.get(symbol)
        if known is not None and known[0] is client and not client.closed():
            self._subscribe(client, {}, {**subscription, "symbols": [symbol]})

    def _note_subscription(self, client: Client, message: object, subscription: Record) -> None:
        for symbol in subscription["symbols"]:
            self._subscriptions[symbol] = (client, subscription)
        self._subscribe(client, message, subscription)

    def _tap(self, apply: Callable[..., Any], sink: Sink) -> Callable[..., Any]:
        def apply_and_tap(client: Client, message: Record, orderbook: Any) -> Any:  # noqa: ANN401 - as ccxt
            book = apply(client, message, orderbook)
            sink(book, message[_RECEIVE_NS])
            if self._backoffs:
                self._backoffs.pop(book["symbol"], None)
            return book

        return apply_and_tap


def _stamp(handle: Callable[[Client, Record], None], clock: Clock) -> Callable[[Client, Record], None]:
    def handle_stamped(client: Client, message: Record) -> None:
        # A frame that waits for the snapshot keeps the time at which it came.
        message[_RECEIVE_NS] = clock.receive_ns
        handle(client, message)

    return handle_stamped
