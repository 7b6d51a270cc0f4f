"""A synthetic exchange: makes what is subscribed, writes it in its venue's format and hands it to the hub."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tickloom_simulator.clock import now_ns
from tickloom_simulator.connection import encode_frame
from tickloom_simulator.market import AMOUNT_SCALE
from tickloom_simulator.subscription import BOOKS, TICKERS, TRADES, DepthRow, KeyRow, TradeRows
from tickloom_simulator.truth import Series

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tickloom_simulator.book import BookUpdate
    from tickloom_simulator.hub import Hub, Link
    from tickloom_simulator.instrument import Instrument
    from tickloom_simulator.market import Market
    from tickloom_simulator.subscription import Form, Rows, Subscription
    from tickloom_simulator.venues.venue import Venue


def name_series(market: Market, channel: str) -> Series:
    """Name the truth's series of a market's channel."""
    unit = market.ticks_per_unit if channel == TRADES else AMOUNT_SCALE
    return Series(market.venue, channel, market.symbol, unit)


class Exchange:
    """One venue with made-up markets."""

    def __init__(self, venue: Venue, hub: Hub) -> None:
        self.venue = venue
        self.hub = hub
        self._active: dict[str, list[str]] = {}
        self._active_version = -1

    @property
    def symbol_count(self) -> int:
        """How many symbols are listed."""
        return len(self.venue.listing.markets)

    def list_active(self, channel: str) -> list[str]:
        """Return the symbols of a channel that somebody gets data of."""
        if self._active_version != self.hub.version:
            self._active.clear()
            self._active_version = self.hub.version
        if channel not in self._active:
            wanted = self.hub.list_symbols(channel)
            listed = self.venue.listing.symbols
            self._active[channel] = listed if "" in wanted else [symbol for symbol in listed if symbol in wanted]
        return self._active[channel]

    def make_trades(self, symbol: str, count: int, span_ns: int) -> int:
        """Make and queue `count` trades of a symbol, spread over the last `span_ns`; return how many were made."""
        instrument = self._wake(TRADES, symbol)
        if instrument is None:
            return 0
        trades = instrument.tape.print(count, now_ns() - span_ns, span_ns)
        rows = (TradeRows(name_series(instrument.market, TRADES), trades),)
        links = self.hub.find_links(TRADES, symbol)
        self._deliver(links, lambda form: self.venue.write_trades(form, instrument, trades), lambda _: rows)
        return count

    def make_tickers(self, symbol: str, count: int) -> None:
        """Make and queue `count` updates of a symbol's ticker."""
        instrument = self._wake(TICKERS, symbol)
        if instrument is None:
            return
        for _ in range(count):
            instrument.advance_ticker()
            links = self.hub.find_links(TICKERS, symbol)
            for link in links:
                if link.subscription.is_batched:
                    link.subscription.changed.add(symbol)
            immediate = [link for link in links if not link.subscription.is_batched]
            self._deliver_tickers(immediate, [instrument])

    def make_books(self, symbol: str, count: int) -> None:
        """Make and queue `count` updates of a symbol's order book."""
        instrument = self._wake(BOOKS, symbol)
        if instrument is None:
            return
        for _ in range(count):
            update = instrument.book.update(now_ns(), instrument.tape.price_ticks)
            links = self.hub.find_links(BOOKS, symbol)
            if self.hub.faults.take_skip(self.hub.venue, symbol):
                self._skip_book(links, instrument, update)
            else:
                self._deliver_book(links, instrument, update)

    def send_batches(self) -> None:
        """Send the newest tickers to those who get them once a second."""
        for link in self.hub.list_links():
            changed = link.subscription.changed
            symbols = [symbol for symbol in sorted(changed) if not self.hub.mutes(TICKERS, symbol)]
            changed.difference_update(symbols)
            found = (self.venue.listing.find(symbol) for symbol in symbols)
            if symbols:
                self._deliver_tickers([link], [instrument for instrument in found if instrument is not None])

    def _wake(self, channel: str, symbol: str) -> Instrument | None:
        """Return the instrument when somebody may get data of its channel now."""
        if self.hub.mutes(channel, symbol) or not self.hub.find_links(channel, symbol):
            return None
        return self.venue.listing.find(symbol)

    def _deliver_tickers(self, links: Iterable[Link], instruments: list[Instrument]) -> None:
        time_ns = now_ns()
        rows = tuple(
            KeyRow(name_series(instrument.market, TICKERS), instrument.day.volume_e8) for instrument in instruments
        )
        self._deliver(links, lambda form: self.venue.write_tickers(form, instruments, time_ns), lambda _: rows)

    def _deliver_book(self, links: list[Link], instrument: Instrument, update: BookUpdate) -> None:
        series = name_series(instrument.market, BOOKS)
        key = update.best_bid_amount_e8

        def count_row(subscription: Subscription) -> tuple[Rows, ...]:
            if not subscription.is_counted:
                return ()
            if self.venue.has_rest_snapshots:
                return (DepthRow(series, key, update.last_update_id, subscription),)
            return (KeyRow(series, key),)

        for link in links:
            if link.subscription.owes_snapshot:
                self.venue.send_snapshot(self.hub, link.connection, link.subscription)
        current = [link for link in links if not link.subscription.owes_snapshot]
        for link in links:
            link.subscription.owes_snapshot = False
        self._deliver(current, lambda form: self.venue.write_book(form, instrument, update), count_row)

    def _skip_book(self, links: list[Link], instrument: Instrument, update: BookUpdate) -> None:
        """Withhold an update: the formats see it, so that the next one shows the gap; its clients need a snapshot."""
        for form in {link.subscription.form for link in links}:
            self.venue.write_book(form, instrument, update)
        for link in links:
            link.subscription.awaits_snapshot = self.venue.has_rest_snapshots and link.subscription.is_counted

    def _deliver(
        self,
        links: Iterable[Link],
        write: Callable[[Form], list[str]],
        count_rows: Callable[[Subscription], tuple[Rows, ...]],
    ) -> None:
        """Write each form once, frame it once unless the venue numbers its messages, and queue it for each link."""
        texts: dict[Form, list[str]] = {}
        repeats: dict[Form, list[int]] = {}
        shared: dict[Form, list[bytes]] = {}
        for connection, subscription in links:
            form = subscription.form
            if form not in texts:
                texts[form] = write(form)
                repeats[form] = self._plan_repeats(subscription.channel, len(texts[form]))
                if not self.venue.is_numbered:
                    shared[form] = _repeat([encode_frame(text) for text in texts[form]], repeats[form])
            frames = shared.get(form) or _repeat(self.hub.encode(connection, texts[form]), repeats[form])
            self.hub.queue(connection, frames, count_rows(subscription))

    def _plan_repeats(self, channel: str, frame_count: int) -> list[int]:
        """Say how often each frame is sent: twice when a fault wants it, else once."""
        faults = self.hub.faults
        return [2 if faults.take_duplicate(self.hub.venue, channel) else 1 for _ in range(frame_count)]


def _repeat(frames: list[bytes], repeats: list[int]) -> list[bytes]:
    return [frame for frame, times in zip(frames, repeats, strict=True) for _ in range(times)]
