"""Taps below ccxt's `watch_*()` methods, whose results lose data.

What `watch_trades` returns lacks everything beyond `tradesLimit` between two awaits, `watch_trades_for_symbols` returns
the winner of a race only, and `watch_order_book` hands out its live, conflated object. ccxt's handlers, however, store
every trade and every ticker in `exchange.trades` and `exchange.tickers`, and resolve every state of a book: there each
row is taken, at once and exactly once. The caches themselves are kept at one entry: nobody reads them.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from ccxt.async_support.base.ws.order_book import OrderBook

from tickloom_collector.metrics import Traffic
from tickloom_venues.opening import Exchange

Record = dict[str, Any]
Sink = Callable[[Record, int], None]
"""Takes a record of ccxt and the receive time of its frame in ns."""

Client = Any
"""ccxt's websocket client."""


class Clock:
    """The receive time of the frame that is being handled.

    Attributes:
        receive_ns: wall time, ns; 0 while no frame is being handled.
    """

    __slots__ = ("receive_ns",)

    def __init__(self) -> None:
        self.receive_ns = 0


class TradesTap(dict[str, Any]):
    """Takes the place of `exchange.trades`: every trade appended to one of the caches in it goes to the sink."""

    def __init__(self, sink: Sink, clock: Clock) -> None:
        super().__init__()
        self._sink = sink
        self._clock = clock

    def __setitem__(self, key: str, cache: Any) -> None:  # noqa: ANN401 - one of ccxt's ArrayCaches
        if self.get(key) is cache:
            return
        super().__setitem__(key, cache)
        sink, clock = self._sink, self._clock
        # Some venues append before they store (Binance): these came in the frame that is being handled.
        for trade in list(cache):
            sink(trade, clock.receive_ns)
        # A watcher that is woken looks at the newest entry, and at nothing else of the cache.
        newest = cache._deque = deque(cache, maxlen=1)  # noqa: SLF001 - ccxt has no public way to see an append
        remember = newest.append

        def append(trade: Record) -> None:
            sink(trade, clock.receive_ns)
            remember(trade)

        cache.append = append


class TickersTap(dict[str, Any]):
    """Takes the place of `exchange.tickers`: every ticker stored goes to the sink."""

    def __init__(self, sink: Sink, clock: Clock) -> None:
        super().__init__()
        self._sink = sink
        self._clock = clock

    def __setitem__(self, symbol: str, ticker: Record) -> None:
        super().__setitem__(symbol, ticker)
        self._sink(ticker, self._clock.receive_ns)


def sort_by_arrival(rows: Iterable[Record], key1: str, key2: str, descending: bool = False) -> list[Record]:  # noqa: FBT001, FBT002 - ccxt's signature
    """Take the place of `exchange.sort_by_2`, by which ccxt puts the trades of one frame in order of time and id.

    ccxt compares ids as text, so that of two trades of the same ms number 10 comes before number 9. Here numbers are
    compared as numbers, and what is no number stays in the order in which it came.
    """

    def find_place(row: Record) -> tuple[Any, int]:
        second = row[key2]
        is_number = isinstance(second, str) and second.isdecimal()
        return row[key1] or 0, int(second) if is_number else 0

    return sorted(rows, key=find_place, reverse=descending)


class ConnectionListener(Protocol):
    """Who wants to know what becomes of connections."""

    def on_connected(self, url: str) -> None:
        """A websocket is open."""

    def on_lost(self, url: str, reason: str) -> None:
        """A websocket is gone, or could not be opened."""

    def on_unreadable(self, url: str, error: Exception) -> None:
        """A frame could not be handled."""

    def on_rejected(self, client: Client, error: Exception, message_hash: str | None) -> bool:
        """Ccxt gives up a subscription; return whether this was taken care of."""


class ClientTaps:
    """Wraps the callbacks of an exchange and of each websocket client that it makes.

    Args:
        exchange: before its first connection.
        book_sink: takes each state of a book; None leaves books alone.
        listener: hears of connections.
        traffic: counts frames.
    """

    def __init__(
        self,
        exchange: Exchange,
        clock: Clock,
        book_sink: Sink | None,
        listener: ConnectionListener,
        *,
        traffic: Traffic,
    ) -> None:
        self._clock = clock
        self._book_sink = book_sink
        self._listener = listener
        self._traffic = traffic
        self._make_client = exchange.client
        exchange.client = self._find_client
        exchange.on_connected = self._wrap_connected(exchange.on_connected)
        exchange.on_error = self._wrap_lost(exchange.on_error)
        exchange.on_close = self._wrap_lost(exchange.on_close)

    def _find_client(self, url: str) -> Client:
        client = self._make_client(url)
        if not hasattr(client, "tickloom_tapped"):
            client.tickloom_tapped = True
            client.handle_message = self._wrap_frames(client)
            client.reject = self._wrap_reject(client)
            if self._book_sink is not None:
                client.resolve = self._wrap_resolve(client, self._book_sink)
        return client

    def _wrap_frames(self, client: Client) -> Callable[[Any], None]:
        handle, clock, traffic = client.handle_message, self._clock, self._traffic
        time_ns, listener = time.time_ns, self._listener

        def handle_message(message: Any) -> None:  # noqa: ANN401 - aiohttp's WSMessage
            clock.receive_ns = time_ns()
            data = message.data
            traffic.frames += 1
            if isinstance(data, (str, bytes)):
                traffic.size_bytes += len(data)
            try:
                handle(message)
            except Exception as error:  # noqa: BLE001 - one bad frame would end ccxt's receive loop without a word
                listener.on_unreadable(client.url, error)
            clock.receive_ns = 0

        return handle_message

    def _wrap_resolve(self, client: Client, sink: Sink) -> Callable[[Any, str], Any]:
        resolve, clock = client.resolve, self._clock
        hash_of_book: dict[str, str] = {}

        def resolve_and_tap(result: Any, message_hash: str) -> Any:  # noqa: ANN401 - anything that ccxt resolves
            # Some venues resolve a state under a second name (Coinbase's USDC aliases): the first name met counts.
            if (
                isinstance(result, OrderBook)
                and hash_of_book.setdefault(result["symbol"], message_hash) == message_hash
            ):
                sink(result, clock.receive_ns or time.time_ns())
            return resolve(result, message_hash)

        return resolve_and_tap

    def _wrap_reject(self, client: Client) -> Callable[..., Any]:
        reject, listener = client.reject, self._listener

        def reject_unless_cared_for(error: Exception, message_hash: str | None = None) -> Any:  # noqa: ANN401 - as ccxt
            if listener.on_rejected(client, error, message_hash):
                return error
            return reject(error, message_hash)

        return reject_unless_cared_for

    def _wrap_connected(self, on_connected: Callable[..., None]) -> Callable[..., None]:
        def note_connected(client: Client, message: Any = None) -> None:  # noqa: ANN401 - as ccxt
            on_connected(client, message)
            self._listener.on_connected(client.url)

        return note_connected

    def _wrap_lost(self, callback: Callable[..., None]) -> Callable[..., None]:
        def note_lost(client: Client, reason: Any) -> None:  # noqa: ANN401 - an error, or a closing code
            callback(client, reason)
            self._listener.on_lost(client.url, describe_loss(reason))

        return note_lost


def describe_loss(reason: object) -> str:
    """Return why a connection ended, in words."""
    if isinstance(reason, Exception):
        return f"{type(reason).__name__}: {reason}"
    return f"closed by the venue, code {reason}"
