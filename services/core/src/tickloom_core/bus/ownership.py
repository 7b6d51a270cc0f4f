"""Who carries a partition: the newest start owns it, whoever it displaces stands by, and both say so in an event.

An owner is a key in a bucket whose values pass away after 15 s; it is renewed every few seconds. Ownership keeps two
sinks from doing the same work for long. It is not what keeps the data right: each reads through a consumer of its own,
and in the store the chain of chunks cannot fork.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import msgspec
import structlog
from prometheus_client import Counter

from tickloom_core.bus.connection import Connection
from tickloom_core.bus.event_writer import EventWriter
from tickloom_core.bus.kv import Bucket, open_bucket
from tickloom_core.bus.subjects import OWNERS_BUCKET, make_displaced_key, make_owner_key
from tickloom_core.errors import BusUnavailableError
from tickloom_core.events import CONTENTION, INSTALLATION, Event

log = structlog.get_logger(__name__)

_RENEW_S: Final = 3.0
_CLOSE_S: Final = 1.0

_CONTENTIONS = Counter("tickloom_sink_contentions", "Times that another process carried the same partition", ["sink"])


class Claim(msgspec.Struct, frozen=True):
    """Who owns, or owned, a partition."""

    name: str
    host: str
    pid: int
    started_ns: int

    def __str__(self) -> str:
        return f"{self.name} (pid {self.pid} on {self.host})"


def make_claim(name: str) -> Claim:
    """Return the claim of this process."""
    return Claim(name, socket.gethostname(), os.getpid(), time.time_ns())


class Ownership:
    """Whether this process carries one partition of one sink.

    Args:
        connection: the bus.
        sink: the sink's name in bus.sinks.
        partition: the partition.
        claim: this process.
        events: where a displacement is told.
    """

    def __init__(self, connection: Connection, sink: str, partition: int, claim: Claim, events: EventWriter) -> None:
        self._connection = connection
        self._sink = sink
        self._partition = partition
        self._claim = claim
        self._events = events
        self._owner_key = make_owner_key(sink, partition)
        self._displaced_key = make_displaced_key(sink, partition)
        self._told: set[Claim] = set()
        self.is_held = False

    @asynccontextmanager
    async def keep(self) -> AsyncIterator[None]:
        """Take the partition from whoever has it, renew the claim while the block runs, and give it up at its end.

        A bus that does not answer takes nothing away: the claim is made again when it does.
        """
        await self._attempt(self._take())
        task = asyncio.create_task(self._renew_for_ever())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])
            if self.is_held:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_CLOSE_S):
                        await self._attempt(self._give_up())

    async def tell(self, detail: str) -> None:
        """Write an event about two sinks on this partition."""
        _CONTENTIONS.labels(self._sink).inc()
        text = f"sink {self._sink}, partition {self._partition}: {detail}"
        await self._events.write(Event(CONTENTION, INSTALLATION, text), self._partition)

    async def _renew_for_ever(self) -> None:
        while True:
            await asyncio.sleep(_RENEW_S)
            await self._attempt(self._renew())

    async def _attempt(self, step: Coroutine[Any, Any, None]) -> None:
        try:
            await step
        except BusUnavailableError as error:
            log.debug("ownership.delayed", key=self._owner_key, error=str(error))

    async def _take(self) -> None:
        # Held from the first moment: a bus that is away must not keep a lonely sink from its work.
        self.is_held = True
        bucket = await self._open()
        await bucket.write(self._owner_key, self._claim)

    async def _renew(self) -> None:
        bucket = await self._open()
        found = await bucket.read_revision(self._owner_key, Claim)
        owner, revision = found if found is not None else (None, 0)
        if owner is not None and owner != self._claim:
            await self._stand_by(bucket, owner)
            return
        if await bucket.replace(self._owner_key, self._claim, revision) is None:
            return  # somebody was quicker: seen at the next turn
        if not self.is_held:
            self.is_held = True
            await self.tell(f"{self._claim} goes on, nobody else carries it any more")
        displaced = await bucket.read(self._displaced_key, Claim)
        if displaced is not None and displaced != self._claim and displaced not in self._told:
            self._told.add(displaced)
            await self.tell(f"{self._claim} carries it, and {displaced} runs as well; stop one of them")

    async def _stand_by(self, bucket: Bucket, owner: Claim) -> None:
        self.is_held = False
        await bucket.write(self._displaced_key, self._claim)
        if owner not in self._told:
            self._told.add(owner)
            await self.tell(f"{self._claim} stands by, {owner} was started later and carries it; stop one of them")

    async def _give_up(self) -> None:
        bucket = await self._open()
        found = await bucket.read(self._owner_key, Claim)
        if found == self._claim:
            await bucket.delete(self._owner_key)

    async def _open(self) -> Bucket:
        return await open_bucket(self._connection, OWNERS_BUCKET)
