"""The tables: the one definition from which statements, rows and the files of `schema/` are made.

Every table of rows has a time by which it is filed: partitioned (PostgreSQL), chunked (TimescaleDB), indexed, and
removed when it is old. That is the time of receipt, except for trades: a venue that sends a trade again, after a
reconnect, sends it with the same time and id, and only a key of these recognises it.

The unique key of every table of rows names the row for ever, so that a row which comes a second time stays out.
Migrations (`migrations/`) are what makes these tables; a test holds the two equal.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    DateTime,
    Double,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    func,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import TypeEngine

POSTGRESQL: Final = "postgresql"
SQLITE: Final = "sqlite"

TEXT: Final = Text(collation="C").with_variant(Text(), SQLITE)
"""Compared byte by byte: names and ids are no language, and an index of them is a third faster."""
TIME: Final = DateTime(timezone=True)
"""In SQLite the text `2026-11-21 12:00:00.123456`, UTC."""
LEVELS: Final[TypeEngine[Any]] = ARRAY(Double()).with_variant(JSON(), SQLITE)
TEXTS: Final[TypeEngine[Any]] = ARRAY(Text()).with_variant(JSON(), SQLITE)

metadata = MetaData()


def _required(name: str, kind: TypeEngine[Any]) -> Column[Any]:
    return Column(name, kind, nullable=False)


def _numbers(*names: str) -> list[Column[float]]:
    return [Column(name, Double()) for name in names]


def _make_table(name: str, time: str, *columns: Column[Any]) -> Table:
    """Return a table of rows that is filed by the column `time`, with an index on it."""
    table = Table(
        name,
        metadata,
        *columns,
        _required("ordinal", BigInteger()),
        info={"time": time},
        postgresql_partition_by=f"RANGE ({time})",
    )
    Index(f"{name}_time", table.c[time])
    return table


def _clocks() -> list[Column[Any]]:
    return [
        Column("exchange_ts_utc", TIME),
        _required("ingestion_ts_utc", TIME),
        _required("receive_time_ns", BigInteger()),
    ]


TICKS: Final = _make_table(
    "ticks",
    "ts",
    _required("exchange", TEXT),
    _required("symbol", TEXT),
    _required("ts", TIME),
    *_clocks(),
    *_numbers("price", "quantity"),
    Column("side", TEXT),
    Column("trade_id", TEXT),
)

MARKET_TICKS: Final = _make_table(
    "market_ticks",
    "ingestion_ts_utc",
    _required("exchange", TEXT),
    _required("symbol", TEXT),
    *_clocks(),
    *_numbers("last", "bid", "bid_size", "ask", "ask_size", "open", "high", "low", "vwap"),
    *_numbers("base_volume", "quote_volume", "change_percent"),
)

BOOKS: Final = _make_table(
    "books",
    "ingestion_ts_utc",
    _required("exchange", TEXT),
    _required("symbol", TEXT),
    *_clocks(),
    Column("kind", TEXT),
    Column("sequence", BigInteger()),
    Column("previous_sequence", BigInteger()),
    *_numbers("best_bid", "best_ask", "spread_bps"),
    *[_required(name, LEVELS) for name in ("bid_prices", "bid_sizes", "ask_prices", "ask_sizes")],
)

CONNECTION_EVENTS: Final = _make_table(
    "connection_events",
    "ts",
    _required("ts", TIME),
    _required("exchange", TEXT),
    Column("symbol", TEXT),
    Column("channel", TEXT),
    Column("kind", TEXT),
    Column("detail", TEXT),
    Column("count", BigInteger()),
    Column("range_start", TIME),
    Column("range_end", TIME),
    _required("receive_time_ns", BigInteger()),
)

DERIVATIVES: Final = _make_table(
    "derivatives",
    "ingestion_ts_utc",
    _required("exchange", TEXT),
    _required("symbol", TEXT),
    *_clocks(),
    *_numbers("mark_price", "index_price", "funding_rate", "open_interest", "basis"),
)

Index(
    "ticks_key",
    *(TICKS.c[name] for name in ("exchange", "symbol", "ts", "trade_id", "ordinal")),
    unique=True,
    postgresql_nulls_not_distinct=True,
).ddl_if(dialect=POSTGRESQL)
Index(
    "ticks_key",
    *(TICKS.c[name] for name in ("exchange", "symbol", "ts")),
    func.coalesce(TICKS.c.trade_id, ""),
    TICKS.c.ordinal,
    unique=True,
).ddl_if(dialect=SQLITE)
for _table in (MARKET_TICKS, BOOKS, DERIVATIVES):
    Index(
        f"{_table.name}_key",
        *(_table.c[name] for name in ("exchange", "symbol", "ingestion_ts_utc", "ordinal")),
        unique=True,
    )
Index(
    "connection_events_key",
    *(CONNECTION_EVENTS.c[name] for name in ("exchange", "ts", "ordinal")),
    unique=True,
)

ASSETS: Final = Table(
    "assets",
    metadata,
    _required("symbol", TEXT),
    _required("chain", TEXT),
    Column("address", TEXT),
    Column("sector", TEXT),
    Column("risk_tags", TEXTS),
    PrimaryKeyConstraint("symbol", "chain", name="assets_key"),
)

SINK_POSITIONS: Final = Table(
    "sink_positions",
    metadata,
    _required("partition", Integer()),
    _required("stream", TEXT),
    _required("stream_created", TEXT),
    _required("last_sequence", BigInteger()),
    _required("writer_window", TEXT),
    _required("updated_at", TIME),
    PrimaryKeyConstraint("partition", "stream", "stream_created", name="sink_positions_key"),
)

FILED: Final = (TICKS, MARKET_TICKS, BOOKS, CONNECTION_EVENTS, DERIVATIVES)
"""The tables of rows: those that are filed by a time."""
OF_CHANNEL: Final = {"trades": TICKS, "tickers": MARKET_TICKS, "books": BOOKS, "events": CONNECTION_EVENTS}
"""Where the rows of a channel go."""


def get_time_column(table: Table) -> str:
    """Return the name of the column by which a table of rows is filed."""
    name: str = table.info["time"]
    return name


def list_columns(table: Table) -> str:
    """Return the table's columns as a statement names them."""
    return ", ".join(f'"{column.name}"' for column in table.columns)
