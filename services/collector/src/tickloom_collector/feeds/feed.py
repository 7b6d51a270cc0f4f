"""What a feed is, and what it is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from tickloom_collector.batcher import Batcher
from tickloom_collector.events import EventLog
from tickloom_core.config import CollectorConfig, VenueConfig
from tickloom_core.plan import Shard


@dataclass(frozen=True, slots=True)
class FeedContext:
    """What every feed of one venue is given.

    Attributes:
        exchange: the venue, as rows and events name it.
        agent: who we are in websocket handshakes, "tickloom-collector/0.1".
    """

    exchange: str
    agent: str
    venue: VenueConfig
    limits: CollectorConfig
    batcher: Batcher
    events: EventLog


class Feed(Protocol):
    """Carries shards of one venue: rows into lanes, what happens into events.

    A receive time is the wall clock as the first thing on a received frame. Every row that the venue sent is written
    once and in order, however many times the venue repeats it. Connections that are lost are made again for ever, or
    `max_reconnect_attempts` times; each loss and each return is an event.
    """

    async def carry(self, shard: Shard) -> None:
        """Deliver the shard's rows until cancelled; several shards are carried at the same time.

        Raises:
            TerminalVenueError: the venue refuses for good, or was tried as often as the configuration allows.
        """

    def is_carrying(self, shard_id: str) -> bool:
        """Return whether everything of the shard has been subscribed."""

    async def close(self, deadline_s: float) -> None:
        """End every connection in time; the shards' tasks have been cancelled before."""
