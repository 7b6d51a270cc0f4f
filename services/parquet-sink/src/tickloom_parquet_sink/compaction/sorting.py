"""The rows of one day in order, however many there are.

Sorted by symbol, then by time (the venue's, or that of receipt where the venue gives none), then by time of receipt,
then as they came. Trades whose id was received before are left out: ids are compared within a symbol, a trade without
one is never a repeat, and of several with one id the one that was received first stays.

What does not fit into memory is set aside on disk and divided until it does: by ranges of symbols first; one symbol
that is too large alone by ranges of its ids, so that repeats meet whatever their times say, and what is left of it by
ranges of time. The ranges follow each other as the rows of the output do, so that each is sorted alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeAlias, cast

import pyarrow as pa
import pyarrow.compute as pc

from tickloom_parquet_sink.compaction.arrow import count_up, find_ranges, join_tables, measure_table
from tickloom_parquet_sink.compaction.spill import Pile, Spill

_POSITION: Final = "_position"
"""The number of a row as it came; it goes when the rows are sorted."""
_TRADE_ID: Final = "trade_id"
_COPIES: Final = 8
"""How often rows are held at once, measured: as read, joined, as keys, hashed, in order, and by whoever takes them."""
_SAMPLE_ROWS: Final = 10_000
_NS_PER_US: Final = 1000

_Column: TypeAlias = "pa.ChunkedArray[Any]"
_ReadKey: TypeAlias = "Callable[[pa.Table], _Column]"


class DaySort:
    """Sorts the rows of one channel, venue and day, once.

    Args:
        spill: where rows wait that do not fit into memory.
        memory_bytes: about how much may be held at once.

    Attributes:
        rows_read: rows that were taken.
        repeated: trades that were left out as repeats.
    """

    def __init__(self, spill: Spill, memory_bytes: int) -> None:
        self._spill = spill
        self._part_bytes = max(1, memory_bytes // _COPIES)
        self.rows_read = 0
        self.repeated = 0

    def sort(self, tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
        """Yield all rows in order; the tables that are given and those that are yielded have one schema."""
        pile = self._spill.make_pile()
        for part in self._gather(tables):
            if not pile.row_count and measure_table(part) < self._part_bytes:
                yield self._arrange(self._drop_repeats(part))
                return
            pile.append(part)
        if pile.row_count:
            yield from self._sort_symbols(pile)

    def _gather(self, tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
        """Join tables to parts that fit into memory, and number the rows."""
        waiting: list[pa.Table] = []
        size_bytes = 0
        for table in tables:
            positions = count_up(self.rows_read, self.rows_read + table.num_rows)
            self.rows_read += table.num_rows
            waiting.append(table.append_column(_POSITION, positions))
            size_bytes += measure_table(table)
            if size_bytes >= self._part_bytes:
                waiting, size_bytes = [join_tables(waiting)], 0
                yield waiting.pop()
        if waiting:
            yield join_tables(waiting)

    def _sort_symbols(self, pile: Pile) -> Iterator[pa.Table]:
        """Sort a pile that holds all rows of its symbols."""
        if pile.size_bytes <= self._part_bytes:
            yield self._arrange(self._drop_repeats(_take(pile)))
        elif len(pile.symbols) > 1:
            for part in self._divide(pile, _make_symbol_reader(self._group_symbols(pile))):
                yield from self._sort_symbols(part)
        else:
            yield from self._sort_times(self._drop_repeats_of_symbol(pile))

    def _sort_times(self, pile: Pile) -> Iterator[pa.Table]:
        """Sort a pile of one symbol without repeats."""
        for part in self._divide_evenly(pile, _read_time):
            yield self._arrange(_take(part))

    def _drop_repeats_of_symbol(self, pile: Pile) -> Pile:
        """Return a pile of one symbol without its repeats; its rows no longer stand as they came."""
        if _TRADE_ID not in pile.names:
            return pile
        kept = self._spill.make_pile()
        for part in self._divide_evenly(pile, _read_trade_id):
            kept.append(self._drop_repeats(_take(part)))
        return kept

    def _drop_repeats(self, table: pa.Table) -> pa.Table:
        """Leave out trades whose id was received before; the table holds all rows of the ids that are in it."""
        if _TRADE_ID not in table.column_names:
            return table
        by_receipt = pc.sort_indices(table, sort_keys=[("receive_time_ns", "ascending"), (_POSITION, "ascending")])
        keys = pa.Table.from_arrays(
            [_rank_symbols(table).take(by_receipt), table[_TRADE_ID].take(by_receipt), count_up(0, table.num_rows)],
            names=["symbol", _TRADE_ID, "number"],
        )
        keys = keys.filter(pc.is_valid(keys[_TRADE_ID]))
        firsts = keys.group_by(["symbol", _TRADE_ID]).aggregate([("number", "min")])
        repeated = keys.num_rows - firsts.num_rows
        if not repeated:
            return table
        self.repeated += repeated
        is_repeat = pc.invert(pc.is_in(keys["number"], value_set=firsts["number_min"]))
        repeats = by_receipt.take(keys["number"].filter(is_repeat))
        return table.filter(pc.invert(pc.is_in(count_up(0, table.num_rows), value_set=repeats)))

    def _arrange(self, table: pa.Table) -> pa.Table:
        """Return the rows in the order of the output."""
        keys = pa.Table.from_arrays(
            [_rank_symbols(table), _read_time(table), table["receive_time_ns"], table[_POSITION]],
            names=["symbol", "time", "receipt", "position"],
        )
        order = pc.sort_indices(keys, sort_keys=[(name, "ascending") for name in keys.column_names])
        return table.drop_columns([_POSITION]).take(order)

    def _group_symbols(self, pile: Pile) -> list[list[str | None]]:
        """Return the symbols of a pile in order, together while their rows fit into memory."""
        bound_rows = pile.row_count * self._part_bytes // pile.size_bytes
        groups: list[list[str | None]] = []
        row_count = bound_rows
        for symbol in sorted(pile.symbols, key=_key_symbol):
            if row_count + pile.symbols[symbol] > bound_rows:
                groups.append([])
                row_count = 0
            groups[-1].append(symbol)
            row_count += pile.symbols[symbol]
        return groups

    def _divide_evenly(self, pile: Pile, read_key: _ReadKey) -> Iterator[Pile]:
        """Divide a pile into ranges of a key that fit into memory, as far as a sample of its rows tells them."""
        count = -(-pile.size_bytes // self._part_bytes)
        if count <= 1:
            yield pile
            return
        step = -(-pile.row_count // _SAMPLE_ROWS)
        samples = [read_key(table).take(count_up(0, table.num_rows, step)) for table in pile.read()]
        keys = pa.chunked_array([chunk for sample in samples for chunk in sample.chunks])
        quantiles = pa.array([len(keys) * number // count for number in range(1, count)])
        bounds = pc.unique(keys.take(pc.sort_indices(keys)).take(quantiles))
        yield from self._divide(pile, lambda table: find_ranges(bounds, read_key(table)))

    def _divide(self, pile: Pile, number_rows: _ReadKey) -> Iterator[Pile]:
        """Yield the rows of a pile as one pile a number, by number; the pile itself is used up."""
        parts: dict[int, Pile] = {}
        for table in pile.read():
            numbers = number_rows(table)
            ordered = table.take(pc.sort_indices(numbers))
            start = 0
            for number, row_count in sorted(_count_values(numbers).items()):
                if number not in parts:
                    parts[number] = self._spill.make_pile()
                parts[number].append(ordered.slice(start, row_count))
                start += row_count
        pile.remove()
        yield from (parts[number] for number in sorted(parts))


def _take(pile: Pile) -> pa.Table:
    """Return the rows of a pile, which is used up."""
    table = join_tables(pile.read())
    pile.remove()
    return table


def _read_time(table: pa.Table) -> _Column:
    """Return the venue's time, or that of receipt where there is none, in us."""
    received = pc.divide(table["receive_time_ns"], pa.scalar(_NS_PER_US, pa.int64()))
    if "exchange_time" not in table.column_names:
        return received
    return pc.coalesce(table["exchange_time"].cast(pa.int64()), received)


def _read_trade_id(table: pa.Table) -> _Column:
    """Return the ids; a trade without one has no repeats and may lie in any range."""
    return pc.coalesce(table[_TRADE_ID], table[_POSITION].cast(pa.string()))


def _rank_symbols(table: pa.Table) -> pa.Array[Any]:
    """Return numbers that sort as the symbols do."""
    symbols = _read_symbols(table)
    return pc.rank(symbols.dictionary, tiebreaker="dense").take(symbols.indices)


def _read_symbols(table: pa.Table) -> pa.DictionaryArray[Any, Any]:
    return cast("pa.DictionaryArray[Any, Any]", table["symbol"].unify_dictionaries().combine_chunks())


def _make_symbol_reader(groups: list[list[str | None]]) -> _ReadKey:
    """Return what numbers rows by the group in which their symbol is; without a symbol they are in the last."""
    symbols = pa.array([symbol for group in groups for symbol in group], pa.string())
    numbers = pa.array([number for number, group in enumerate(groups) for _ in group], pa.int32())

    def read(table: pa.Table) -> _Column:
        found = _read_symbols(table)
        of_dictionary = numbers.take(pc.index_in(found.dictionary, value_set=symbols))
        return pa.chunked_array([of_dictionary.take(found.indices).fill_null(len(groups) - 1)])

    return read


def _key_symbol(symbol: str | None) -> tuple[bool, str]:
    """Sort as Arrow does: what has no symbol comes last."""
    return symbol is None, symbol or ""


def _count_values(numbers: _Column) -> dict[int, int]:
    return {entry["values"].as_py(): entry["counts"].as_py() for entry in pc.value_counts(numbers)}
