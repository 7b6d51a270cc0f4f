"""SQLite: one file, one writer, nothing to install."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, Final

import msgspec
from sqlalchemy import (
    URL,
    ColumnClause,
    Connection,
    DateTime,
    Table,
    create_engine,
    delete,
    event,
    func,
    literal_column,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY

from tickloom_core.errors import PermanentError, TickloomError, TransientError
from tickloom_sql_sink.database import Database, RefusedRowsError, Removed
from tickloom_sql_sink.rows import Rows
from tickloom_sql_sink.tables import get_time_column, list_columns

_BUSY_TIMEOUT_S: Final = 5.0
_SLICE_ROWS: Final = 10_000
_PRAGMAS: Final = (
    "PRAGMA journal_mode = WAL",
    # NORMAL would lose the newest transactions in a power cut, and their messages are acknowledged and gone.
    "PRAGMA synchronous = FULL",
    "PRAGMA journal_size_limit = 67108864",
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_REFUSED_ROWS: Final = frozenset({sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_TOOBIG})
_PASSING: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_SCHEMA,
    }
)
_PRIMARY: Final = 0xFF
"""The low byte of an extended error code is the primary one."""


class Sqlite(Database):
    """One file of SQLite."""

    threads: ClassVar = 1
    driver_error: ClassVar = sqlite3.Error

    def classify(self, error: BaseException) -> TickloomError:
        """Decide by the result code: https://www.sqlite.org/rescode.html."""
        reason = str(error)
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & _PRIMARY
        if code in _REFUSED_ROWS or isinstance(error, sqlite3.DataError | OverflowError):
            return RefusedRowsError(f"{self.place} refuses rows: {reason}")
        if code in _PASSING:
            hint = "; free some space" if code == sqlite3.SQLITE_FULL else ""
            return TransientError(f"{self.place} cannot be written at the moment: {reason}{hint}")
        return PermanentError(
            f"{self.place} cannot be used: {reason}; give this user write permission there, or name another file in "
            "sql_sink.url"
        )

    def lock_schema(self, connection: Connection) -> None:
        """Do nothing: every transaction is the only one that writes."""

    def settle(self) -> None:
        """Do nothing: there is one way in which the tables can be made."""

    def cancel(self, connection: sqlite3.Connection) -> None:
        """Interrupt the statement."""
        connection.interrupt()

    def load(self, connection: Connection, table: Table, parts: Iterable[Rows]) -> int:
        """Insert row by row, in one statement a part."""
        marks = ", ".join("?" for _ in table.columns)
        statement = f"INSERT INTO {table.name} ({list_columns(table)}) VALUES ({marks}) ON CONFLICT DO NOTHING"  # noqa: S608 - our own names
        driver: sqlite3.Connection = connection.connection.driver_connection  # type: ignore[assignment]  # sqlite3's
        return sum(driver.executemany(statement, _spell(rows)).rowcount for rows in parts)

    def make_room(self, table: Table, days: Iterable[int]) -> None:
        """Do nothing: a table is one piece."""

    def remove_oldest(self, table: Table, cutoff: datetime) -> Removed | None:
        """Delete some of the oldest rows; all at once would hold up the writing for too long."""
        time = table.c[get_time_column(table)]
        rowid: ColumnClause[int] = literal_column("rowid")
        oldest = select(rowid).select_from(table).where(time < cutoff).order_by(time).limit(_SLICE_ROWS)
        with self.begin() as connection:
            first, last = connection.execute(select(func.min(time), func.max(time)).where(rowid.in_(oldest))).one()
            if first is None:
                return None
            deleted = connection.execute(delete(table).where(rowid.in_(oldest)))
            return Removed(deleted.rowcount, first.replace(tzinfo=UTC), last.replace(tzinfo=UTC))


def open_sqlite(url: URL) -> Sqlite:
    """Return the database in the file that `url` names.

    Raises:
        PermanentError: its folder cannot be made.
    """
    folder = Path(url.database or "").parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PermanentError(
            f"{folder} cannot be made: {error.strerror}; give this user write permission there, or name another file "
            "in sql_sink.url"
        ) from error
    engine = create_engine(
        url,
        connect_args={"check_same_thread": False, "timeout": _BUSY_TIMEOUT_S, "isolation_level": None},
        pool_size=Sqlite.threads,
        max_overflow=0,
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _: object) -> None:
        for pragma in _PRAGMAS:
            connection.execute(pragma)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # Locked from the start: a transaction that reads first and writes then cannot wait for another writer.
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return Sqlite(engine)


def _spell(rows: Rows) -> Iterable[tuple[Any, ...]]:
    columns = zip(rows.table.columns, rows.columns, strict=True)
    return zip(*[_SPELLERS.get(type(column.type), _keep)(values) for column, values in columns], strict=True)


def _keep(values: Sequence[Any]) -> Sequence[Any]:
    return values


def _spell_times(times_us: Sequence[int | None]) -> list[str | None]:
    return [None if time_us is None else _spell_time(time_us) for time_us in times_us]


def _spell_levels(rows: Sequence[Sequence[float | None]]) -> list[str]:
    return [msgspec.json.encode(levels).decode() for levels in rows]


_SPELLERS: Final[dict[type[Any], Callable[[Sequence[Any]], Sequence[Any]]]] = {
    ARRAY: _spell_levels,
    DateTime: _spell_times,
}


def _spell_time(time_us: int) -> str:
    """Return a time as SQLite's own functions and SQLAlchemy read it."""
    return (_EPOCH + timedelta(microseconds=time_us)).strftime("%Y-%m-%d %H:%M:%S.%f")
