"""TimescaleDB's hypertables: chunks are made by the extension, and dropped as a whole when they are old."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, Table, text

from tickloom_sql_sink.database import Removed

_OLD_CHUNKS: Final = text(
    "SELECT min(range_start) AS first, max(range_end) AS last FROM timescaledb_information.chunks "
    "WHERE hypertable_name = :table AND hypertable_schema = current_schema() AND range_end <= :cutoff"
)
_SET_WIDTH: Final = text("SELECT set_chunk_time_interval(CAST(:table AS regclass), CAST(:width AS interval))")
_DROP: Final = text("SELECT drop_chunks(CAST(:table AS regclass), older_than => CAST(:cutoff AS timestamptz))")


class Hypertables:
    """Chunks of TimescaleDB.

    Args:
        width_days: days in a chunk that is made from now on; those that exist stay as they are.
    """

    def __init__(self, width_days: int) -> None:
        self._width = timedelta(days=width_days)

    def adopt(self, connection: Connection, tables: Iterable[Table]) -> None:
        """Tell the extension how wide new chunks are."""
        for table in tables:
            connection.execute(_SET_WIDTH, {"table": table.name, "width": self._width})

    def make_room(self, connection: Connection, table: Table, days: Iterable[int]) -> None:
        """Do nothing: the extension makes a chunk for rows of any time."""

    def remove_oldest(self, connection: Connection, table: Table, cutoff: datetime) -> Removed | None:
        """Drop all chunks of which every row is older."""
        names = {"table": table.name, "cutoff": cutoff}
        old = connection.execute(_OLD_CHUNKS, names).one()
        if old.first is None:
            return None
        connection.execute(_DROP, names)
        return Removed(None, old.first, old.last)
