"""The SQL sink's media: a file of SQLite's, and a database of a PostgreSQL server."""

from __future__ import annotations

import json
import sqlite3
from abc import abstractmethod
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import psycopg

from tests.support.media.medium import Medium
from tests.support.postgres import PostgresServer
from tickloom_core.columns import TickerBuffer

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAMES = {"exchange": "exchange", "symbol": "symbol"}
_CLOCKS = {"exchange_time_us": "exchange_ts_utc", "receive_time_ns": "receive_time_ns"}
_SIZES = {"bid_amount": "bid_size", "ask_amount": "ask_size"}
_PLACES: dict[str, tuple[str, dict[str, str]]] = {
    "trades": (
        "ticks",
        {**_NAMES, **_CLOCKS, "price": "price", "amount": "quantity", "side": "side", "trade_id": "trade_id"},
    ),
    "tickers": (
        "market_ticks",
        {**_NAMES, **_CLOCKS, **{name: _SIZES.get(name, name) for name in TickerBuffer.numbers}},
    ),
    "books": (
        "books",
        {
            **_NAMES,
            **_CLOCKS,
            "kind": "kind",
            "sequence": "sequence",
            "previous_sequence": "previous_sequence",
            "bid_price": "bid_prices",
            "bid_amount": "bid_sizes",
            "ask_price": "ask_prices",
            "ask_amount": "ask_sizes",
            "best_bid": "best_bid",
            "best_ask": "best_ask",
        },
    ),
    "events": (
        "connection_events",
        {
            **_NAMES,
            "receive_time_ns": "receive_time_ns",
            "kind": "kind",
            "subject_channel": "channel",
            "detail": "detail",
            "count": "count",
            "range_start_us": "range_start",
            "range_end_us": "range_end",
        },
    ),
}
"""By channel: the table, and the column in which a field stands."""
_LEVELS = frozenset({"bid_price", "bid_amount", "ask_price", "ask_amount"})


class SqlTables(Medium):
    """Tables of a database."""

    package: ClassVar = "tickloom_sql_sink"
    sink: ClassVar = "sql"
    columns: ClassVar = {channel: tuple(fields) for channel, (_, fields) in _PLACES.items()}
    url: str

    def make_settings(self, *, port: int | None = None) -> dict[str, Any]:
        """Return the section of the sink."""
        return {"sql_sink": {"url": self.url}}

    def read_columns(self, channel: str, names: tuple[str, ...]) -> list[tuple[Any, ...]]:
        """Ask for the columns; no rows while the sink has not made its tables."""
        table, fields = _PLACES[channel]
        columns = ", ".join(f'"{fields[name]}"' for name in names)
        is_levels = [channel == "books" and name in _LEVELS for name in names]
        return [
            tuple(_read_value(value, is_levels=levels) for value, levels in zip(row, is_levels, strict=True))
            for row in self.query(f"SELECT {columns} FROM {table}")  # noqa: S608 - names of this module
        ]

    def count_rows(self, channel: str = "trades") -> int:
        """Let the database count."""
        rows = self.query(f"SELECT count(*) FROM {_PLACES[channel][0]}")  # noqa: S608 - likewise
        return int(rows[0][0]) if rows else 0

    @abstractmethod
    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """Return the rows of a statement; none when a table does not exist."""


class SqliteFile(SqlTables):
    """A file, locked by somebody else when it is taken away."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._locker: sqlite3.Connection | None = None
        self.url = f"sqlite:///{path}"

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """Read through a connection of its own."""
        with closing(sqlite3.connect(self._path, timeout=30)) as connection:
            try:
                return connection.execute(statement).fetchall()
            except sqlite3.OperationalError as error:
                if "no such table" in str(error):
                    return []
                raise

    def interrupt(self) -> None:
        """Lock it as somebody does who has begun to write and does not go on."""
        self._locker = sqlite3.connect(self._path, timeout=30, isolation_level=None, check_same_thread=False)
        self._locker.execute("BEGIN IMMEDIATE")

    def restore(self) -> None:
        """Give the lock up."""
        assert self._locker is not None, "it is not interrupted"
        self._locker.rollback()
        self._locker.close()


class PostgresDatabase(SqlTables):
    """A database of a server."""

    def __init__(self, server: PostgresServer, name: str) -> None:
        self._server = server
        self._name = name
        self.server_port = server.port
        self.url = server.make_url(name)

    def make_settings(self, *, port: int | None = None) -> dict[str, Any]:
        """Return the section of the sink."""
        return {"sql_sink": {"url": self.url.replace(str(self.server_port), str(port or self.server_port))}}

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """Read through a connection of its own."""
        with psycopg.connect(self.url, connect_timeout=5) as connection:
            try:
                return connection.execute(statement).fetchall()
            except psycopg.errors.UndefinedTable:
                return []

    def interrupt(self) -> None:
        """Kill the server."""
        self._server.kill()

    def restore(self) -> None:
        """Start it again."""
        self._server.start()


def _read_value(value: Any, *, is_levels: bool) -> Any:
    """Return a value as `describe_rows` has it: times as microseconds, levels as lists."""
    if is_levels and isinstance(value, str):
        return json.loads(value)
    if isinstance(value, str) and len(value) == len("2026-11-21 12:00:00.123456") and value[4] + value[10] == "- ":
        value = datetime.fromisoformat(value).replace(tzinfo=UTC)
    return (value - _EPOCH) // timedelta(microseconds=1) if isinstance(value, datetime) else value
