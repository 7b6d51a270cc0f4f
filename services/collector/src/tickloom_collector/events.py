"""What happens to the collection itself: every event is a row of the channel "events" and a line in the log.

Nothing may be missing without a row that says so: disconnections, gaps, dropped batches and repeated trades stand here
with counts and time ranges.
"""

from __future__ import annotations

from typing import Final

import structlog

from tickloom_collector.batcher import Batcher
from tickloom_core.bus.spool import Loss
from tickloom_core.columns import EventBuffer
from tickloom_core.events import DISCONNECT, DROPPED, ERROR, EXCLUDED, GAP, RESYNC, Event

log = structlog.get_logger(__name__)

_WARNINGS: Final = frozenset({DISCONNECT, EXCLUDED, DROPPED, GAP, RESYNC, ERROR})


class EventLog:
    """Writes events into batches and into the log."""

    def __init__(self, batcher: Batcher) -> None:
        self._batcher = batcher

    def record(self, event: Event) -> None:
        """Write one event."""
        lane = self._batcher.find_lane(EventBuffer, event.exchange, event.symbol)
        lane.buffer.append(event)
        lane.commit()
        say = log.warning if event.kind in _WARNINGS else log.info
        say(
            f"feed.{event.kind}",
            exchange=event.exchange,
            channel=event.channel,
            symbol=event.symbol,
            detail=event.detail,
            count=event.count,
        )

    def record_losses(self, losses: list[Loss]) -> None:
        """Write what the publisher had to drop."""
        for loss in losses:
            detail = f"{loss.messages} batches found no room in memory or on disk while the bus was away"
            self.record(
                Event(
                    DROPPED,
                    loss.exchange,
                    detail,
                    channel=loss.channel,
                    count=loss.rows,
                    first_ns=loss.first_ns,
                    last_ns=loss.last_ns,
                )
            )
