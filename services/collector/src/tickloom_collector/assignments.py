"""Follows this collector's own assignment in the plan bucket.

The bucket is the state, a message on its subject a wake-up only: the key is read again every few seconds and after each
reconnect, so that nothing depends on a message having arrived.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from nats.aio.msg import Msg

from tickloom_core.bus.connection import Connection
from tickloom_core.bus.kv import open_bucket
from tickloom_core.bus.subjects import PLAN_BUCKET, make_assignment_key
from tickloom_core.errors import PermanentError, TransientError
from tickloom_core.lifecycle import Health
from tickloom_core.plan import Assignment

log = structlog.get_logger(__name__)

_PERIOD_S: Final = 5.0


class AssignmentWatch:
    """Calls `apply` with each new assignment of one collector.

    Args:
        connection: the bus.
        collector: the collector's name.
        apply: makes the assignment true.
        health: hears that the loop turns.
    """

    def __init__(
        self,
        connection: Connection,
        collector: str,
        apply: Callable[[Assignment], Awaitable[None]],
        health: Health,
    ) -> None:
        self._connection = connection
        self._key = make_assignment_key(collector)
        self._apply = apply
        self._health = health
        self._wake = asyncio.Event()
        self._current: Assignment | None = None
        connection.on_reconnect(self._wake.set)

    async def run(self) -> None:
        """Follow the assignment until cancelled."""
        # A put into a JetStream bucket is a message on the subject of its key (nats.docs, "Key/Value Store").
        subscription = await self._connection.client.subscribe(f"$KV.{PLAN_BUCKET}.{self._key}", cb=self._note_put)
        try:
            while True:
                self._health.beat("assignment")
                self._wake.clear()
                await self._read()
                await self._pause()
        finally:
            if self._connection.is_connected:
                await subscription.unsubscribe()

    async def _note_put(self, _: Msg) -> None:
        self._wake.set()

    async def _read(self) -> None:
        try:
            bucket = await open_bucket(self._connection, PLAN_BUCKET)
            found = await bucket.read(self._key, Assignment)
        except (TransientError, PermanentError) as error:
            log.warning("assignment.unreadable", error=str(error))
            return
        if found is None or found == self._current:
            return
        if self._current is not None and found.epoch < self._current.epoch:
            log.warning("assignment.outdated", epoch=found.epoch, current_epoch=self._current.epoch)
            return
        log.info("assignment.applying", epoch=found.epoch, shards=len(found.shards))
        self._current = found
        await self._apply(found)

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(_PERIOD_S):
                await self._wake.wait()
        except TimeoutError:
            return
