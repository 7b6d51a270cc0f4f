"""One behavioural suite for every feed, against the simulator: what the venue sent is written once, in order."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from abc import abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import ClassVar

import pytest

from tickloom_collector.feeds.ccxt_feed import CcxtFeed
from tickloom_collector.feeds.feed import Feed, FeedContext
from tickloom_collector.feeds.native_binance import NativeBinanceFeed
from tickloom_collector.feeds.venue import Venue
from tickloom_core.plan import Shard

from .conftest import Simulator, eventually
from .recorder import AGENT, Recorder, make_context

BASES = ("BTC", "ETH")


@dataclass
class Running:
    """A feed that carries one shard, and what it has written."""

    simulator: Simulator
    recorder: Recorder
    context: FeedContext
    feed: Feed
    venue: Venue
    shard: Shard
    task: asyncio.Task[None]

    async def has_rows(self, count: int) -> None:
        """Wait until every symbol has at least so many more rows than now."""
        before = {symbol: self._count(symbol) for symbol in self.shard.symbols}

        async def has_more() -> bool:
            return all(self._count(symbol) >= before[symbol] + count for symbol in self.shard.symbols)

        await eventually(has_more, what=f"{count} more rows of each symbol of {self.shard.id}")

    async def has_event(self, kind: str, times: int = 1) -> None:
        """Wait until an event has been written so many times."""

        async def is_there() -> bool:
            return len(self.recorder.list_events(kind)) >= times

        await eventually(is_there, what=f"{times} events {kind!r}, of {self.recorder.list_events()}")

    async def settle(self) -> dict[str, list]:
        """Stop the simulator, wait until the feed has written all that was sent, and return that by symbol."""
        await self.simulator.call("POST", "/pause")
        keys = await self.simulator.read_keys(self.shard.exchange, self.shard.channel, AGENT)
        total = sum(len(sent) for sent in keys.values())

        async def has_all() -> bool:
            return sum(self._count(symbol) for symbol in self.shard.symbols) >= total

        with suppress(AssertionError):  # the comparison that follows says more
            await eventually(has_all, what="all rows", within_s=5)
        return keys

    def _count(self, symbol: str) -> int:
        return len(self.recorder.list_keys(self.shard.channel, symbol))


class FeedConformance:
    """What every feed must do. Subclasses say which feed, which venue, and what it carries."""

    exchange: ClassVar[str]
    quote: ClassVar[str]
    channels: ClassVar[tuple[str, ...]] = ("trades", "tickers", "books")

    @abstractmethod
    def make_feed(self, context: FeedContext, venue: Venue) -> Feed:
        """Return the feed under test."""

    @asynccontextmanager
    async def carry(self, simulator: Simulator, channel: str = "trades") -> AsyncIterator[Running]:
        """Carry two symbols while the block runs, then close."""
        recorder = Recorder()
        context = make_context(self.exchange, simulator.venues[self.exchange], recorder)
        venue = Venue(context)
        feed = self.make_feed(context, venue)
        symbols = tuple(f"{base}/{self.quote}" for base in BASES)
        depth = 10 if channel == "books" else 0
        shard = Shard(
            id=f"{self.exchange}.{channel}.0", exchange=self.exchange, channel=channel, symbols=symbols, depth=depth
        )
        task = asyncio.create_task(feed.carry(shard))
        running = Running(simulator, recorder, context, feed, venue, shard, task)
        try:
            yield running
        finally:
            task.cancel()
            await asyncio.wait([task])
            await feed.close(3)
            await venue.close(3)
            context.batcher.flush()

    @pytest.fixture(params=["trades", "tickers", "books"])
    def channel(self, request) -> str:
        if request.param not in self.channels:
            pytest.skip(f"this feed carries no {request.param}")
        return request.param

    async def test_every_row_is_written_once_and_in_order(self, simulator, channel) -> None:
        """Every row that was sent is written once, in the order of sending, with both times."""
        start_ns = time.time_ns()
        async with self.carry(simulator, channel) as running:
            # Coinbase's tickers come every five seconds.
            await running.has_rows(3 if channel == "tickers" else 20)
            sent = await running.settle()
            assert set(sent) == set(running.shard.symbols)
            for symbol, keys in sent.items():
                assert running.recorder.list_keys(channel, symbol) == keys
                stamps = [stamp for stamp, _ in running.recorder.list_rows(channel, symbol)]
                assert all(start_ns <= receive_ns <= time.time_ns() for _, receive_ns in stamps)
                assert [receive_ns for _, receive_ns in stamps] == sorted(receive_ns for _, receive_ns in stamps)
            assert running.feed.is_carrying(running.shard.id)

    async def test_a_trade_carries_the_venues_time(self, simulator) -> None:
        """The exchange time of each trade lies before its receive time, and not longer than a snapshot reaches back."""
        async with self.carry(simulator) as running:
            await running.has_rows(5)
            for symbol in running.shard.symbols:
                for (exchange_us, receive_ns), _ in running.recorder.list_rows("trades", symbol):
                    assert -0.1 < receive_ns / 1e9 - exchange_us / 1e6 < 300

    async def test_a_burst_arrives_whole(self, simulator) -> None:
        """Five thousand trades of one symbol in one write of the socket are five thousand rows."""
        async with self.carry(simulator) as running:
            await running.has_rows(1)
            await simulator.add_fault("burst", self.exchange, symbol=f"BTC/{self.quote}", count=5000)
            sent = await running.settle()
            assert len(sent[f"BTC/{self.quote}"]) >= 5000
            for symbol, keys in sent.items():
                assert running.recorder.list_keys("trades", symbol) == keys

    @pytest.mark.parametrize("mode", ["clean", "abort"])
    async def test_a_lost_connection_is_said_and_made_again(self, simulator, mode) -> None:
        """However a connection ends, it is an event, its return is another, and rows go on, none twice."""
        async with self.carry(simulator) as running:
            await running.has_rows(5)
            await simulator.add_fault("close", self.exchange, mode=mode)
            await running.has_event("disconnect")
            await running.has_event("reconnect")
            await running.has_rows(5)
            sent = await running.settle()
            earlier = await simulator.read_keys(self.exchange, "trades", AGENT, kind="superseded")
            for symbol, keys in sent.items():
                written = running.recorder.list_keys("trades", symbol)
                assert len(written) == len(set(written))
                # Coinbase's answer to the second subscription brings what happened while there was none.
                assert set(written) <= {*keys, *earlier[symbol]}
                # What stood in the socket of an aborted connection is lost with it.
                assert mode == "abort" or [key for key in written if key not in earlier[symbol]] == keys

    async def test_repeated_trades_are_dropped_and_said(self, simulator) -> None:
        """Trades that the venue sends twice are written once, and an event counts the repeats."""
        async with self.carry(simulator) as running:
            await running.has_rows(5)
            await simulator.add_fault("duplicate", self.exchange, channel="trades", count=10)
            await running.has_event("duplicate")
            sent = await running.settle()
            for symbol, keys in sent.items():
                assert running.recorder.list_keys("trades", symbol) == keys
            assert sum(count for _, _, count in running.recorder.list_events("duplicate")) >= 1

    async def test_a_mute_connection_is_kept(self, simulator) -> None:
        """A venue that says nothing for a while is not left: no disconnect, and its rows are written when they come."""
        async with self.carry(simulator) as running:
            await running.has_rows(5)
            fault = await simulator.add_fault("mute", self.exchange)
            await asyncio.sleep(2.5)  # longer than a keeper's period: the contract is what does not happen meanwhile
            await simulator.call("DELETE", f"/faults/{fault['id']}")
            await running.has_rows(5)
            sent = await running.settle()
            for symbol, keys in sent.items():
                assert running.recorder.list_keys("trades", symbol) == keys
            assert not running.recorder.list_events("disconnect")

    async def test_a_refusing_venue_is_tried_again(self, simulator) -> None:
        """A venue that refuses connections for a second is tried again until it takes them."""
        async with self.carry(simulator) as running:
            await running.has_rows(5)
            await simulator.add_fault("refuse", self.exchange, seconds=1)
            await running.has_event("disconnect")
            await running.has_event("reconnect")
            await running.has_rows(5)
            assert not running.task.done()

    async def test_it_stops_within_its_deadline_while_frames_flood_in(self, simulator) -> None:
        """Closing takes no longer than its deadline, whatever the venue goes on sending."""
        await simulator.call("POST", "/rates", {"trades_per_s": 5000})
        async with self.carry(simulator) as running:
            await running.has_rows(5)
            start_s = time.monotonic()
        assert time.monotonic() - start_s < 5

    async def test_symbols_that_the_venue_does_not_list_are_excluded(self, simulator) -> None:
        """A symbol without a market is an event; the other symbols of the shard are carried."""
        recorder = Recorder()
        context = make_context(self.exchange, simulator.venues[self.exchange], recorder)
        venue = Venue(context)
        feed = self.make_feed(context, venue)
        good = f"BTC/{self.quote}"
        shard = Shard(id="s", exchange=self.exchange, channel="trades", symbols=(good, "NO/SUCH"))
        task = asyncio.create_task(feed.carry(shard))

        async def has_rows() -> bool:
            return len(recorder.list_keys("trades", good)) > 3

        await eventually(has_rows, what="rows of the symbol that is listed")
        task.cancel()
        await asyncio.wait([task])
        await feed.close(3)
        await venue.close(3)
        assert [(kind, symbol) for kind, symbol, _ in recorder.list_events("excluded")] == [("excluded", "NO/SUCH")]


class TestCcxtFeedOfBinance(FeedConformance):
    exchange = "binance"
    quote = "USDT"

    def make_feed(self, context: FeedContext, venue: Venue) -> Feed:
        return CcxtFeed(context, venue)

    async def test_a_gap_in_the_ids_is_said(self, simulator) -> None:
        """Trades that did not come while the connection was away are counted in an event."""
        await check_gap(self, simulator)

    async def test_a_book_that_lost_a_frame_is_taken_anew(self, simulator) -> None:
        """A jump of the update ids is an event, and the book goes on from a new snapshot on the same connection."""
        async with self.carry(simulator, "books") as running:
            await running.has_rows(5)
            await simulator.add_fault("skip_book", "binance", symbol="BTC/USDT", count=1)
            await running.has_event("resync")
            await running.has_rows(5)
            sent = await running.settle()
            for symbol, keys in sent.items():
                assert running.recorder.list_keys("books", symbol)[-1] == keys[-1]
            assert not running.recorder.list_events("disconnect")


class TestCcxtFeedOfKraken(FeedConformance):
    exchange = "kraken"
    quote = "USD"

    def make_feed(self, context: FeedContext, venue: Venue) -> Feed:
        return CcxtFeed(context, venue)


class TestCcxtFeedOfCoinbase(FeedConformance):
    exchange = "coinbase"
    quote = "USD"

    def make_feed(self, context: FeedContext, venue: Venue) -> Feed:
        return CcxtFeed(context, venue)


class TestNativeFeedOfBinance(FeedConformance):
    exchange = "binance"
    quote = "USDT"
    channels = ("trades",)

    def make_feed(self, context: FeedContext, venue: Venue) -> Feed:
        return NativeBinanceFeed(context, venue)

    async def test_a_gap_in_the_ids_is_said(self, simulator) -> None:
        """Trades that did not come while the connection was away are counted in an event."""
        await check_gap(self, simulator)

    async def test_a_connection_is_changed_without_a_loss(self, simulator) -> None:
        """Before the venue ends a connection, another takes over: no trade is missing and none is written twice."""

        class ShortLived(NativeBinanceFeed):
            def __init__(self, context: FeedContext, venue: Venue) -> None:
                super().__init__(context, venue)
                self._settings = dataclasses.replace(self._settings, lifetime_s=0.5)

        self.make_feed = ShortLived
        async with self.carry(simulator) as running:

            async def has_changed() -> bool:
                return len(running.recorder.list_events("duplicate")) >= 2

            # Both connections receive for two seconds: these trades come twice, and that is said.
            await eventually(has_changed, what="the trades of the overlap")
            sent = await running.settle()
            for symbol, keys in sent.items():
                assert running.recorder.list_keys("trades", symbol) == keys
            assert not running.recorder.list_events("disconnect", "gap")


async def check_gap(suite: FeedConformance, simulator: Simulator) -> None:
    async with suite.carry(simulator) as running:
        await running.has_rows(5)
        await simulator.add_fault("close", suite.exchange, mode="abort")
        await running.has_event("reconnect")
        await running.has_rows(5)
        await running.settle()
        for symbol in running.shard.symbols:
            ids = [int(key) for key in running.recorder.list_keys("trades", symbol)]
            missing = ids[-1] - ids[0] + 1 - len(ids)
            assert missing == sum(count for _, name, count in running.recorder.list_events("gap") if name == symbol)
