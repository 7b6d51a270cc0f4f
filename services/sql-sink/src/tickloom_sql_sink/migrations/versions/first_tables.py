"""Make the tables of rows, of assets and of positions.

Where the extension timescaledb is created in the database, the tables of rows become hypertables; elsewhere on
PostgreSQL they are partitioned. That stays so for their life.
"""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TEXT: Final = sa.Text(collation="C").with_variant(sa.Text(), "sqlite")
_TIME: Final = sa.DateTime(timezone=True)
_INT: Final = sa.BigInteger()
_NUMBER: Final[sa.Double[float]] = sa.Double()
_LEVELS: Final[sa.types.TypeEngine[Any]] = ARRAY(sa.Double()).with_variant(sa.JSON(), "sqlite")
_TEXTS: Final[sa.types.TypeEngine[Any]] = ARRAY(sa.Text()).with_variant(sa.JSON(), "sqlite")


def upgrade() -> None:
    """Make them."""
    _make_filed(
        "ticks",
        "ts",
        [
            *_require(_TEXT, "exchange symbol"),
            *_require(_TIME, "ts"),
            *_make_clocks(),
            *_allow(_NUMBER, "price quantity"),
            *_allow(_TEXT, "side trade_id"),
        ],
    )
    _make_filed(
        "market_ticks",
        "ingestion_ts_utc",
        [
            *_require(_TEXT, "exchange symbol"),
            *_make_clocks(),
            *_allow(_NUMBER, "last bid bid_size ask ask_size open high low vwap"),
            *_allow(_NUMBER, "base_volume quote_volume change_percent"),
        ],
    )
    _make_filed(
        "books",
        "ingestion_ts_utc",
        [
            *_require(_TEXT, "exchange symbol"),
            *_make_clocks(),
            *_allow(_TEXT, "kind"),
            *_allow(_INT, "sequence previous_sequence"),
            *_allow(_NUMBER, "best_bid best_ask spread_bps"),
            *_require(_LEVELS, "bid_prices bid_sizes ask_prices ask_sizes"),
        ],
    )
    _make_filed(
        "connection_events",
        "ts",
        [
            *_require(_TIME, "ts"),
            *_require(_TEXT, "exchange"),
            *_allow(_TEXT, "symbol channel kind detail"),
            *_allow(_INT, "count"),
            *_allow(_TIME, "range_start range_end"),
            *_require(_INT, "receive_time_ns"),
        ],
    )
    _make_filed(
        "derivatives",
        "ingestion_ts_utc",
        [
            *_require(_TEXT, "exchange symbol"),
            *_make_clocks(),
            *_allow(_NUMBER, "mark_price index_price funding_rate open_interest basis"),
        ],
    )
    _make_keys()
    op.create_table(
        "assets",
        *_require(_TEXT, "symbol chain"),
        *_allow(_TEXT, "address sector"),
        *_allow(_TEXTS, "risk_tags"),
        sa.PrimaryKeyConstraint("symbol", "chain", name="assets_key"),
    )
    op.create_table(
        "sink_positions",
        *_require(sa.Integer(), "partition"),
        *_require(_TEXT, "stream stream_created"),
        *_require(_INT, "last_sequence"),
        *_require(_TEXT, "writer_window"),
        *_require(_TIME, "updated_at"),
        sa.PrimaryKeyConstraint("partition", "stream", "stream_created", name="sink_positions_key"),
    )


def _make_filed(name: str, time: str, columns: list[sa.Column[Any]]) -> None:
    """Make a table of rows that is filed by the column `time`."""
    has_timescaledb = _has_timescaledb()
    options: dict[str, Any] = {} if has_timescaledb else {"postgresql_partition_by": f"RANGE ({time})"}
    op.create_table(name, *columns, *_require(_INT, "ordinal"), **options)
    if has_timescaledb:
        op.execute(f"SELECT create_hypertable('{name}', '{time}', create_default_indexes => false)")
    op.create_index(f"{name}_time", name, [time])


def _make_keys() -> None:
    if op.get_bind().dialect.name == "postgresql":
        key = ["exchange", "symbol", "ts", "trade_id", "ordinal"]
        op.create_index("ticks_key", "ticks", key, unique=True, postgresql_nulls_not_distinct=True)
    else:
        expressions: list[str | sa.TextClause] = [
            "exchange",
            "symbol",
            "ts",
            sa.text("coalesce(trade_id, '')"),
            "ordinal",
        ]
        op.create_index("ticks_key", "ticks", expressions, unique=True)
    for name in ("market_ticks", "books", "derivatives"):
        op.create_index(f"{name}_key", name, ["exchange", "symbol", "ingestion_ts_utc", "ordinal"], unique=True)
    op.create_index("connection_events_key", "connection_events", ["exchange", "ts", "ordinal"], unique=True)


def _has_timescaledb() -> bool:
    connection = op.get_bind()
    if connection.dialect.name != "postgresql":
        return False
    return bool(connection.scalar(sa.text("SELECT true FROM pg_extension WHERE extname = 'timescaledb'")))


def _make_clocks() -> list[sa.Column[Any]]:
    return [
        *_allow(_TIME, "exchange_ts_utc"),
        *_require(_TIME, "ingestion_ts_utc"),
        *_require(_INT, "receive_time_ns"),
    ]


def _require(kind: sa.types.TypeEngine[Any], names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, kind, nullable=False) for name in names.split()]


def _allow(kind: sa.types.TypeEngine[Any], names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, kind) for name in names.split()]
