"""What is to be done with which day: one channel of one venue on one UTC date."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, Literal, cast

from tickloom_core.config import CompactionConfig, StoredChannel
from tickloom_core.errors import ConfigError
from tickloom_core.manifests import Compaction, DataFile, DayKey, Reach
from tickloom_parquet_sink.compaction.catalog import Catalog, find_chunk_files

NS_PER_S: Final = 1_000_000_000
_NS_PER_DAY: Final = 86_400 * NS_PER_S
_READABLE: Final = ".parquet"

Fate = Literal["compact", "expire", "leave"]


@dataclass(frozen=True, slots=True)
class Day:
    """The files of one channel, venue and date, and what becomes of them.

    Attributes:
        fate: `compact` into one file, `expire` because of their age, or `leave` because they are not Parquet.
        current: the compaction that counts now.
        chunks: files of chunks that it does not cover, in the order of the chains.
    """

    key: DayKey
    fate: Fate
    current: Compaction | None
    chunks: tuple[DataFile, ...]

    @property
    def files(self) -> tuple[DataFile, ...]:
        """Return what holds the rows now, what was compacted before first."""
        return (*(self.current.files if self.current else ()), *self.chunks)

    @property
    def generation(self) -> int:
        """Return the generation that comes next."""
        return self.current.generation + 1 if self.current else 1


def plan_days(catalog: Catalog, rules: CompactionConfig, now_ns: int) -> list[Day]:
    """Return the closed days of which something is to be done, by date, channel and venue."""
    chunks, current = find_chunk_files(catalog), catalog.current
    days = []
    for key in sorted(chunks.keys() | current.keys(), key=lambda key: (key[2], key)):
        if not is_closed(key[2], rules, now_ns):
            continue
        found = Day(key, "compact", current.get(key), tuple(chunks.get(key, ())))
        fate = _choose_fate(found, rules, now_ns)
        if fate is not None:
            days.append(Day(key, fate, found.current, found.chunks))
    return days


def is_closed(dt: str, rules: CompactionConfig, now_ns: int) -> bool:
    """Say whether a date is so far past that hardly a row of it is still to come."""
    return now_ns >= _find_end_ns(dt) + int(rules.closed_after_s * NS_PER_S)


def check_days(dates: Iterable[str], rules: CompactionConfig, now_ns: int) -> None:
    """Refuse dates that cannot be compacted yet.

    Raises:
        ConfigError: one of them is no date, or not closed.
    """
    for dt in dates:
        try:
            is_over = is_closed(dt, rules, now_ns)
        except ValueError as error:
            raise ConfigError(f"expected dates such as 2026-11-20, found `{dt}`", place="--days") from error
        if not is_over:
            raise ConfigError(
                f"{dt} is closed {rules.closed_after_s:g} s (compaction.closed_after_s) after its end in UTC, "
                "which is still to come",
                place="--days",
            )


def extend_reach(catalog: Catalog, current: Compaction | None) -> tuple[Reach, ...]:
    """Return how far a compaction of all files of this catalog covers the chains; never less than the one before."""
    ends = dict(catalog.ends)
    for reach in current.through if current else ():
        chain = reach.partition, reach.stream
        ends[chain] = max(reach.last_sequence, ends.get(chain, 0))
    return tuple(Reach(partition, stream, last) for (partition, stream), last in sorted(ends.items()))


def find_retention_days(rules: CompactionConfig, channel: str) -> int | None:
    """Return how long days of a channel are kept; None means for ever."""
    return rules.retention_days.get(cast("StoredChannel", channel))


def _choose_fate(day: Day, rules: CompactionConfig, now_ns: int) -> Fate | None:
    if not day.files:
        return None
    kept_days = find_retention_days(rules, day.key[0])
    if kept_days is not None and now_ns >= _find_end_ns(day.key[2]) + kept_days * _NS_PER_DAY:
        return "expire"
    if not day.chunks:
        return None
    is_readable = all(file.path.endswith(_READABLE) for file in day.files)
    return "compact" if is_readable else "leave"


def _find_end_ns(dt: str) -> int:
    end = datetime.combine(date.fromisoformat(dt), time(tzinfo=UTC)) + timedelta(days=1)
    return int(end.timestamp()) * NS_PER_S
