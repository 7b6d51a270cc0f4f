"""How rows are divided into files: folders, days, symbols, and what a file carries along."""

from __future__ import annotations

from collections import Counter
from urllib.parse import quote, unquote

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings, strategies

from tickloom_core.columns import MISSING_INT
from tickloom_parquet_sink.encoding import encode_chunk
from tickloom_parquet_sink.partitioning import Layout

NOON_NS = 1_795_262_400 * 10**9
HOUR_NS = 3600 * 10**9
MIDNIGHT_NS = NOON_NS + 12 * HOUR_NS


def make_trade(symbol="BTC/USDT", receive_time_ns=NOON_NS, price=1.0):
    return {
        "symbol": symbol,
        "exchange_time_us": 1,
        "receive_time_ns": receive_time_ns,
        "price": price,
        "amount": 1.0,
        "side": 1,
    }


@pytest.fixture
def make_trade_chunk(make_message, make_chunk):
    """Make a chunk of one message with these trades."""

    def make(*rows, **header):
        return make_chunk([make_message("trades", list(rows), [b""] * len(rows), **header)])

    return make


def list_folders(chunk, *columns):
    return [file.entry.path.rpartition("/")[0] for file in encode_chunk(chunk, Layout(columns))]


@pytest.mark.parametrize(
    ("columns", "folders"),
    [
        ((), ["trades"] * 2),
        (("exchange", "dt"), ["trades/exchange=x/dt=2026-11-21", "trades/exchange=x/dt=2026-11-22"]),
        (("year", "month", "day"), ["trades/year=2026/month=11/day=21", "trades/year=2026/month=11/day=22"]),
        (("hour", "exchange"), ["trades/hour=00/exchange=x", "trades/hour=12/exchange=x"]),
        (
            ("symbol", "dt"),
            [
                "trades/symbol=A%2FB%3AB/dt=2026-11-21",
                "trades/symbol=A%2FB%3AB/dt=2026-11-22",
                "trades/symbol=C/dt=2026-11-21",
            ],
        ),
    ],
)
def test_folders(columns, folders, make_trade_chunk):
    """Folders are called as Hive calls them, in the order of the setting; a day is never mixed with another."""
    chunk = make_trade_chunk(make_trade("A/B:B"), make_trade("A/B:B", MIDNIGHT_NS), make_trade("C"), exchange="x")
    assert list_folders(chunk, *columns) == folders


def test_names_cannot_lead_out(make_trade_chunk):
    """A symbol is a folder's name and nothing else, whatever letters it has."""
    (folder,) = list_folders(make_trade_chunk(make_trade("../../etc")), "symbol")
    assert folder == "trades/symbol=..%2F..%2Fetc"


def test_events_of_a_whole_venue(make_message, make_chunk):
    """Rows without a symbol have a folder of their own, by the name that Hive has for null."""
    base = {"kind": "k", "subject_channel": "", "detail": "", "receive_time_ns": NOON_NS}
    numbers = dict.fromkeys(("count", "range_start_ns", "range_end_ns"), MISSING_INT)
    chunk = make_chunk([make_message("events", [{"symbol": symbol} | base | numbers for symbol in ("", "A", "")])])
    files = list(encode_chunk(chunk, Layout(("symbol",))))
    assert [file.entry.path.split("/")[1] for file in files] == ["symbol=A", "symbol=__HIVE_DEFAULT_PARTITION__"]
    assert [file.entry.rows for file in files] == [1, 2]


def test_a_file_of_a_symbol_names_no_other(make_trade_chunk):
    """A thousand symbols cost a symbol's file nothing: neither rows nor names of the others are in it."""
    chunk = make_trade_chunk(*[make_trade(f"COIN{n}/USDT") for n in range(1000)])
    files = list(encode_chunk(chunk, Layout(("symbol",))))
    assert len(files) == 1000
    (alone,) = encode_chunk(make_trade_chunk(make_trade("COIN7/USDT")), Layout(("symbol",)))
    assert max(file.entry.bytes for file in files) <= alone.entry.bytes + 10


def test_the_default_costs_nothing(make_trade_chunk):
    """When all rows of a venue go into one file, they are not copied."""
    table = pa.table({"receive_time_ns": [NOON_NS, NOON_NS + 1], "price": [1.0, 2.0]})
    (part,) = Layout().divide("trades", "binance", table)
    assert part.table is table


def test_hive_readers(make_trade_chunk, tmp_path):
    """Pyarrow and DuckDB read a layout by symbol and hour with its folders as columns."""
    rows = [make_trade(symbol, NOON_NS + hour * HOUR_NS) for symbol in ("A/B", "C/D") for hour in (0, 1, 13)]
    for file in encode_chunk(make_trade_chunk(*rows), Layout(("exchange", "symbol", "dt", "hour"))):
        path = tmp_path / file.entry.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.data)
    table = pq.read_table(tmp_path / "trades")
    assert Counter(table["symbol"].to_pylist()) == {"A/B": 3, "C/D": 3}
    assert pq.read_table(tmp_path / "trades", filters=[("hour", "=", 1), ("symbol", "=", "A/B")]).num_rows == 1
    files = duckdb.read_parquet(f"{tmp_path}/trades/**/*.parquet", hive_partitioning=True)
    found = files.aggregate("symbol, hour, count(*)").order("all").fetchall()
    assert found == [(symbol, hour, 1) for symbol in ("A/B", "C/D") for hour in ("01", "12", "13")]


TIMES = strategies.integers(MIDNIGHT_NS - 2 * HOUR_NS, MIDNIGHT_NS + 2 * HOUR_NS) | strategies.sampled_from(
    [MISSING_INT, -1, 0, 2**63 - 1]
)
LAYOUTS = strategies.lists(
    strategies.sampled_from(["exchange", "symbol", "year", "month", "day", "hour", "dt"]), unique=True
).map(tuple)


@settings(deadline=None, max_examples=200)
@given(
    rows=strategies.lists(strategies.tuples(strategies.sampled_from(["A/B", "C:D", "é%2F"]), TIMES), min_size=1),
    columns=LAYOUTS,
)
def test_every_row_is_in_one_file(make_message, make_chunk, rows, columns):
    """Whatever the layout and the clocks, every row is in exactly one file, in order, and under the right folders."""
    trades = [make_trade(symbol, time_ns, float(number)) for number, (symbol, time_ns) in enumerate(rows)]
    chunk = make_chunk([make_message("trades", trades, [b""] * len(trades))])
    found = []
    files = list(encode_chunk(chunk, Layout(columns)))
    assert len({file.entry.path for file in files}) == len(files)
    for file in files:
        numbers = [int(price) for price in pq.read_table(pa.BufferReader(file.data))["price"].to_pylist()]
        assert numbers == sorted(numbers)
        found += numbers
        labels = dict(folder.split("=") for folder in file.entry.path.split("/")[1:-1])
        for number in numbers:
            symbol, time_ns = rows[number]
            assert unquote(labels.get("symbol", quote(symbol))) == symbol
            if "hour" in labels:
                assert int(labels["hour"]) == time_ns // HOUR_NS % 24
    assert sorted(found) == list(range(len(rows)))
