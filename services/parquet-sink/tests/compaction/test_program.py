"""The command: what it prints, refuses and answers, on a folder and on S3."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime

import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from tests.support.compaction import (
    MONDAY,
    count_stored,
    draw_trades,
    find_kept,
    list_files,
    list_identities,
    read_identities,
    write_history,
)
from tests.support.s3 import S3_KEY
from tickloom_core.manifests import decode_compaction


@pytest.fixture
def run(tmp_path):
    """Run the command with a configuration (a dict) and flags."""

    def start(document, *flags, **environment):
        path = tmp_path / "tickloom.yaml"
        path.write_text(json.dumps({"data_dir": str(tmp_path / "data")} | document))
        command = [sys.executable, "-m", "tickloom_parquet_sink.compaction", f"--config={path}", *flags]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | environment
        )

    return start


def finish(process):
    """Return the exit code, standard output and standard error of a program."""
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def configure(root, **rules):
    return {"parquet_sink": {"uri": str(root)}, "compaction": rules}


def test_it_runs_once(run, root):
    """It does what is to be done, says what in its log, prints nothing, and ends with 0."""
    rows = draw_trades(1, 2000, symbols=5, days=2, repeats=0)
    write_history(root, rows)
    code, out, err = finish(run(configure(root, grace_s=0), "--log_format=json"))
    assert (code, out) == (0, "")
    events = [json.loads(line) for line in err.splitlines()]
    assert [event["event"] for event in events].count("compaction.committed") == 4
    assert sum(event.get("rows", 0) for event in events) == len(rows)
    assert events[-1]["event"] == "compaction.cleaned"
    assert count_stored(root) == Counter(list_identities(rows))


def test_a_dry_run_prints_a_table(run, root):
    """`--dry_run` prints a line a day to standard output and changes nothing."""
    write_history(root, draw_trades(2, 2000, symbols=5, days=2))
    before = list_files(root, ".")
    code, out, _ = finish(run(configure(root), "--dry_run", f"--days={MONDAY}", "--channels=trades,books"))
    assert code == 0
    assert [line.split()[:3] for line in out.splitlines()[1:3]] == [
        [MONDAY, "trades", "binance"],
        [MONDAY, "trades", "kraken"],
    ]
    assert list_files(root, ".") == before


def test_an_empty_root(run, root):
    """Where nothing is stored yet there is nothing to do."""
    assert finish(run(configure(root)))[0] == 0


@pytest.mark.parametrize(
    ("flags", "document", "message"),
    [
        (["--days=yesterday"], {}, "--days: expected dates such as 2026-11-20, found `yesterday`"),
        (
            [f"--days={datetime.now(UTC).date()}"],
            {},
            "is closed 3600 s (compaction.closed_after_s) after its end in UTC",
        ),
        (
            ["--channels=candles"],
            {},
            "--channels: no channel is called candles; there are trades, tickers, books, events",
        ),
        (["--once"], {}, "Unknown command line flag 'once'"),
        ([], {"sync": {"uri": "s3://market/p", "delete_after_s": 60}}, "whose parquet_sink.uri is s3://market/p"),
        ([], {"compaction": {"grace": 5}}, "grace"),
    ],
)
def test_what_is_wrong_is_one_line(run, root, flags, document, message):
    """A flag or setting that is wrong ends the program with one line and exit code 2."""
    code, _, err = finish(run(configure(root) | document, *flags))
    assert code == 2
    assert message in err
    assert err.count("\n") == 1


def test_sigterm(run, root):
    """Asked to end it leaves the day it is at as it is, and ends with 0; the next run goes on."""
    rows = draw_trades(3, 40_000, symbols=5, days=3, repeats=0)
    write_history(root, rows)
    process = run(configure(root, memory_bytes=2**18), "--log_level=error")
    deadline_s = time.monotonic() + 30
    while not list(root.glob("_active/*/*")):
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert finish(process)[0] == 0
    assert len(list(root.glob("_compaction/*/*/*/*.json"))) < 6
    assert count_stored(root) == Counter(list_identities(rows))
    assert finish(run(configure(root)))[0] == 0
    assert len(list(root.glob("_compaction/*/*/*/*.json"))) == 6


@pytest.mark.servers
def test_on_s3(run, root, s3_server):
    """In a bucket it does the same, and leaves the same behind."""
    rows = draw_trades(4, 20_000, symbols=20, days=2)
    write_history(root, rows)
    remote, prefix = s3_server.open_filesystem(), f"market/{root.parent.name}"
    fs.copy_files(str(root), prefix, fs.LocalFileSystem(), remote)
    settings = {
        "uri": f"s3://{prefix}",
        "s3_endpoint": f"http://{s3_server.endpoint}",
        "s3_access_key": {"env": "S3_ACCESS"},
        "s3_secret_key": {"env": "S3_SECRET"},
    }
    keys = dict(zip(("S3_ACCESS", "S3_SECRET"), S3_KEY, strict=True))
    document = {"parquet_sink": settings, "compaction": {"grace_s": 0, "memory_bytes": 2**20}}
    code, _, err = finish(run(document, "--log_level=warning", **keys))
    assert code == 0, err
    files = [info for info in remote.get_file_info(fs.FileSelector(prefix, recursive=True)) if info.is_file]
    records = [info.path for info in files if "/_compaction/" in info.path]
    found = [decode_compaction(remote.open_input_stream(path).read(), path) for path in records]
    kept = find_kept(rows)
    assert len(found) == len(kept) == 4
    for compaction in found:
        (file,) = compaction.files
        table = pq.read_table(f"{prefix}/{file.path}", filesystem=remote, partitioning=None)
        assert read_identities(table) == list_identities(kept[file.exchange, file.dt])
    assert len([info for info in files if "/_manifest/" in info.path]) == 2
    assert finish(run(document, **keys))[0] == 0
