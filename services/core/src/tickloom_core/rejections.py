"""What a sink cannot store is set aside in the stream MD_REJECTED, with the reason: never in a loop, never away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import structlog
from prometheus_client import Counter

from tickloom_core.bus.connection import Connection
from tickloom_core.bus.subjects import make_rejected_subject, make_subject

log = structlog.get_logger(__name__)

_RETRY_BASE_S: Final = 0.25
_RETRY_MAX_S: Final = 15.0
_MAX_REASON_CHARS: Final = 500

_REJECTED_ROWS = Counter("tickloom_sink_rejected_rows", "Rows that the store refuses, set aside", ["sink", "channel"])


@dataclass(frozen=True, slots=True)
class Rejected:
    """Rows that a store refuses for ever.

    Attributes:
        key: tells them apart from all others of the partition, the same when the chunk comes again.
        data: a message with only these rows (tickloom_core.rows.pick_rows), so that they can be sent again.
        reason: what the store said.
    """

    partition: int
    channel: str
    exchange: str
    key: str
    data: bytes
    row_count: int
    reason: str


SetAside = Callable[[Rejected], Awaitable[None]]
"""Makes refused rows durable; a store awaits it before it commits the chunk that they came with."""


class Rejections:
    """Sets messages and rows aside for one sink; each call returns when JetStream has stored them."""

    def __init__(self, connection: Connection, sink: str) -> None:
        self._connection = connection
        self._sink = sink

    async def set_aside(self, rejected: Rejected) -> None:
        """Set refused rows aside, once however often they come."""
        _REJECTED_ROWS.labels(self._sink, rejected.channel).inc(rejected.row_count)
        subject = make_subject(rejected.partition, rejected.channel, rejected.exchange)
        await self.store(subject, rejected.data, key=f"{rejected.partition}-{rejected.key}", reason=rejected.reason)

    async def store(self, subject: str, data: bytes, *, key: str, reason: str) -> None:
        """Set a message aside that came, or would have come, on `subject`."""
        log.error("sink.rejected", sink=self._sink, subject=subject, key=key, reason=reason)
        headers = {
            "Nats-Msg-Id": f"{self._sink}-{key}",
            "Tickloom-Reason": " ".join(reason.split())[:_MAX_REASON_CHARS],
            "Tickloom-Key": key,
        }
        delay_s = _RETRY_BASE_S
        while not await self._connection.store(make_rejected_subject(self._sink, subject), data, headers):
            log.warning("sink.reject_delayed", subject=subject)
            await asyncio.sleep(delay_s)
            delay_s = min(_RETRY_MAX_S, delay_s * 2)
