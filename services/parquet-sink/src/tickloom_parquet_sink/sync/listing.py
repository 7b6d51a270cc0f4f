"""What a dry run prints."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

from tickloom_parquet_sink.sync.departure import Departure
from tickloom_parquet_sink.sync.source import Commit, Source
from tickloom_parquet_sink.sync.survey import Backlog


def print_backlog(source: Source, backlog: Backlog, departure: Departure | None) -> None:
    """Print what would be sent, and what is old enough to be removed once it is confirmed."""
    print(f"{'from':<24}{'records':>10}{'files':>10}{'megabytes':>12}")  # noqa: T201 - what the user asked for
    for partition, links in sorted(backlog.chunks.items()):
        _print_row(f"partition {partition}", (source.read_chunk(link.path) for link in links))
    _print_row("compactions", (source.read_day(path) for path in backlog.compactions))
    if departure is not None:
        chunks = (source.read_chunk(link.path) for link in departure.find_due_chunks())
        _print_row("to be removed here", chain(chunks, *departure.find_due_compactions()))


def _print_row(title: str, commits: Iterable[Commit | None]) -> None:
    records = files = size_bytes = 0
    for commit in commits:
        if commit is not None:
            records += 1
            files += len(commit.files)
            size_bytes += sum(file.bytes for file in commit.files)
    print(f"{title:<24}{records:>10}{files:>10}{size_bytes / 1e6:>12.3f}")  # noqa: T201 - what the user asked for
