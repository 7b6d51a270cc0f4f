"""What is asked of Arrow tables in several rooms, and what the stubs of pyarrow do not know yet."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc


def measure_table(table: pa.Table) -> int:
    """Return the bytes that the rows of a table take, without the dictionaries that they may share with others."""
    return sum(
        table.num_rows * column.type.index_type.bit_width // 8 if pa.types.is_dictionary(column.type) else column.nbytes
        for column in table.columns
    )


def join_tables(tables: Iterable[pa.Table]) -> pa.Table:
    """Return the rows of tables of one schema, with one chunk a column and one dictionary where there is one."""
    return pa.concat_tables(tables).unify_dictionaries().combine_chunks()


def count_up(start: int, end: int, step: int = 1) -> pa.Int64Array:
    """Return the numbers from `start` to before `end`."""
    numbers: pa.Int64Array = pa.arange(start, end, step)  # type: ignore[attr-defined]  # younger than the stubs
    return numbers


def find_ranges(bounds: pa.Array[Any] | pa.ChunkedArray[Any], values: pa.ChunkedArray[Any]) -> pa.ChunkedArray[Any]:
    """Return for each value how many of the sorted bounds are not above it."""
    found: pa.ChunkedArray[Any] = pc.search_sorted(bounds, values, side="right")  # type: ignore[attr-defined]  # likewise
    return found
