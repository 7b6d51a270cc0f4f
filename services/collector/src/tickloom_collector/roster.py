"""The shards that this collector carries: started and stopped so that they are exactly the assigned ones."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from tickloom_collector.backoff import Backoff
from tickloom_collector.events import EventLog
from tickloom_collector.feeds.feed import Feed, FeedContext
from tickloom_collector.feeds.venue_feeds import VenueFeeds
from tickloom_collector.metrics import SHARDS
from tickloom_core.config import CollectorConfig
from tickloom_core.errors import PermanentError
from tickloom_core.events import ERROR, EXCLUDED, GAP, Event
from tickloom_core.plan import Assignment, Shard

log = structlog.get_logger(__name__)

_CLOSE_DEADLINE_S: Final = 5.0
_ABSENCE_POLL_S: Final = 0.1


@dataclass(slots=True)
class _Carried:
    shard: Shard
    task: asyncio.Task[None]
    feed: Feed | None = None
    is_excluded: bool = False


class Roster:
    """Holds the shards and the venues' feeds.

    Args:
        make_context: makes what the feeds of a venue are given.
        events: hears of shards that a venue refuses.
        limits: waits between attempts.

    Attributes:
        absent_since_ns: when an earlier start of this collector was last known to collect; None when there was none.
    """

    def __init__(self, make_context: Callable[[str], FeedContext], events: EventLog, limits: CollectorConfig) -> None:
        self._make_context = make_context
        self._events = events
        self._limits = limits
        self._venues: dict[str, VenueFeeds] = {}
        self._carried: dict[str, _Carried] = {}
        self.absent_since_ns: int | None = None
        self._untold_absences = 0

    def __len__(self) -> int:
        return len(self._carried)

    def is_complete(self) -> bool:
        """Return whether every assigned shard is carried, or excluded for a reason that stands in an event."""
        return all(
            carried.is_excluded or (carried.feed is not None and carried.feed.is_carrying(shard_id))
            for shard_id, carried in self._carried.items()
        )

    @property
    def has_told_absence(self) -> bool:
        """Whether each gap that an earlier start has left is written; until then that start's sign of life counts."""
        return bool(self._carried) and not self._untold_absences

    async def apply(self, assignment: Assignment) -> None:
        """Carry exactly the shards of an assignment; those that did not change go on undisturbed."""
        wanted = {shard.id: shard for shard in assignment.shards}
        changed = [carried for shard_id, carried in self._carried.items() if wanted.get(shard_id) != carried.shard]
        await self._drop(changed)
        for exchange in set(self._venues) - {shard.exchange for shard in assignment.shards}:
            await self._venues.pop(exchange).close(_CLOSE_DEADLINE_S)
        for shard_id, shard in wanted.items():
            if shard_id not in self._carried:
                self._start(shard, self.absent_since_ns)
        if wanted:
            # What is assigned later was not this collector's to carry before.
            self.absent_since_ns = None
        self._show()

    async def close(self) -> None:
        """End everything in time."""
        await self._drop(list(self._carried.values()))
        venues, self._venues = list(self._venues.values()), {}
        await asyncio.gather(*(venue.close(_CLOSE_DEADLINE_S) for venue in venues))

    def _start(self, shard: Shard, absent_since_ns: int | None) -> None:
        # Counted here and not in the task: nobody may take the absence for told before the task has begun.
        self._untold_absences += absent_since_ns is not None
        task = asyncio.create_task(self._carry(shard, absent_since_ns), name=f"carry {shard.id}")
        self._carried[shard.id] = _Carried(shard, task)

    async def _drop(self, dropped: list[_Carried]) -> None:
        for carried in dropped:
            carried.task.cancel()
        if dropped:
            await asyncio.wait([carried.task for carried in dropped], timeout=_CLOSE_DEADLINE_S)
        for carried in dropped:
            del self._carried[carried.shard.id]

    async def _carry(self, shard: Shard, absent_since_ns: int | None) -> None:
        """Carry one shard until cancelled or refused; first say since when nobody did."""
        if absent_since_ns is None:
            await self._keep_carrying(shard)
            return
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tell_absence(shard, absent_since_ns))
            group.create_task(self._keep_carrying(shard))

    async def _tell_absence(self, shard: Shard, since_ns: int) -> None:
        """Write the gap that an earlier start has left, once the shard is subscribed again."""
        carried = self._carried[shard.id]
        # Feeds say whether they carry, they do not announce it.
        while not carried.is_excluded and (carried.feed is None or not carried.feed.is_carrying(shard.id)):  # noqa: ASYNC110
            await asyncio.sleep(_ABSENCE_POLL_S)
        detail = f"{shard.id}: this collector did not run, or could not say so"
        gap = Event(GAP, shard.exchange, detail, channel=shard.channel, first_ns=since_ns, last_ns=time.time_ns())
        self._events.record(gap)
        self._untold_absences -= 1

    async def _keep_carrying(self, shard: Shard) -> None:
        """Carry one shard until cancelled or refused; whatever else goes wrong is said and tried again."""
        backoff = Backoff(self._limits.backoff_base_s, self._limits.backoff_max_s)
        while True:
            try:
                feed = self._find_feed(shard)
                self._carried[shard.id].feed = feed
                await feed.carry(shard)
            except PermanentError as error:
                self._exclude(shard, error)
                return
            except Exception as error:
                log.exception("shard.failed", shard=shard.id)
                detail = f"{shard.id} is started again: {type(error).__name__}: {error}"
                self._events.record(Event(ERROR, shard.exchange, detail, channel=shard.channel))
                await asyncio.sleep(backoff.next_s())

    def _find_feed(self, shard: Shard) -> Feed:
        feeds = self._venues.get(shard.exchange)
        if feeds is None:
            feeds = self._venues[shard.exchange] = VenueFeeds(self._make_context(shard.exchange))
        return feeds.find(shard.channel)

    def _exclude(self, shard: Shard, error: PermanentError) -> None:
        self._carried[shard.id].is_excluded = True
        self._events.record(Event(EXCLUDED, shard.exchange, f"{shard.id}: {error}", channel=shard.channel))
        self._show()

    def _show(self) -> None:
        excluded = sum(carried.is_excluded for carried in self._carried.values())
        SHARDS.labels("carried").set(len(self._carried) - excluded)
        SHARDS.labels("excluded").set(excluded)
