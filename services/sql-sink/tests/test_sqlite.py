"""What is particular to SQLite: one file, one writer, a disk that is full."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from tickloom_core.bus.reader import StreamIdentity
from tickloom_core.errors import PermanentError, TransientError
from tickloom_sql_sink import sqlite
from tickloom_sql_sink.tables import TICKS

NOON_US = 1_795_262_400 * 10**6
DAY_US = 86_400 * 10**6
STREAM = StreamIdentity("MARKETDATA", "2026-11-21T05:15:13.334000223Z")


@pytest.fixture
def path(tmp_path):
    """The file."""
    return tmp_path / "tickloom.sqlite"


@pytest.fixture
async def opened(path, open_store):
    """A store in it."""
    return await open_store(f"sqlite:///{path}")


async def test_what_a_power_cut_leaves(opened):
    """What is acknowledged is on the disk: the log is written ahead and synced at each commit."""
    with opened.store._database.begin() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert connection.execute(text("PRAGMA synchronous")).scalar() == 2


async def test_a_full_disk_is_waited_for(opened, make_trades, make_chunk):
    """A chunk that finds no space commits nothing, not even its position, and is stored when there is space."""
    await opened.commit(make_chunk([make_trades(1)]))
    chunk = make_chunk([make_trades(2, 5000)], first=2)

    def limit_pages(count):
        with opened.store._database.begin() as connection:
            pages = connection.execute(text("PRAGMA page_count")).scalar()
            connection.execute(text(f"PRAGMA max_page_count = {count or pages + 10}"))

    limit_pages(None)
    with pytest.raises(TransientError, match="database or disk is full; free some space"):
        await opened.store.write(chunk)
    assert len(opened.read()) == 3
    assert (await opened.store.open_partition(0, STREAM)).last_sequence == 1
    limit_pages(2**30)
    await opened.store.write(chunk)
    assert len(opened.read()) == 5003


async def test_another_writer(opened, path, make_trades, make_chunk, monkeypatch):
    """While somebody else holds the file the chunk waits; readers never do."""
    await opened.commit(make_chunk([make_trades(1)]))
    with opened.store._database._engine.connect() as connection:
        connection.connection.driver_connection.execute("PRAGMA busy_timeout = 50")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(TransientError, match="database is locked"):
            await opened.store.write(make_chunk([make_trades(2)], first=2))
        assert len(opened.read()) == 3
    await opened.store.write(make_chunk([make_trades(2)], first=2))
    assert len(opened.read()) == 6


async def test_old_rows_go_in_slices(opened, make_trades, make_chunk, monkeypatch):
    """Retention deletes what is too old a slice at a time, oldest first, and says what each was."""
    monkeypatch.setattr(sqlite, "_SLICE_ROWS", 4)
    await opened.commit(make_chunk([make_trades(n, 3, at_us=NOON_US - n * DAY_US) for n in range(4)]))
    cutoff = datetime.fromtimestamp(NOON_US // 10**6, UTC) - timedelta(days=1)
    removed = []
    while (piece := await opened.store.remove_oldest(TICKS, cutoff)) is not None:
        removed.append(piece)
    assert [(piece.row_count, piece.first.day, piece.last.day) for piece in removed] == [(4, 18, 19), (2, 19, 19)]
    assert opened.read_ids() == [f"{n}-{row}" for n in (0, 1) for row in range(3)]


async def test_a_file_that_is_no_database(path, open_store):
    """Somebody else's file is left as it is."""
    path.write_bytes(b"these are my memoirs" * 100)
    with pytest.raises(PermanentError, match=r"file is not a database; .* sql_sink\.url"):
        await open_store(f"sqlite:///{path}")
    assert path.read_bytes().startswith(b"these are my memoirs")


async def test_a_folder_that_cannot_be_made(tmp_path, open_store):
    """A place where no folder can be is told."""
    (tmp_path / "blocker").write_text("a file where a folder should be")
    with pytest.raises(PermanentError, match=r"cannot be made: .* sql_sink\.url"):
        await open_store(f"sqlite:///{tmp_path}/blocker/x/tickloom.sqlite")
