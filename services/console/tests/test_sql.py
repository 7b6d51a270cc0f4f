from __future__ import annotations

import csv
import io
import json
import os
import pty
import subprocess
import sys

import duckdb
import msgspec
import pytest

from tickloom_console.manifests import read_newest
from tickloom_console.root import LocalRoot

ROWS = [("BTC/USD", 3, 100.5, "7"), ("BTC/USD", 1, None, "5"), ("ETH/USD", 2, 10.0, "6")]


def write_trades(root, name, rows):
    path = f"trades/exchange=kraken/dt=2026-11-21/{name}.parquet"
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    values = ", ".join(
        f"('kraken', '{symbol}', make_timestamptz(2026, 11, 21, 10, 0, {second}, 'UTC'), "
        f"{'NULL' if price is None else price}::DOUBLE, '{trade_id}')"
        for symbol, second, price, trade_id in rows
    )
    with duckdb.connect() as database:
        database.execute(
            f"COPY (SELECT * FROM (VALUES {values}) t(exchange, symbol, exchange_time, price, trade_id)) "  # noqa: S608
            f"TO '{root / path}' (FORMAT parquet)"
        )
    return {"path": path, "channel": "trades", "exchange": "kraken", "dt": "2026-11-21", "rows": len(rows), "bytes": 1}


def write_manifest(root, files, *, first=1, last=9, **more):
    path = root / "_manifest" / "0000" / "2026-11-21" / f"abcdef01-{first:020d}-{last:020d}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    manifest = {
        "format": 1,
        "stream": {"name": "MARKETDATA", "created": "2026"},
        "partition": 0,
        "first_sequence": first,
        "last_sequence": last,
        "stored_ns": 1,
        "files": files,
        "rows": {},
        "writer_window": "",
        "software": "test",
    }
    path.write_bytes(msgspec.json.encode(manifest | more))


@pytest.fixture
def root(tmp_path):
    """A storage of three trades; a fourth lies in a file that no manifest names."""
    root = tmp_path / "parquet"
    write_manifest(root, [write_trades(root, "0", ROWS[:2])])
    write_manifest(root, [write_trades(root, "1", ROWS[2:])], first=10, last=12)
    write_trades(root, "unfinished", [("SOL/USD", 4, 1.0, "8")])
    return root


def test_only_files_named_by_manifests_are_data(root, run_tickloom):
    """Piped output is CSV with a header; a file that no manifest names does not exist for readers."""
    done = run_tickloom("sql", f"--root={root}", "select trade_id, dt from trades order by trade_id")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "trade_id,dt\n5,2026-11-21\n6,2026-11-21\n7,2026-11-21\n"


def test_times_are_utc_and_keep_their_order(root, run_tickloom):
    """A zoned time is written as ISO 8601, and ORDER BY holds."""
    done = run_tickloom("sql", f"--root={root}", "select exchange_time t, price from trades order by t desc")
    assert list(csv.reader(io.StringIO(done.stdout))) == [
        ["t", "price"],
        ["2026-11-21T10:00:03.000000Z", "100.5"],
        ["2026-11-21T10:00:02.000000Z", "10.0"],
        ["2026-11-21T10:00:01.000000Z", ""],
    ]


def test_json_is_a_list_of_rows(root, run_tickloom):
    """`--format=json` gives one object a row, null for what is unknown."""
    done = run_tickloom("sql", f"--root={root}", "--format=json", "select symbol, price from trades order by trade_id")
    assert json.loads(done.stdout) == [
        {"symbol": "BTC/USD", "price": None},
        {"symbol": "ETH/USD", "price": 10.0},
        {"symbol": "BTC/USD", "price": 100.5},
    ]


def test_a_terminal_gets_a_table(root):
    """Without a format a terminal shows a drawn table."""
    parent, child = pty.openpty()
    command = [sys.executable, "-m", "tickloom_console", "sql", f"--root={root}", "select count(*) as n from trades"]
    subprocess.run(command, stdout=child, check=True, timeout=60, env=os.environ | {"TERM": "xterm", "COLUMNS": "80"})
    os.close(child)
    shown = os.read(parent, 65536).decode()
    os.close(parent)
    assert "┃" in shown
    assert "3" in shown


def test_the_configured_folder_is_the_default(root, write_config, run_tickloom):
    """Without `--root` the data is found where the configuration says."""
    config = write_config(parquet_sink={"uri": str(root)})
    assert run_tickloom("sql", f"--config={config}", "select count(*) from trades").stdout.splitlines()[1] == "3"


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("select * from candles", "tables here: trades"),
        ("selec 1", "syntax error"),
        ("select error('late') from trades", "late"),
    ],
)
def test_a_query_that_fails_is_said_without_a_traceback(root, run_tickloom, query, message):
    """What DuckDB does not accept is one error with the tables there are, exit code 1."""
    done = run_tickloom("sql", f"--root={root}", query)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_another_kind_of_store_is_refused(run_tickloom):
    """A root that is neither a folder nor a bucket of S3 is an error that says what is accepted."""
    done = run_tickloom("sql", "--root=gs://bucket/data", "select 1")
    assert done.returncode == 2
    assert "expected a folder or s3://bucket/prefix, found `gs://bucket/data`" in done.stderr
    assert "--root" in done.stderr


def test_a_bucket_needs_no_configuration_file(run_tickloom):
    """`--root` names a bucket without a file beside it, unless `--config` says that there is one."""
    assert "expected s3://bucket/prefix, found `s3://`" in run_tickloom("sql", "--root=s3://", "select 1").stderr
    done = run_tickloom("sql", "--root=s3://market", "--config=absent.yaml", "select 1")
    assert done.returncode == 2
    assert "absent.yaml" in done.stderr


def test_an_empty_folder_is_an_error(tmp_path, run_tickloom):
    """Where nothing is stored there is nothing to query."""
    done = run_tickloom("sql", f"--root={tmp_path}", "select 1")
    assert done.returncode == 2
    assert "nothing is stored below" in done.stderr


def test_a_manifest_of_a_later_format_is_refused(root, run_tickloom):
    """Data that this program may misread is not read."""
    write_manifest(root, [], first=13, last=14, format=2)
    done = run_tickloom("sql", f"--root={root}", "select 1")
    assert done.returncode == 2
    assert "has format 2" in done.stderr


def test_the_newest_manifest_of_a_partition_is_the_last_one_written(root):
    """`read_newest` returns the last chunk of each partition."""
    os.utime(next(root.glob("_manifest/0000/*/*-00000000000000000009.json")), ns=(1, 1))
    assert {partition: manifest.last_sequence for partition, manifest in read_newest(LocalRoot(root)).items()} == {
        0: 12
    }
