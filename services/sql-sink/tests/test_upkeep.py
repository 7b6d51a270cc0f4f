"""Partitions ahead of time, and what is old going away."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from tests.support.bus import eventually
from tests.support.postgres import query
from tickloom_core.errors import TransientError
from tickloom_sql_sink import upkeep
from tickloom_sql_sink.tables import BOOKS, DERIVATIVES, MARKET_TICKS, TICKS
from tickloom_sql_sink.upkeep import choose_cutoffs, keep_up, remove_old

NOON_US = 1_795_262_400 * 10**6
NOON = datetime.fromtimestamp(NOON_US // 10**6, UTC)
DAY_US = 86_400 * 10**6


def test_cutoffs():
    """A channel that is named is kept for as many days, the others for 30."""
    cutoffs = choose_cutoffs({"trades": 7, "books": 1}, NOON)
    days = {table: (NOON - cutoff).days for table, cutoff in cutoffs.items()}
    assert (days[TICKS], days[BOOKS], days[MARKET_TICKS], days[DERIVATIVES]) == (7, 1, 30, 30)


async def test_old_rows_go(database_url, open_store, make_trades, make_chunk, capsys):
    """What is too old is removed, whatever the database; what was removed is logged."""
    opened = await open_store(database_url)
    await opened.commit(make_chunk([make_trades(n, 2, at_us=NOON_US - n * DAY_US) for n in range(5)]))
    await remove_old(opened.store, TICKS, datetime(2026, 11, 19, tzinfo=UTC))
    assert opened.read_ids() == [f"{n}-{row}" for n in (0, 1, 2) for row in range(2)]
    assert "sql.removed" in capsys.readouterr().out


async def test_a_removal_that_fails(capsys):
    """A removal that cannot be done now is told, and left to the next time."""

    class BusyStore:
        async def remove_oldest(self, table, cutoff):
            raise TransientError("somebody reads it")

    await upkeep._attempt(remove_old(BusyStore(), TICKS, NOON))
    assert "somebody reads it" in capsys.readouterr().out


async def test_partitions_ahead(postgres_url, open_store):
    """Today's and tomorrow's partitions of every table are there before a row is."""
    opened = await open_store(postgres_url)
    task = asyncio.create_task(keep_up(opened.store, {}))
    statement = "SELECT count(*) FROM pg_inherits"
    # Partitions of a table, and of each of its two indexes.
    await eventually(lambda: query(postgres_url, statement) == [(5 * 2 * 3,)], what="all partitions")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_keeping_up(database_url, open_store, make_trades, make_chunk, monkeypatch):
    """Left to itself the sink removes what is older than the settings say."""
    monkeypatch.setattr(upkeep, "_INTERVAL_S", 0.1)
    opened = await open_store(database_url)
    now_us = int(datetime.now(UTC).timestamp()) * 10**6
    age_us = int(timedelta(days=6).total_seconds()) * 10**6
    await opened.commit(make_chunk([make_trades(1, 1, at_us=now_us - age_us), make_trades(2, 1, at_us=now_us)]))
    task = asyncio.create_task(keep_up(opened.store, {"trades": 4}))

    def count():
        with opened.engine.connect() as connection:
            return connection.execute(text("SELECT count(*) FROM ticks")).scalar()

    await eventually(lambda: count() == 1, what="the old row to go")
    assert opened.read_ids() == ["2-0"]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
