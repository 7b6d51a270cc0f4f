"""Sorted rows to row groups of equal size, whatever the sizes in which they come."""

from __future__ import annotations

from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from tickloom_parquet_sink.compaction.arrow import count_up, measure_table

_GROUP_ROWS: Final = 131_072
"""What a reader skips or reads as one, by the range of its symbols and times."""


class RowGroups:
    """Writes tables into one file.

    Args:
        writer: the file.
        bound_bytes: what a row group may take in memory.

    Attributes:
        row_count: rows that were written.
    """

    def __init__(self, writer: pq.ParquetWriter, bound_bytes: int) -> None:
        self._writer = writer
        self._bound_bytes = bound_bytes
        self._rest: pa.Table | None = None
        self.row_count = 0

    def add(self, table: pa.Table) -> None:
        """Write the row groups that are complete."""
        whole = table if self._rest is None else pa.concat_tables([self._rest, table])
        row_bytes = -(-measure_table(whole) // whole.num_rows)
        group_rows = max(1, min(_GROUP_ROWS, self._bound_bytes // row_bytes))
        rest_rows = whole.num_rows % group_rows
        self._write(whole.slice(0, whole.num_rows - rest_rows), group_rows)
        # A copy: a slice would hold the whole table in memory.
        self._rest = whole.take(count_up(whole.num_rows - rest_rows, whole.num_rows)) if rest_rows else None

    def finish(self) -> None:
        """Write the rows that are left."""
        if self._rest is not None:
            self._write(self._rest, self._rest.num_rows)

    def _write(self, table: pa.Table, group_rows: int) -> None:
        if table.num_rows:
            self._writer.write_table(table, row_group_size=group_rows)
            self.row_count += table.num_rows
