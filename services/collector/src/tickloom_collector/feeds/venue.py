"""One venue as its feeds share it: ccxt's exchange object and the markets, loaded once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from tickloom_collector.backoff import Backoff
from tickloom_collector.feeds.feed import FeedContext
from tickloom_core.events import ERROR, EXCLUDED, Event
from tickloom_venues.capabilities import Capabilities, read_capabilities
from tickloom_venues.errors import TransientVenueError
from tickloom_venues.lean import lean_parsing
from tickloom_venues.markets import Market, load_markets
from tickloom_venues.opening import Exchange, close_venue, open_venue


class Venue:
    """The exchange object of one venue.

    Raises:
        UnknownVenueError: ccxt has no such venue.
        InvalidEndpointError: the configured endpoint is not scheme://host:port.
    """

    def __init__(self, context: FeedContext) -> None:
        self.context = context
        self.exchange: Exchange = open_venue(context.exchange, context.venue, agent=context.agent)
        lean_parsing(self.exchange)
        self.capabilities: Capabilities = read_capabilities(self.exchange)
        self._loading = asyncio.Lock()
        self._markets: dict[str, Market] | None = None

    async def load(self) -> dict[str, Market]:
        """Return the markets; asks the venue until it answers, once for all who wait.

        Raises:
            TerminalVenueError: the venue refuses.
        """
        async with self._loading:
            backoff = Backoff(self.context.limits.backoff_base_s, self.context.limits.backoff_max_s)
            while self._markets is None:
                try:
                    self._markets = await load_markets(self.exchange)
                except TransientVenueError as error:
                    if backoff.attempts == 0:
                        self.context.events.record(Event(ERROR, self.context.exchange, f"markets: {error}"))
                    await asyncio.sleep(backoff.next_s(error.retry_after_s))
            return self._markets

    async def select(self, symbols: Iterable[str], *, channel: str, spot_only: bool = False) -> list[str]:
        """Return those of the symbols that can be carried; the others are written down as excluded, with the reason."""
        markets = await self.load()
        carried = []
        for symbol in symbols:
            reason = self._find_obstacle(markets.get(symbol), symbol, spot_only=spot_only)
            if reason is None:
                carried.append(symbol)
                continue
            event = Event(EXCLUDED, self.context.exchange, reason, symbol=symbol, channel=channel)
            self.context.events.record(event)
        return carried

    def _find_obstacle(self, market: Market | None, symbol: str, *, spot_only: bool) -> str | None:
        if market is None:
            return f"{self.context.exchange} lists no market {symbol}"
        if spot_only and not market.spot:
            return f"{symbol} is no spot market, and this feed carries nothing else; write `feed: ccxt`"
        # Coinbase answers a subscription to BTC-USDC with rows of BTC-USD, its alias: they would be nobody's.
        alias = self.exchange.markets[symbol]["info"].get("alias") if self.exchange.id == "coinbase" else None
        return f"{symbol} comes as {alias}, of which it is an alias: collect that instead" if alias else None

    async def close(self, deadline_s: float) -> None:
        """Close every connection of the exchange object; never raises and never hangs."""
        await close_venue(self.exchange, deadline_s)
