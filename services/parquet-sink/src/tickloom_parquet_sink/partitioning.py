"""How the rows of a chunk are divided into files, and how their folders are called.

A file never mixes channels, venues or UTC days; the columns of the layout divide further, and become folders as Hive
names them. All rows of a chunk that belong together are in one file. A writer that takes row after row has to hold a
file open for each symbol, and to close some when there are too many: of 25,000 trades of 1,000 symbols 350 open files
would make 16,000. This one sorts first, and then has each file open once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Self, cast
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc

from tickloom_core.config import LayoutColumn

_NULL: Final = "__HIVE_DEFAULT_PARTITION__"
_NS_PER_S: Final = 10**9
_NS_PER_HOUR: Final = 3600 * _NS_PER_S
_NS_PER_DAY: Final = 24 * _NS_PER_HOUR
_TIME_FORMATS: Final[dict[str, str]] = {"dt": "%Y-%m-%d", "year": "%Y", "month": "%m", "day": "%d", "hour": "%H"}


@dataclass(frozen=True, slots=True)
class Part:
    """The rows of one chunk that go into one file.

    Attributes:
        day: UTC date of the receive time, as `2026-11-21`.
        folder: where the file stands, relative to the root.
        table: in the order of the stream, of the channel's schema.
    """

    channel: str
    exchange: str
    day: str
    folder: str
    table: pa.Table


@dataclass(frozen=True, slots=True)
class Layout:
    """Which columns become folders, in which order."""

    columns: tuple[LayoutColumn, ...] = ("exchange", "dt")

    def divide(self, channel: str, exchange: str, table: pa.Table) -> list[Part]:
        """Return the rows of one channel and venue, a part for every file, in the order of folders and days."""
        slot_ns = _NS_PER_HOUR if "hour" in self.columns else _NS_PER_DAY
        ends = pc.min_max(table["receive_time_ns"])
        first, last = (ends[name].as_py() // slot_ns for name in ("min", "max"))
        if first == last and "symbol" not in self.columns:
            return [self._name(channel, exchange, None, first * slot_ns, table)]
        slots = _Labels.from_times(table["receive_time_ns"], slot_ns)
        symbols = _Labels.from_names(table["symbol"]) if "symbol" in self.columns else _Labels.same(table.num_rows)
        parts = [
            self._name(channel, exchange, symbol, slot * slot_ns, _keep_used_symbols(rows) if symbol else rows)
            for symbol, slot, rows in _group(table, symbols, slots)
        ]
        return sorted(parts, key=lambda part: (part.folder, part.day))

    def _name(self, channel: str, exchange: str, symbol: str | None, start_ns: int, table: pa.Table) -> Part:
        start = datetime.fromtimestamp(start_ns // _NS_PER_S, UTC)
        values = {column: start.strftime(form) for column, form in _TIME_FORMATS.items()}
        # Names come from the bus: quoted, they can be no other folder.
        values |= {"exchange": quote(exchange, safe=""), "symbol": _NULL if symbol is None else quote(symbol, safe="")}
        folders = [f"{column}={values[column]}" for column in self.columns]
        return Part(channel, exchange, values["dt"], "/".join([channel, *folders]), table)


DEFAULT_LAYOUT: Final = Layout()


@dataclass(frozen=True, slots=True)
class _Labels:
    """What divides rows: the number of a value for each row, and the values by number."""

    numbers: pa.Array[Any]
    values: Sequence[Any]

    @classmethod
    def from_times(cls, times: pa.ChunkedArray[Any], slot_ns: int) -> Self:
        """Label times in ns by the hour or day since 1970 in which they lie."""
        into = pc.divide(times, slot_ns)
        # Division is towards 0, also of what lies before it.
        slots = pc.subtract(into, pc.less(times, pc.multiply(into, slot_ns)).cast(pa.int64()))
        return cls.from_names(cast("pa.ChunkedArray[Any]", slots.dictionary_encode()))

    @classmethod
    def from_names(cls, names: pa.ChunkedArray[Any]) -> Self:
        """Label the values of a dictionary column, null as the last."""
        whole = cast("pa.DictionaryArray[Any, Any]", names.combine_chunks())
        return cls(
            whole.indices.cast(pa.int64()).fill_null(len(whole.dictionary)), [*whole.dictionary.to_pylist(), None]
        )

    @classmethod
    def same(cls, row_count: int) -> Self:
        """Label all rows alike."""
        return cls(pa.repeat(pa.scalar(0, pa.int64()), row_count), [None])


def _group(table: pa.Table, symbols: _Labels, slots: _Labels) -> Iterator[tuple[str | None, int, pa.Table]]:
    """Yield symbol, slot and rows of each group that has any; the rows of a group keep their order."""
    groups = pc.add(pc.multiply(symbols.numbers, len(slots.values)), slots.numbers)
    ordered = table.take(pc.sort_indices(groups))
    found, counts = (cast("list[int]", column.to_pylist()) for column in pc.value_counts(groups).flatten())
    start = 0
    for group, count in sorted(zip(found, counts, strict=True)):
        symbol, slot = divmod(group, len(slots.values))
        yield symbols.values[symbol], slots.values[slot], ordered.slice(start, count)
        start += count


def _keep_used_symbols(rows: pa.Table) -> pa.Table:
    """Return the rows without the symbols of all others, which the file would carry along."""
    place = rows.schema.get_field_index("symbol")
    used = rows["symbol"].cast(pa.string()).dictionary_encode()
    return rows.set_column(place, rows.schema.field(place), used)
