"""The feed for any venue of ccxt.pro: ccxt subscribes, parses and keeps books; rows are tapped below its methods."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from functools import partial

from ccxt import ChecksumError

from tickloom_collector.feeds.binance_books import BinanceBooks, is_binance
from tickloom_collector.feeds.feed import FeedContext
from tickloom_collector.feeds.keeper import Keeper, SubscribeGate
from tickloom_collector.feeds.links import LinkLog
from tickloom_collector.feeds.rows import BookWriter, TickerWriter, TradeWriter
from tickloom_collector.feeds.taps import Client, ClientTaps, Clock, TickersTap, TradesTap, sort_by_arrival
from tickloom_collector.feeds.venue import Venue
from tickloom_collector.metrics import find_traffic
from tickloom_core.events import RESYNC, Event
from tickloom_core.plan import Shard
from tickloom_venues.errors import TerminalVenueError, classify

Watch = Callable[[], Awaitable[object]]


class CcxtFeed:
    """Carries any channel of one venue through one exchange object of ccxt.pro."""

    def __init__(self, context: FeedContext, venue: Venue) -> None:
        self._context = context
        self._venue = venue
        self._gate = SubscribeGate(context.limits)
        self._keepers: dict[str, list[Keeper]] = {}
        self._links = LinkLog(context, "ccxt")
        self._trades = TradeWriter(context)
        self._tickers = TickerWriter(context)
        self._books = BookWriter(context)
        self._binance_books: BinanceBooks | None = None
        self._tap()

    def _tap(self) -> None:
        exchange, clock = self._venue.exchange, Clock()
        exchange.sort_by_2 = sort_by_arrival
        exchange.trades = TradesTap(self._trades.write, clock)
        exchange.tickers = TickersTap(self._tickers.write, clock)
        if exchange.id == "coinbase":
            exchange.handle_trade = self._trades.mark_snapshots(exchange.handle_trade)
        traffic = find_traffic(self._context.exchange, "ccxt")
        if is_binance(exchange):
            self._binance_books = BinanceBooks(exchange, self._context, clock, self._books.write)
            ClientTaps(exchange, clock, None, self, traffic=traffic)
        else:
            ClientTaps(exchange, clock, self._books.write, self, traffic=traffic)

    # ------------------------------------------------------------------ the feed's protocol

    async def carry(self, shard: Shard) -> None:
        """Deliver the shard's rows until cancelled.

        Raises:
            TerminalVenueError: the venue has no such channel or refuses.
        """
        symbols = await self._venue.select(shard.symbols, channel=shard.channel)
        if not symbols:
            raise TerminalVenueError(
                f"{shard.exchange} lists none of the symbols of {shard.id}; correct the configuration",
                venue=shard.exchange,
            )
        keepers = [self._make_keeper(watch) for watch in self._make_watches(shard, symbols)]
        self._keepers[shard.id] = keepers
        self._add(shard, symbols)
        try:
            async with asyncio.TaskGroup() as group:
                for keeper in keepers:
                    group.create_task(keeper.run())
        except* TerminalVenueError as refusals:
            raise refusals.exceptions[0] from refusals
        finally:
            self._remove(shard, symbols)
            del self._keepers[shard.id]

    def is_carrying(self, shard_id: str) -> bool:
        """Return whether everything of the shard has been subscribed."""
        keepers = self._keepers.get(shard_id, [])
        return bool(keepers) and all(keeper.is_subscribed for keeper in keepers)

    async def close(self, deadline_s: float) -> None:
        """Say that the connections end, and write what is still being counted; the exchange object is the venue's."""
        self._links.note_end()
        del deadline_s
        self._trades.flush()

    # ------------------------------------------------------------------ subscriptions

    def _make_keeper(self, watch: Watch) -> Keeper:
        exchange, name = self._venue.exchange, self._context.exchange
        return Keeper(watch, partial(classify, venue=name, exchange=exchange), self._gate, self._context.limits)

    def _make_watches(self, shard: Shard, symbols: list[str]) -> Iterator[Watch]:
        capabilities, exchange = self._venue.capabilities, self._venue.exchange
        mode = {"trades": capabilities.trades, "tickers": capabilities.tickers, "books": capabilities.books}[
            shard.channel
        ]
        if mode == "unsupported":
            raise TerminalVenueError(f"{shard.exchange} has no websocket for {shard.channel}", venue=shard.exchange)
        watch = getattr(exchange, mode)
        # Where any depth may be asked for, a small one would be cut from a book that ccxt keeps no larger.
        has_depths = shard.channel == "books" and capabilities.depths
        options = {"limit": capabilities.depth_for(shard.depth)} if has_depths else {}
        if mode in {"watch_ticker", "watch_trades", "watch_order_book"}:
            yield from (partial(watch, symbol, **options) for symbol in symbols)
            return
        size = capabilities.symbols_per_call
        for start in range(0, len(symbols), size):
            yield partial(watch, symbols[start : start + size], **options)

    def _add(self, shard: Shard, symbols: list[str]) -> None:
        if shard.channel == "trades":
            self._trades.add(symbols)
        elif shard.channel == "tickers":
            self._tickers.add(symbols)
        else:
            self._books.add(symbols, depth=shard.depth)

    def _remove(self, shard: Shard, symbols: list[str]) -> None:
        if shard.channel == "trades":
            self._trades.remove(symbols)
        elif shard.channel == "tickers":
            self._tickers.remove(symbols)
        else:
            self._books.remove(symbols)

    # ------------------------------------------------------------------ what becomes of connections

    def on_connected(self, url: str) -> None:
        """Record that a websocket is open."""
        self._links.note_open(url)

    def on_lost(self, url: str, reason: str) -> None:
        """Record that a websocket is gone and wake the keepers; they find out whose it was."""
        self._links.note_lost(url, reason)
        self._disturb()

    def on_unreadable(self, url: str, error: Exception) -> None:
        """Record a frame that could not be handled."""
        self._links.note_unreadable(url, error)

    def on_rejected(self, client: Client, error: Exception, message_hash: str | None) -> bool:
        """Take a new snapshot of a book of Binance's; elsewhere wake the keepers, who subscribe again."""
        if self._binance_books is not None:
            return self._binance_books.recover(client, error, message_hash)
        if isinstance(error, ChecksumError):
            detail = f"{message_hash}: the book is subscribed again: {error}"
            self._context.events.record(Event(RESYNC, self._context.exchange, detail, channel="books"))
            self._disturb()
        return False

    def _disturb(self) -> None:
        for keepers in self._keepers.values():
            for keeper in keepers:
                keeper.disturb()
