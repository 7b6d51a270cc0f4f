"""Rows that no database can hold, found before it is asked: all dialects refuse the same."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import DateTime, Text

from tickloom_sql_sink.rows import Rows

_NUL: Final = "\0"
_US_PER_S: Final = 10**6
_FIRST_US: Final = int(datetime(1, 1, 1, tzinfo=UTC).timestamp()) * _US_PER_S
_END_US: Final = (int(datetime(9999, 12, 31, tzinfo=UTC).timestamp()) + 86_400) * _US_PER_S


def find_unwritable(rows: Rows) -> dict[int, str]:
    """Return the rows that cannot be written, each by its index with the reason.

    PostgreSQL has no text with NUL, and SQLite's functions end there; times before the year 1 or after 9999 have no
    common spelling.
    """
    reasons: dict[int, str] = {}
    for column, values in zip(rows.table.columns, rows.columns, strict=True):
        kind = type(column.type)
        if kind is Text and _NUL in "".join(filter(None, values)):
            reasons |= {at: f"{column.name} contains a NUL" for at, text in enumerate(values) if text and _NUL in text}
        elif kind is DateTime and _has_far_time(values):
            reasons |= {
                at: f"{column.name} is {time_us} us from 1970: before the year 1 or after 9999"
                for at, time_us in enumerate(values)
                if time_us is not None and not _FIRST_US <= time_us < _END_US
            }
    return reasons


def _has_far_time(times_us: Sequence[Any]) -> bool:
    known = [time_us for time_us in times_us if time_us is not None] if None in times_us else times_us
    return bool(known) and (min(known) < _FIRST_US or max(known) >= _END_US)
