"""Rows in order and without repeats, whether they fit into memory or not."""

from __future__ import annotations

import pyarrow as pa
import pytest

from tests.support.compaction import (
    MONDAY,
    MONDAY_NS,
    draw_trades,
    find_kept,
    list_identities,
    make_trades,
    read_identities,
)
from tickloom_parquet_sink.compaction.sorting import DaySort
from tickloom_parquet_sink.compaction.spill import Spill

MEMORY_BYTES = (2**30, 2**22, 2**19)
"""Everything at once; symbol by symbol; the busiest symbols in parts."""


@pytest.fixture(params=MEMORY_BYTES)
def sorting(request, tmp_path):
    """A sort with much, some and hardly any memory."""
    return DaySort(Spill(tmp_path / "spill"), request.param)


def sort(sorting, rows, table_rows=997):
    """Return the sorted rows, which are given in tables of this size."""
    tables = [make_trades(rows[start : start + table_rows]) for start in range(0, len(rows), table_rows)]
    found = list(sorting.sort(iter(tables)))
    assert all(table.schema == tables[0].schema for table in found)
    return read_identities(pa.concat_tables(found))


def of_one_venue(rows):
    """Return the rows as those of one venue: a sort never sees another."""
    return [row | {"exchange": "binance"} for row in rows]


@pytest.mark.parametrize("seed", range(3))
def test_rows_in_order_without_repeats(sorting, seed):
    """The rows are exactly those that a plain sort and a plain set give, with every amount of memory."""
    rows = of_one_venue(draw_trades(seed, 20_000, symbols=20, days=1, repeats=0.3))
    expected = list_identities(find_kept(rows)["binance", MONDAY])
    assert sort(sorting, rows) == expected
    assert (sorting.rows_read, sorting.repeated) == (len(rows), len(rows) - len(expected))


def test_one_symbol(sorting):
    """One symbol that fills the day is divided, too, and its repeats found wherever their times put them."""
    rows = of_one_venue(draw_trades(7, 20_000, symbols=1, days=1, repeats=0.5))
    assert sort(sorting, rows) == list_identities(find_kept(rows)["binance", MONDAY])


def test_the_first_received_stays(sorting):
    """Of trades with one id the one received first stays, though it may come later; of equal ones the first to come."""
    rows = [
        {
            "symbol": "C001/USDT",
            "trade_id": str(number % 5000),
            "receive_time_ns": MONDAY_NS - number // 5000,
            "price": p,
        }
        for p in (1.0, 2.0)
        for number in range(10_000)
    ]
    rows = [{"exchange": "binance", "exchange_time": None} | row for row in rows]
    found = sort(sorting, rows)
    assert {(receive_ns, price) for _, _, _, receive_ns, price, _ in found} == {(MONDAY_NS - 1, 1.0)}
    assert len(found) == 5000


def test_equal_times_keep_their_order(sorting):
    """Trades of one instant stand as they came: that is the order in which they happened."""
    rows = [
        {
            "exchange": "binance",
            "symbol": "C001/USDT",
            "exchange_time": 5,
            "receive_time_ns": 9,
            "price": float(n),
            "trade_id": None,
        }
        for n in range(20_000)
    ]
    assert [price for *_, price, _ in sort(sorting, rows)] == [float(n) for n in range(20_000)]


def test_rows_without_a_symbol_come_last(tmp_path):
    """Events of a whole venue have no symbol; they stand behind the others, by time of receipt."""
    schema = pa.schema({"symbol": pa.dictionary(pa.int32(), pa.string()), "receive_time_ns": pa.int64()})
    symbols = [None, "B", "A", None] * 5000
    table = pa.table({"symbol": symbols, "receive_time_ns": range(20_000, 0, -1)}, schema=schema)
    sorting = DaySort(Spill(tmp_path / "spill"), 2**18)
    found = pa.concat_tables(list(sorting.sort(table.slice(start, 1000) for start in range(0, 20_000, 1000))))
    assert found["symbol"].to_pylist() == ["A"] * 5000 + ["B"] * 5000 + [None] * 10_000
    times = found["receive_time_ns"].to_pylist()
    assert times == sorted(times[:5000]) + sorted(times[5000:10_000]) + sorted(times[10_000:])


def test_nothing_is_left_on_the_disk(sorting, tmp_path):
    """What was set aside is gone when the last row is out."""
    sort(sorting, of_one_venue(draw_trades(3, 20_000, symbols=20, days=1)))
    left = [path.name for path in (tmp_path / "spill").rglob("*") if path.is_file()]
    assert set(left) <= {".lock"}


def test_leftovers_of_a_crash_go(tmp_path):
    """What a killed process has set aside is removed by the next one; what a living one uses stays."""
    leftover, living = tmp_path / "killed" / "7", Spill(tmp_path)
    leftover.parent.mkdir()
    leftover.write_bytes(b"rows")
    pile = living.make_pile()
    pile.append(make_trades([{}]))
    Spill(tmp_path)
    assert not leftover.exists()
    assert sum(table.num_rows for table in pile.read()) == 1
