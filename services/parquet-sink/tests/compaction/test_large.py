"""The long form: ten million trades, and a day that is larger than the memory many times over."""

from __future__ import annotations

import os
import shutil

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tests.bench.compacting import DAYS, ROWS, compact, measure_bytes_per_row, write_days
from tests.support import stored

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]

COLUMNS = "exchange, symbol, exchange_time, receive_time_ns, price, amount, side, trade_id, writer, shard, epoch"
FIRST = "row_number() over (partition by exchange, symbol, trade_id order by receive_time_ns) = 1"


def query_files(root, day):
    """Return the files of one day that are data, as DuckDB writes a list."""
    return [str(root / file.path) for file in stored.read_files(root) if file.dt == day]


@pytest.mark.parametrize("memory_bytes", [512 * 1024**2, 16 * 1024**2])
def test_ten_million_trades(tmp_path, memory_bytes):
    """The same rows as the raw ones without repeats, sorted, at most 13 bytes each, in less than 1.5 GB of memory."""
    raw, root = tmp_path / "raw", tmp_path / "parquet"
    write_days(raw)
    shutil.copytree(raw, root, copy_function=os.link)
    run = compact(root, tmp_path, memory_bytes=memory_bytes, grace_s=0)
    rows = 0
    for day in DAYS:
        (path,) = query_files(root, day)
        expected = f"select {COLUMNS} from read_parquet({query_files(raw, day)}) qualify {FIRST}"  # noqa: S608
        found = f"select {COLUMNS} from read_parquet('{path}')"  # noqa: S608
        for one, other in ((expected, found), (found, expected)):
            assert duckdb.sql(f"select count(*) from (({one}) except all ({other}))").fetchall() == [(0,)]  # noqa: S608
        rows += check_sorted(path)
    assert rows == ROWS // len(DAYS) * len(DAYS)
    assert measure_bytes_per_row(root) <= 13
    assert run.rss_bytes < 1.5e9


def check_sorted(path):
    """See that a file's rows are sorted by symbol, time and time of receipt, and return how many they are."""
    table = pq.read_table(path, columns=["symbol", "exchange_time", "receive_time_ns"], partitioning=None)
    keys = pa.table([table["symbol"].cast(pa.string()), *table.columns[1:]], names=table.column_names)
    order = pc.sort_indices(keys, sort_keys=[(name, "ascending") for name in keys.column_names])
    assert pc.all(pc.equal(order.cast(pa.int64()), pa.arange(0, len(order)))).as_py()
    return table.num_rows
