"""The feeds of one venue, made when they are first needed, around one exchange object."""

from __future__ import annotations

from tickloom_collector.feeds.ccxt_feed import CcxtFeed
from tickloom_collector.feeds.feed import Feed, FeedContext
from tickloom_collector.feeds.native_binance import NativeBinanceFeed
from tickloom_collector.feeds.selection import select_feed
from tickloom_collector.feeds.venue import Venue


class VenueFeeds:
    """Finds the feed of each channel of one venue.

    Raises:
        UnknownVenueError: ccxt has no such venue.
        InvalidEndpointError: the configured endpoint is not scheme://host:port.
        ConfigError: a key of the venue cannot be read.
    """

    def __init__(self, context: FeedContext) -> None:
        self._context = context
        self._venue = Venue(context)
        self._feeds: dict[str, Feed] = {}

    def find(self, channel: str) -> Feed:
        """Return the feed that carries a channel."""
        kind = select_feed(self._context.exchange, channel, self._context.venue)
        if kind not in self._feeds:
            make = NativeBinanceFeed if kind == "native" else CcxtFeed
            self._feeds[kind] = make(self._context, self._venue)
        return self._feeds[kind]

    async def close(self, deadline_s: float) -> None:
        """End all feeds and the exchange object; the shards' tasks have been cancelled before."""
        for feed in self._feeds.values():
            await feed.close(deadline_s)
        await self._venue.close(deadline_s)
