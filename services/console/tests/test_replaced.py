"""Answers stay the same whatever becomes of the files: compacted while they are read, other folders, other formats."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, date, datetime
from threading import Thread

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from pyarrow import fs

from tests.support.compaction import DAY_NS, MONDAY_NS, draw_trades, run_job, write_history
from tests.support.s3 import S3_KEY
from tickloom_console.lines import LINES_SCHEMAS
from tickloom_console.query import Storage
from tickloom_console.root import LocalRoot, open_root
from tickloom_core.config import ParquetSinkConfig, SecretReference
from tickloom_core.errors import TransientError
from tickloom_parquet_sink.formats import NdjsonFormat
from tickloom_parquet_sink.schemas import SCHEMAS

COUNTS = "select exchange, dt, symbol, count(*), count(distinct trade_id) from trades group by all order by all"


@pytest.fixture
def root(tmp_path):
    """A storage of two venues, two partitions and three days, in many chunks, without repeats."""
    root = tmp_path / "parquet"
    write_history(root, draw_trades(1, 6000, symbols=5, days=3, repeats=0), chunk_rows=200)
    return root


def ask(root, query=COUNTS):
    """Return the answer that a new storage gives."""
    storage = Storage(root if isinstance(root, LocalRoot) else LocalRoot(root))
    try:
        return list(storage.ask(query).rows)
    finally:
        storage.close()


@pytest.mark.parametrize("grace_s", [0.0, 3600.0])
def test_counts_during_a_compaction(root, grace_s):
    """Counts are the same before, while and after a compaction runs, also one that removes files at once."""
    expected = ask(root)
    long_open = Storage(LocalRoot(root))
    compaction = Thread(target=run_job, args=(root,), kwargs={"grace_s": grace_s, "memory_bytes": 2**18})
    compaction.start()
    rounds = 0
    while compaction.is_alive():
        assert ask(root) == expected
        assert list(long_open.ask(COUNTS).rows) == expected
        rounds += 1
    compaction.join()
    assert rounds > 1
    assert ask(root) == expected
    assert list(long_open.ask(COUNTS).rows) == expected
    long_open.close()
    run_job(root)
    assert ask(root) == expected


def test_the_command_during_a_compaction(root, tmp_path, run_tickloom):
    """`tickloom sql` answers the same while the compaction runs as a process of its own."""
    expected = run_tickloom("sql", f"--root={root}", COUNTS).stdout
    assert expected.count("\n") > 10
    config = tmp_path / "compaction.yaml"
    settings = {"grace_s": 0, "memory_bytes": 2**16}
    document = {"data_dir": str(tmp_path), "parquet_sink": {"uri": str(root)}, "compaction": settings}
    config.write_text(yaml.safe_dump(document))
    command = [sys.executable, "-m", "tickloom_parquet_sink.compaction", f"--config={config}", "--log_level=error"]
    with subprocess.Popen(command) as compaction:
        while compaction.poll() is None:
            assert run_tickloom("sql", f"--root={root}", COUNTS).stdout == expected
    assert compaction.returncode == 0
    assert run_tickloom("sql", f"--root={root}", COUNTS).stdout == expected


def test_rows_that_are_being_read(root):
    """An answer that is read while its files go is complete, or ends with an error that says why; never short."""
    storage = Storage(LocalRoot(root))
    rows = storage.ask("select a.trade_id from trades a cross join range(20)").rows
    next(rows)
    run_job(root)
    try:
        assert sum(1 for _ in rows) == 6000 * 20 - 1
    except TransientError as error:
        assert "a compaction has replaced files while this query ran; run it again" in str(error)  # noqa: PT017
    assert list(storage.ask("select count(*) from trades").rows) == [(6000,)]
    storage.close()


def rearrange(root):
    """Move chunks into folders of other layouts, and make lines of some, as if settings had been changed each day."""
    layouts = ["{channel}/{name}", "{channel}/exchange={exchange}/hour=07/{name}", "{channel}/year=2026/dt={dt}/{name}"]
    for number, path in enumerate(sorted(root.glob("_manifest/*/*/*.json"))):
        manifest = json.loads(path.read_text())
        for file in manifest["files"]:
            old = root / file["path"]
            if number % 5 == 4:
                continue
            new = layouts[number % 3].format(**file, name=f"{file['dt']}-{file['exchange']}-{old.name}")
            data = old.read_bytes()
            if number % 5 == 3:
                codec, suffix = [("zstd", "zst"), ("lz4", "lz4")][number % 2]
                new = new.replace(".parquet", f".ndjson.{suffix}")
                data = NdjsonFormat(codec, None).encode("trades", pq.read_table(old, partitioning=None), {})
            (root / new).parent.mkdir(parents=True, exist_ok=True)
            (root / new).write_bytes(data)
            old.unlink()
            file["path"] = new
        path.write_text(json.dumps(manifest))


QUERIES = [
    COUNTS,
    "describe trades",
    "select * from trades order by all",
    "select count(*) from trades where dt = '2026-11-17' and exchange = 'kraken'",
    "select max(exchange_time), min(receive_time_ns) from trades where dt <> '2026-11-17'",
]


def test_layouts_and_formats_mix(root):
    """Whatever folders files stand in, and in whichever format, rows, types and columns are the same, `dt` too."""
    expected = [ask(root, query) for query in QUERIES]
    rearrange(root)
    kinds = {path.name.partition(".")[2] for path in (root / "trades").rglob("*.*")}
    assert kinds == {"parquet", "ndjson.zst", "ndjson.lz4"}
    assert [ask(root, query) for query in QUERIES] == expected


@pytest.mark.servers
def test_layouts_and_formats_mix_on_s3(root, s3_server, tmp_path, monkeypatch):
    """The same holds for a bucket."""
    expected = [ask(root, query) for query in QUERIES]
    rearrange(root)
    prefix = f"market/{tmp_path.name}"
    fs.copy_files(str(root), prefix, fs.LocalFileSystem(), s3_server.open_filesystem())
    for name, value in zip(("S3_ACCESS", "S3_SECRET"), S3_KEY, strict=True):
        monkeypatch.setenv(name, value)
    config = ParquetSinkConfig(
        s3_endpoint=f"http://{s3_server.endpoint}",
        s3_access_key=SecretReference(env="S3_ACCESS"),
        s3_secret_key=SecretReference(env="S3_SECRET"),
    )
    storage = Storage(open_root(f"s3://{prefix}", config))
    assert [list(storage.ask(query).rows) for query in QUERIES] == expected
    storage.close()


def test_only_files_of_the_day_are_read(root):
    """A filter on `dt` leaves files of other days alone, in any layout: what they hold does not matter."""
    rearrange(root)
    expected = ask(root, "select count(*) from trades where dt = '2026-11-17'")
    for path in (root / "trades").rglob("*.ndjson.*"):
        if date(2026, 11, 17).isoformat() not in str(path):
            path.write_bytes(b"no lines")
    assert ask(root, "select count(*) from trades where dt = '2026-11-17'") == expected


def test_a_day_that_expired(tmp_path):
    """Rows that retention has removed are gone at once, though their files stay for the time of grace."""
    root = tmp_path / "parquet"
    now_ns = int(datetime.now(UTC).timestamp()) * 10**9
    rows = [{"symbol": "C000/USDT", "receive_time_ns": at_ns} for at_ns in (MONDAY_NS - 900 * DAY_NS, now_ns)]
    write_history(root, rows, partitions=1, chunk_rows=1)
    assert ask(root, "select count(*) from trades") == [(2,)]
    run_job(root, retention_days={"trades": 365}, grace_s=3600.0)
    assert ask(root, "select count(*) from trades") == [(1,)]
    assert len(list((root / "trades").rglob("*.parquet"))) == 2


@pytest.mark.parametrize("channel", SCHEMAS)
def test_lines_have_the_columns_of_parquet(channel):
    """The columns that lines are read with are those that the Parquet sink writes, in its order."""
    expected = [
        (column.name, column.type.value_type if pa.types.is_dictionary(column.type) else column.type)
        for column in SCHEMAS[channel].schema
    ]
    assert [(column.name, column.type) for column in LINES_SCHEMAS[channel]] == expected
