"""What would be done, as a table for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from tickloom_core.config import CompactionConfig
from tickloom_parquet_sink.compaction.days import Day, find_retention_days
from tickloom_parquet_sink.compaction.retirement import Replaced
from tickloom_parquet_sink.destination import ObjectInfo

_COLUMNS: Final = ("day", "channel", "venue", "would be", "files", "bytes", "rows")


def print_plan(
    days: Sequence[Day], replaced: Sequence[Replaced], orphans: Sequence[ObjectInfo], rules: CompactionConfig
) -> None:
    """Print what would become of which day, and what would be removed, to standard output."""
    lines = [_COLUMNS, *(_describe(day, rules) for day in days)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_COLUMNS))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())  # noqa: T201 - what was asked for
    for sentence in _describe_removal(replaced, orphans):
        print(sentence)  # noqa: T201 - likewise


def _describe(day: Day, rules: CompactionConfig) -> tuple[str, ...]:
    channel, exchange, dt = day.key
    size_bytes, rows = sum(file.bytes for file in day.files), sum(file.rows for file in day.files)
    fate = {
        "compact": f"compacted, generation {day.generation}",
        "expire": f"removed, older than {find_retention_days(rules, channel)} days",
        "leave": "left: not all Parquet",
    }[day.fate]
    left = {"compact": " -> 1", "expire": " -> 0", "leave": ""}[day.fate]
    return dt, channel, exchange, fate, f"{len(day.files):,}{left}", f"{size_bytes:,}", f"{rows:,}"


def _describe_removal(replaced: Sequence[Replaced], orphans: Sequence[ObjectInfo]) -> Iterator[str]:
    files = [file for record in replaced for file in record.files]
    yield (
        f"replaced long enough ago, would be removed: {len(replaced):,} records, {len(files):,} files, "
        f"{sum(file.bytes for file in files):,} bytes"
    )
    yield (
        f"named by no record, would be removed: {len(orphans):,} files, "
        f"{sum(found.size_bytes for found in orphans):,} bytes"
    )
