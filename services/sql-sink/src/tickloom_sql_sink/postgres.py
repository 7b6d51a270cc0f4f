"""PostgreSQL, with TimescaleDB or without: COPY, and by way of a staging table where rows are there already."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from typing import Any, ClassVar, Final

import psycopg
from sqlalchemy import URL, Connection, Engine, Table, create_engine, event, text

from tickloom_core.errors import PermanentError, TickloomError, TransientError
from tickloom_sql_sink.binary import SIGNATURE, TRAILER, encode_rows
from tickloom_sql_sink.database import Database, NoPartitionError, RefusedRowsError, Removed
from tickloom_sql_sink.hypertables import Hypertables
from tickloom_sql_sink.partitions import NativePartitions, Partitioning
from tickloom_sql_sink.rows import Rows
from tickloom_sql_sink.tables import FILED, TICKS, list_columns

_SCHEMA_LOCK: Final = int.from_bytes(b"tickloom")
"""Key of the advisory lock under which tables and partitions are made."""
_SESSION: Final = "SET timezone = 'UTC'; SET lock_timeout = '10s'; SET statement_timeout = '120s'"
_CONNECTION: Final = {
    "application_name": "tickloom-sql-sink",
    # A plan that the server keeps breaks when another process migrates, and behind some poolers.
    "prepare_threshold": None,
    "connect_timeout": 5,
    # A server that is gone without a word is noticed within seconds.
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}

_SWARM_S: Final = 60.0
"""How long rows go by way of staging after one of them was a repeat."""

_CANCEL_S: Final = 2.0

_NO_PARTITION: Final = "no partition of relation"
_CHECK_VIOLATION: Final = "23514"
_READ_ONLY: Final = "25006"
_REFUSED_ROWS: Final = frozenset({"22", "23", "54"})
"""Classes of SQLSTATE: data exception, integrity violation, a limit exceeded (an index entry that is too long)."""
_PASSING: Final = frozenset({"08", "40", "53", "55", "57", "58", "XX"})
"""Connection, deadlock and serialization, resources, locks, an operator's intervention, the system, the server."""
_LASTING_REFUSALS: Final = (
    "authentication failed",
    "does not exist",
    "no password supplied",
    "no pg_hba.conf entry",
    "permission denied",
)
"""How the server refuses a connection for good; libpq passes on its words, but no SQLSTATE."""


class Postgres(Database):
    """One PostgreSQL database.

    Args:
        engine: see `Database`.
        partition_days: days in one partition, when it is this process that makes it.
    """

    threads: ClassVar = 4
    driver_error: ClassVar = psycopg.Error

    def __init__(self, engine: Engine, partition_days: int) -> None:
        super().__init__(engine)
        self._partition_days = partition_days
        self._staged_until_s: dict[str, float] = {}
        self._partitioning: Partitioning = NativePartitions(partition_days)

    def classify(self, error: BaseException) -> TickloomError:
        """Decide by SQLSTATE: https://www.postgresql.org/docs/current/errcodes-appendix.html."""
        reason = " ".join(str(error).split())
        state = getattr(error, "sqlstate", None) or ""
        if state == _CHECK_VIOLATION and _NO_PARTITION in reason:
            return NoPartitionError(f"{self.place}: {reason}")
        if state[:2] in _REFUSED_ROWS:
            return RefusedRowsError(f"{self.place} refuses rows: {reason}")
        if state[:2] in _PASSING or state == _READ_ONLY:
            return TransientError(f"{self.place} cannot be written at the moment: {reason}")
        is_lasting = state or any(words in reason for words in _LASTING_REFUSALS)
        if is_lasting or not isinstance(error, psycopg.OperationalError):
            return PermanentError(
                f"{self.place} cannot be used: {reason}; check sql_sink.url, sql_sink.password and the user's rights"
            )
        return TransientError(f"{self.place} does not answer: {reason}")

    def lock_schema(self, connection: Connection) -> None:
        """Take the advisory lock of those who make tables and partitions."""
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _SCHEMA_LOCK})

    def settle(self) -> None:
        """Find out whether the tables are partitioned or hypertables: that was decided when they were made."""
        with self.begin() as connection:
            kind = connection.execute(
                text("SELECT relkind::text FROM pg_class WHERE oid = to_regclass(:name)"), {"name": TICKS.name}
            ).scalar()
            if kind != NativePartitions.relation_kind:
                self._partitioning = Hypertables(self._partition_days)
            self._partitioning.adopt(connection, FILED)

    def cancel(self, connection: psycopg.Connection[Any]) -> None:
        """Ask the server to cancel the statement; one that is gone has done so."""
        with suppress(psycopg.Error):
            connection.cancel_safe(timeout=_CANCEL_S)

    def load(self, connection: Connection, table: Table, parts: Iterable[Rows]) -> int:
        """COPY the rows into the table; when one of them is there already, by way of a staging table.

        Going straight in is faster, but one repeat undoes it all; and repeats come in swarms.
        """
        driver: psycopg.Connection[Any] = connection.connection.driver_connection  # type: ignore[assignment]  # psycopg's
        with driver.cursor() as cursor:
            if time.monotonic() >= self._staged_until_s.get(table.name, 0):
                try:
                    with connection.begin_nested():
                        _copy(cursor, table.name, table, parts)
                        return cursor.rowcount
                except psycopg.errors.UniqueViolation:
                    self._staged_until_s[table.name] = time.monotonic() + _SWARM_S
            staging, columns = f"staging_{table.name}", list_columns(table)
            cursor.execute(f"CREATE TEMPORARY TABLE IF NOT EXISTS {staging} (LIKE {table.name}) ON COMMIT DELETE ROWS")
            _copy(cursor, staging, table, parts)
            cursor.execute(
                f"INSERT INTO {table.name} ({columns}) SELECT {columns} FROM {staging} ON CONFLICT DO NOTHING"  # noqa: S608 - our own names
            )
            return cursor.rowcount

    def make_room(self, table: Table, days: Iterable[int]) -> None:
        """Make the partitions that are missing; TimescaleDB makes its chunks by itself."""
        with self.begin() as connection:
            self.lock_schema(connection)
            self._partitioning.make_room(connection, table, days)

    def remove_oldest(self, table: Table, cutoff: datetime) -> Removed | None:
        """Drop a partition, or the chunks, of which every row is older."""
        with self.begin() as connection:
            self.lock_schema(connection)
            return self._partitioning.remove_oldest(connection, table, cutoff)


def open_postgres(url: URL, partition_days: int) -> Postgres:
    """Return the database at `url`; nothing is connected yet."""
    settings = {name: value for name, value in _CONNECTION.items() if name not in url.query}
    engine = create_engine(
        url,
        connect_args=settings,
        pool_size=Postgres.threads,
        max_overflow=0,
        # A connection that a restart of the server has cut is noticed before it is used.
        pool_pre_ping=True,
        use_native_hstore=False,
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: object) -> None:  # noqa: ANN401 - the driver's
        connection.execute(_SESSION)
        connection.commit()

    return Postgres(engine, partition_days)


def _copy(cursor: psycopg.Cursor[Any], target: str, table: Table, parts: Iterable[Rows]) -> None:
    with cursor.copy(f"COPY {target} ({list_columns(table)}) FROM STDIN (FORMAT BINARY)") as copy:
        copy.write(SIGNATURE)
        for rows in parts:
            copy.write(encode_rows(rows))
        copy.write(TRAILER)
