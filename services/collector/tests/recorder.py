"""What a feed is given in tests, and what it has written."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

from tickloom_collector.batcher import Batcher
from tickloom_collector.events import EventLog
from tickloom_collector.feeds.feed import FeedContext
from tickloom_core.bus.spool import Outgoing
from tickloom_core.config import CollectorConfig, VenueConfig
from tickloom_core.wire import Batch, decode

AGENT = "tickloom-test"
LIMITS = CollectorConfig(subscribe_interval_ms=1, backoff_base_s=0.05, backoff_max_s=0.5)


@dataclass
class Recorder:
    """Takes the place of the publisher and reads every batch again."""

    batches: list[Batch] = field(default_factory=list)
    messages: list[Outgoing] = field(default_factory=list)

    def submit(self, message: Outgoing) -> None:
        self.messages.append(message)
        self.batches.append(decode(message.payload))

    def list_keys(self, channel: str, symbol: str) -> list[Any]:
        """Return the keys of a symbol's rows in the order of writing, as the simulator's truth names them."""
        return [key for _, key in self.list_rows(channel, symbol)]

    def list_rows(self, channel: str, symbol: str) -> list[tuple[tuple[int, int], Any]]:
        """Return ((exchange time in us, receive time in ns), key) of a symbol's rows."""
        found = []
        for batch in self.batches:
            if batch.header.channel == channel:
                rows: Any = batch.rows
                symbols = [rows.symbols[index] for index in memoryview(rows.symbol_index).cast("I")]
                times = zip(
                    memoryview(rows.exchange_time_us).cast("q"), memoryview(rows.receive_time_ns).cast("q"), strict=True
                )
                for name, stamps, key in zip(symbols, times, list_batch_keys(batch), strict=True):
                    if name == symbol:
                        found.append((stamps, key))
        return found

    def list_events(self, *kinds: str) -> list[tuple[str, str, int]]:
        """Return (kind, symbol, count) of the events of these kinds, or of all."""
        found = []
        for batch in self.batches:
            if batch.header.channel == "events":
                rows: Any = batch.rows
                counts = memoryview(rows.count).cast("q")
                found += [
                    event
                    for event in zip(rows.kind, rows.symbol, counts, strict=True)
                    if not kinds or event[0] in kinds
                ]
        return found


def list_batch_keys(batch: Batch) -> list[Any]:
    """Return the key of each row of a batch: trade id, base volume of a ticker, amount of a book's best bid."""
    rows: Any = batch.rows
    if batch.header.channel == "tickers":
        return list(memoryview(rows.base_volume).cast("d"))
    if batch.header.channel == "trades":
        ends = list(itertools.accumulate(rows.trade_id_lengths))
        return [rows.trade_ids[start:end].decode() for start, end in zip([0, *ends], ends, strict=False)]
    amounts = memoryview(rows.bid_amount).cast("d")
    starts = itertools.accumulate(memoryview(rows.bid_count).cast("I"), initial=0)
    return [amounts[start] for start, _ in zip(starts, memoryview(rows.bid_count).cast("I"), strict=False)]


def make_context(exchange: str, endpoint: str, recorder: Recorder, limits: CollectorConfig = LIMITS) -> FeedContext:
    """Return what the feeds of a venue are given."""
    batcher = Batcher("writer-1", 4, limits, recorder.submit)
    return FeedContext(
        exchange=exchange,
        agent=f"{AGENT}/0",
        venue=VenueConfig(endpoint=endpoint),
        limits=limits,
        batcher=batcher,
        events=EventLog(batcher),
    )
