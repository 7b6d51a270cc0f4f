"""Native range partitions of PostgreSQL: made before they are needed, dropped as a whole when they are old."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import ClassVar, Final, Protocol

from sqlalchemy import Connection, Table, text

from tickloom_sql_sink.database import Removed

_EPOCH: Final = date(1970, 1, 1)
_BOUNDS: Final = re.compile(r"FROM \('(\d+-\d\d-\d\d)[^']*'\) TO \('(\d+-\d\d-\d\d)[^']*'\)")
_LIST: Final = text(
    "SELECT child.relname AS name, pg_get_expr(child.relpartbound, child.oid) AS bounds, child.reltuples AS row_count "
    "FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid WHERE inhparent = to_regclass(:table)"
)
_DROP_PATIENCE: Final = "SET LOCAL lock_timeout = '2s'"
"""Whoever waits for the lock that DROP needs holds up all who read or write the table."""


class Partitioning(Protocol):
    """How the tables of rows are cut by time."""

    def adopt(self, connection: Connection, tables: Iterable[Table]) -> None:
        """Prepare tables that were made by whatever process."""

    def make_room(self, connection: Connection, table: Table, days: Iterable[int]) -> None:
        """Make sure that rows of these days, counted from 1970-01-01, have a place."""

    def remove_oldest(self, connection: Connection, table: Table, cutoff: datetime) -> Removed | None:
        """Remove a piece of which every row is older than `cutoff`; None when there is none."""


@dataclass(frozen=True, slots=True, order=True)
class Partition:
    """One partition: the days from `first` to before `end`, counted from 1970-01-01."""

    first: int
    end: int
    name: str
    row_count: int | None


class NativePartitions:
    """Range partitions.

    Args:
        width_days: days in a partition that is made from now on; those that exist stay as they are.
    """

    relation_kind: ClassVar = "p"

    def __init__(self, width_days: int) -> None:
        self._width_days = width_days

    def adopt(self, connection: Connection, tables: Iterable[Table]) -> None:
        """Do nothing: partitions are made one by one."""

    def make_room(self, connection: Connection, table: Table, days: Iterable[int]) -> None:
        """Make the partitions that are missing, each attached in a way that neither readers nor writers wait."""
        partitions = list_partitions(connection, table)
        for day in sorted(set(days)):
            if any(partition.first <= day < partition.end for partition in partitions):
                continue
            first, end = self._find_gap(day, partitions)
            name = f"{table.name}_{_format_day(first).replace('-', '')}"
            connection.execute(text(f"CREATE TABLE {name} (LIKE {table.name} INCLUDING ALL EXCLUDING INDEXES)"))
            connection.execute(
                text(
                    f"ALTER TABLE {table.name} ATTACH PARTITION {name} "
                    f"FOR VALUES FROM ('{_format_day(first)} 00:00+00') TO ('{_format_day(end)} 00:00+00')"
                )
            )
            partitions.append(Partition(first, end, name, None))

    def remove_oldest(self, connection: Connection, table: Table, cutoff: datetime) -> Removed | None:
        """Drop the oldest partition, when every row in it is older."""
        oldest = min(list_partitions(connection, table), default=None)
        if oldest is None or _to_time(oldest.end) > cutoff:
            return None
        connection.execute(text(_DROP_PATIENCE))
        connection.execute(text(f"DROP TABLE {oldest.name}"))
        return Removed(oldest.row_count, _to_time(oldest.first), _to_time(oldest.end))

    def _find_gap(self, day: int, partitions: Iterable[Partition]) -> tuple[int, int]:
        """Return the range of a new partition around `day`: the width may have been another one before."""
        first = day - day % self._width_days
        end = first + self._width_days
        for partition in partitions:
            if partition.end <= day:
                first = max(first, partition.end)
            if partition.first > day:
                end = min(end, partition.first)
        return first, end


def list_partitions(connection: Connection, table: Table) -> list[Partition]:
    """Return the partitions of a table."""
    partitions = []
    for row in connection.execute(_LIST, {"table": table.name}):
        found = _BOUNDS.search(row.bounds)
        if found is not None:
            row_count = int(row.row_count) if row.row_count >= 0 else None
            partitions.append(Partition(_parse_day(found[1]), _parse_day(found[2]), row.name, row_count))
    return partitions


def _parse_day(spelled: str) -> int:
    return (date.fromisoformat(spelled) - _EPOCH).days


def _format_day(day: int) -> str:
    return (_EPOCH + timedelta(days=day)).isoformat()


def _to_time(day: int) -> datetime:
    return datetime.combine(_EPOCH + timedelta(days=day), time(), UTC)
