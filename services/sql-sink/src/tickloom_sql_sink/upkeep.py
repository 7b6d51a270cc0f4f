"""What the tables need beside rows: partitions before they are needed, and an end for rows that are old."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, get_args

import structlog
from sqlalchemy import Table

from tickloom_core.config import StoredChannel
from tickloom_core.errors import TickloomError
from tickloom_sql_sink.store import SqlStore
from tickloom_sql_sink.tables import FILED, OF_CHANNEL

log = structlog.get_logger(__name__)

DEFAULT_RETENTION_DAYS: Final = 30

_INTERVAL_S: Final = 600.0
_DAYS_AHEAD: Final = 2
_S_PER_DAY: Final = 86_400


async def keep_up(store: SqlStore, retention_days: Mapping[StoredChannel, int]) -> None:
    """Look after the tables every ten minutes, until cancelled; what fails is tried again next time.

    Nothing is removed the first time: by a process that was started by mistake, or that cannot stay up.

    Args:
        store: where the tables are.
        retention_days: by channel; 30 for what is not named.
    """
    await _attempt(make_room_ahead(store))
    while True:
        await asyncio.sleep(_INTERVAL_S)
        await _attempt(make_room_ahead(store))
        for table, cutoff in choose_cutoffs(retention_days, datetime.now(UTC)).items():
            await _attempt(remove_old(store, table, cutoff))


def choose_cutoffs(retention_days: Mapping[StoredChannel, int], now: datetime) -> dict[Table, datetime]:
    """Return for each table the time before which its rows are removed."""
    days = {OF_CHANNEL[channel]: retention_days.get(channel) for channel in get_args(StoredChannel)}
    return {table: now - timedelta(days=days.get(table) or DEFAULT_RETENTION_DAYS) for table in FILED}


async def remove_old(store: SqlStore, table: Table, cutoff: datetime) -> None:
    """Remove what is older than `cutoff`, piece by piece, and say of each what it was.

    Raises:
        TickloomError: the database does not answer, somebody is in the way, or it is not allowed.
    """
    while (removed := await store.remove_oldest(table, cutoff)) is not None:
        log.info(
            "sql.removed",
            table=table.name,
            rows=removed.row_count,
            first=removed.first.isoformat(),
            last=removed.last.isoformat(),
        )


async def make_room_ahead(store: SqlStore) -> None:
    """Make the partitions of today and tomorrow; others are made when rows need them.

    Raises:
        TickloomError: the database does not answer or does not allow it.
    """
    today = int(datetime.now(UTC).timestamp()) // _S_PER_DAY
    await store.make_room(range(today, today + _DAYS_AHEAD))


async def _attempt(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except TickloomError as error:
        log.warning("sql.upkeep_delayed", error=str(error))
