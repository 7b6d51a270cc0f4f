"""TimescaleDB: hypertables, their keys, their chunks and their end. Its WASM build shows schema and SQL, not COPY."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.dialects.postgresql import insert as upsert

from tests.support.timescale import TimescaleServer, find_missing
from tickloom_core.config import Config, SqlSinkConfig
from tickloom_sql_sink.migration import migrate
from tickloom_sql_sink.opening import open_database
from tickloom_sql_sink.tables import DERIVATIVES, FILED, TICKS
from tickloom_sql_sink.url import choose_url

pytestmark = pytest.mark.servers

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
TRADE = {
    "exchange": "binance",
    "symbol": "BTC/USDT",
    "ts": NOON,
    "exchange_ts_utc": NOON,
    "ingestion_ts_utc": NOON,
    "receive_time_ns": 1_795_262_400 * 10**9,
    "price": 60_000.0,
    "quantity": 0.5,
    "side": "buy",
}


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """A database with the extension, its tables made."""
    missing = find_missing()
    if missing is not None:
        pytest.skip(f"no TimescaleDB: {missing}")
    server = TimescaleServer(tmp_path_factory.mktemp("timescale") / "server.log")
    server.start()
    url = choose_url(Config(sql_sink=SqlSinkConfig(url=server.url)))
    database = open_database(url, partition_days=2)
    migrate(database)
    yield database
    database.close()
    server.stop()


def test_every_table_of_rows_is_a_hypertable(database):
    """Where the extension is, tables of rows are hypertables by their time, with chunks as wide as the setting says."""
    statement = "SELECT hypertable_name, column_name, time_interval FROM timescaledb_information.dimensions ORDER BY 1"
    with database.begin() as connection:
        found = connection.execute(text(statement)).all()
    assert [(name, column) for name, column, _ in found] == sorted((table.name, table.info["time"]) for table in FILED)
    assert {width for *_, width in found} == {timedelta(days=2)}


def test_a_trade_is_stored_once(database):
    """The unique keys hold in hypertables, over chunks, for trades with an id and without."""
    rows = [TRADE | {"trade_id": "7", "ordinal": 0}, TRADE | {"trade_id": None, "ordinal": 5}]
    rows += [row | {"ts": NOON - timedelta(days=9)} for row in rows]
    with database.begin() as connection:
        for _ in range(2):
            connection.execute(upsert(TICKS).on_conflict_do_nothing(), rows)
        stored = connection.execute(select(TICKS.c.trade_id)).scalars().all()
    assert sorted(stored, key=str) == ["7", "7", None, None]


def test_old_chunks_are_dropped_as_a_whole(database):
    """Retention drops the chunks of which every row is too old, and nothing else."""
    row = {name: TRADE[name] for name in ("exchange", "symbol", "receive_time_ns")} | {"ordinal": 0}
    with database.begin() as connection:
        for days in range(0, 8, 2):
            connection.execute(insert(DERIVATIVES), row | {"ingestion_ts_utc": NOON - timedelta(days=days)})
    removed = database.remove_oldest(DERIVATIVES, NOON - timedelta(days=3))
    assert removed is not None
    assert (removed.first.day, removed.last.day) == (15, 17)
    assert database.remove_oldest(DERIVATIVES, NOON - timedelta(days=3)) is None
    with database.begin() as connection:
        kept = connection.execute(select(DERIVATIVES.c.ingestion_ts_utc)).scalars().all()
    assert sorted(kept) == [NOON - timedelta(days=days) for days in (4, 2, 0)]


def test_processes_that_come_later(database):
    """Tables that are there already are left as they are."""
    migrate(database)
    database.make_room(TICKS, [20_000])
