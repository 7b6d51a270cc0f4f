"""What becomes of a feed's connections, as events: opened, lost, opened again, and frames that nobody can read."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from tickloom_collector.feeds.feed import FeedContext
from tickloom_collector.metrics import RECONNECTS
from tickloom_core.events import CONNECT, DISCONNECT, ERROR, RECONNECT, Event

_UNREADABLE_PERIOD_S: Final = 60.0


@dataclass(slots=True)
class _Link:
    is_open: bool = False
    was_open: bool = False
    lost_ns: int | None = None


class LinkLog:
    """The connections of one feed of one venue, each by its URL.

    Args:
        feed: the feed's name in metrics.
        channel: what the connections carry; empty where it is more than one channel.
    """

    def __init__(self, context: FeedContext, feed: str, *, channel: str = "") -> None:
        self._context = context
        self._channel = channel
        self._reconnects = RECONNECTS.labels(context.exchange, feed)
        self._links: dict[str, _Link] = {}
        self._unreadable = 0
        self._told_s = -_UNREADABLE_PERIOD_S

    def note_open(self, url: str) -> None:
        """Record that a connection stands, and from when to when it did not."""
        link = self._links.setdefault(url, _Link())
        if link.was_open:
            self._reconnects.inc()
            self._record(RECONNECT, url, first_ns=link.lost_ns, last_ns=time.time_ns())
        else:
            self._record(CONNECT, url)
        link.is_open = link.was_open = True

    def note_lost(self, url: str, reason: str) -> None:
        """Record that a connection is gone; what never stood or is gone already is no news."""
        link = self._links.get(url)
        if link is not None and link.is_open:
            link.is_open = False
            link.lost_ns = time.time_ns()
            self._record(DISCONNECT, f"{url}: {reason}")

    def note_end(self) -> None:
        """Record that the collector itself ends what stands."""
        for url in self._links:
            self.note_lost(url, "the collector ends it")

    def note_unreadable(self, url: str, error: Exception) -> None:
        """Count a frame that could not be handled; the first one, then one a minute, becomes an event."""
        self._unreadable += 1
        now_s = time.monotonic()
        if now_s - self._told_s >= _UNREADABLE_PERIOD_S:
            detail = f"{url}: frames that cannot be handled: {type(error).__name__}: {error}"
            self._record(ERROR, detail, count=self._unreadable)
            self._told_s = now_s
            self._unreadable = 0

    def _record(
        self,
        kind: str,
        detail: str,
        *,
        count: int | None = None,
        first_ns: int | None = None,
        last_ns: int | None = None,
    ) -> None:
        event = Event(
            kind,
            self._context.exchange,
            detail,
            channel=self._channel,
            count=count,
            first_ns=first_ns,
            last_ns=last_ns,
        )
        self._context.events.record(event)
