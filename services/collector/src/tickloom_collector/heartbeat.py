"""Says every few seconds that this collector lives, and how much it carries.

The record goes into two buckets: the members', which forgets it after some seconds, and the presence's, which keeps it.
The latter tells the next start since when nothing was collected: what is missing then lies behind the last record.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

import structlog

from tickloom_core.bus.connection import Connection
from tickloom_core.bus.kv import open_bucket
from tickloom_core.bus.subjects import MEMBERS_BUCKET, PRESENCE_BUCKET
from tickloom_core.errors import TransientError
from tickloom_core.lifecycle import Health
from tickloom_core.plan import Member

log = structlog.get_logger(__name__)

_PERIOD_S: Final = 5.0


async def beat(
    connection: Connection, describe: Callable[[float], Member], may_be_kept: Callable[[], bool], health: Health
) -> None:
    """Write what `describe` returns into the members' bucket until cancelled.

    Args:
        connection: the bus.
        describe: makes the record, given the seconds since the last one.
        may_be_kept: says whether the record may replace what an earlier start has left.
        health: hears that the loop turns.
    """
    last_s = time.monotonic()
    while True:
        health.beat("heartbeat")
        now_s = time.monotonic()
        member = describe(now_s - last_s)
        last_s = now_s
        await _write(connection, member, MEMBERS_BUCKET)
        if may_be_kept():
            await _write(connection, member, PRESENCE_BUCKET)
        await asyncio.sleep(_PERIOD_S)


async def keep_presence(connection: Connection, member: Member) -> None:
    """Write a record outside the rhythm: when carrying begins, and when everything collected was handed over."""
    await _write(connection, member, PRESENCE_BUCKET)


async def find_last_presence_ns(connection: Connection, collector: str) -> int | None:
    """Return when a collector of this name was last known to collect; None when there was none.

    Raises:
        BusUnavailableError: the bus does not answer.
    """
    bucket = await open_bucket(connection, PRESENCE_BUCKET)
    member = await bucket.read(collector, Member)
    return None if member is None else member.beat_ns


async def _write(connection: Connection, member: Member, name: str) -> None:
    try:
        bucket = await open_bucket(connection, name)
        await bucket.write(member.collector, member)
    except TransientError as error:
        log.warning("heartbeat.failed", bucket=name, error=str(error))
