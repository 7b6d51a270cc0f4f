"""What is replaced, or was never committed, goes; what anybody may still need stays."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support import stored
from tests.support.compaction import (
    DAY_NS,
    MONDAY,
    MONDAY_NS,
    TUESDAY,
    check_records,
    check_tidy,
    count_stored,
    draw_trades,
    list_files,
    list_identities,
    make_trades,
    run_job,
    write_history,
)
from tests.support.history import STREAM, ChunkWriter
from tickloom_core.errors import PermanentError
from tickloom_core.manifests import decode_manifest, hash_stream
from tickloom_parquet_sink.folder import LocalFolder
from tickloom_parquet_sink.manifest import find_last
from tickloom_parquet_sink.schemas import SCHEMAS

LONG_S = 10.0**6


def test_replaced_files_stay_for_the_time_of_grace(root):
    """Readers that have a file open keep it: nothing goes before the time of grace is over."""
    write_history(root, draw_trades(1, 3000, symbols=5, days=2))
    before = list_files(root, ".")
    run_job(root, grace_s=LONG_S)
    run_job(root, grace_s=LONG_S)
    assert before < list_files(root, ".")
    run_job(root, grace_s=0)
    check_tidy(root)


def test_a_chunk_of_two_days_stays_until_both_are_compacted(root):
    """A manifest goes as a whole: as long as one of its files is data, all of its files stay."""
    midnight_ns = MONDAY_NS + DAY_NS
    writer = ChunkWriter(root)
    both = make_trades([{"receive_time_ns": midnight_ns - 1}, {"receive_time_ns": midnight_ns, "symbol": "ETH/USDT"}])
    writer.write(both, stored_ns=midnight_ns)
    writer.write(make_trades([{"receive_time_ns": midnight_ns + 5, "symbol": "XRP/USDT"}]), stored_ns=midnight_ns)
    run_job(root, days=[MONDAY])
    assert len(list_files(root, "_manifest")) == 2
    assert count_stored(root).total() == 3
    run_job(root, days=[TUESDAY])
    assert len(list_files(root, "_manifest")) == 1
    assert count_stored(root).total() == 3
    check_tidy(root)


def test_the_sink_goes_on_from_the_last_manifest(root):
    """The last manifest of each partition and stream stays, and says what it said."""
    write_history(root, draw_trades(2, 3000, symbols=5, days=2))
    destination = LocalFolder(root)
    before = [find_last(destination, partition, STREAM) for partition in (0, 1)]
    assert None not in before
    run_job(root)
    assert [find_last(destination, partition, STREAM) for partition in (0, 1)] == before
    check_tidy(root)


def test_orphans_of_chunks(root):
    """A file of a chunk that was never committed goes when later ones were; one that may still be committed stays."""
    writers = write_history(root, draw_trades(3, 3000, symbols=5, days=1), partitions=1)
    (last,) = [m for m in map(read_manifest, root.glob("_manifest/*/*/*.json")) if m.last_sequence == 30]
    hash_ = hash_stream(STREAM)
    folder = root / f"trades/exchange=binance/dt={MONDAY}"
    orphan = folder / f"0000-{hash_}-{11:020d}-{15:020d}-0a0b0c0d.parquet"
    coming = folder / f"0000-{hash_}-{last.last_sequence + 1:020d}-{99:020d}-0a0b0c0d.parquet"
    foreign = folder / "notes.parquet"
    for path in (orphan, coming, foreign):
        path.write_bytes(b"")
    assert len(writers) == 1
    run_job(root, grace_s=LONG_S)
    assert orphan.exists()
    run_job(root)
    assert not orphan.exists()
    assert coming.exists()
    assert foreign.exists()


def read_manifest(path):
    return decode_manifest(path.read_bytes(), str(path))


def test_orphans_of_compactions(root):
    """A compacted file without a record goes when it is older than the time of grace: its writer is dead."""
    write_history(root, draw_trades(4, 1000, symbols=5, days=1))
    orphan = root / f"trades/exchange=binance/dt={MONDAY}/000001-0a0b0c0d.parquet"
    orphan.write_bytes(b"")
    run_job(root, grace_s=60)
    assert orphan.exists()
    os.utime(orphan, (time.time() - 61,) * 2)
    run_job(root, grace_s=60)
    assert not orphan.exists()


def test_lost_successors_are_noticed(root):
    """Nothing is removed when the file that replaces it is not there or has another size."""
    rows = draw_trades(5, 1000, symbols=5, days=1, repeats=0)
    write_history(root, rows, chunk_rows=300)
    run_job(root, grace_s=LONG_S)
    path = next(file.path for file in stored.read_files(root) if file.exchange == "kraken")
    content = (root / path).read_bytes()
    before = list_files(root, ".") - {path}
    (root / path).unlink()
    with pytest.raises(PermanentError, match=f"{path} is not there"):
        run_job(root)
    (root / path).write_bytes(content[:-1])
    with pytest.raises(PermanentError, match=f"{path} has {len(content) - 1} bytes"):
        run_job(root)
    assert before <= list_files(root, ".")
    (root / path).write_bytes(content)
    run_job(root)
    check_tidy(root)
    assert count_stored(root) == Counter(list_identities(rows))


def test_retention(root):
    """Days older than a channel's age go, compacted or not, and stay gone; younger ones and other channels stay."""
    today = datetime.now(UTC).date()
    midnight_ns = int(datetime(today.year, today.month, today.day, tzinfo=UTC).timestamp()) * 10**9
    writer = ChunkWriter(root)
    for age in (9, 8, 7, 2):
        row = {"receive_time_ns": midnight_ns - age * DAY_NS, "trade_id": str(age)}
        writer.write(make_trades([row]), stored_ns=midnight_ns - age * DAY_NS)
    writer.write(make_events(midnight_ns - 9 * DAY_NS), channel="events", stored_ns=midnight_ns)
    run_job(root, days=[(today - timedelta(days=8)).isoformat()])
    run_job(root, retention_days={"trades": 7})
    kept = {row["trade_id"] for row in stored.read_table(root, "trades").to_pylist()}
    assert kept == {"7", "2"}
    assert stored.read_table(root, "events").num_rows == 1
    check_tidy(root)
    removed = [f"dt={today - timedelta(days=age)}" for age in (9, 8)]
    assert not {path for path in list_files(root, "trades") if any(day in path for day in removed)}
    files = list_files(root, ".")
    run_job(root, retention_days={"trades": 7})
    assert list_files(root, ".") == files


def make_events(receive_ns):
    schema = SCHEMAS["events"].schema
    row = {column.name: None for column in schema} | {"exchange": "binance", "receive_time_ns": receive_ns}
    return schema.empty_table().from_pylist([row | {"writer": "w", "shard": "", "epoch": 1}], schema=schema)


def test_a_dry_run_changes_nothing(root, capsys):
    """A dry run prints what would become of which day and what would be removed, and changes nothing."""
    rows = draw_trades(6, 3000, symbols=5, days=3, repeats=0)
    write_history(root, rows)
    run_job(root, days=[MONDAY], grace_s=LONG_S)
    before = {path: (root / path).read_bytes() for path in list_files(root, ".")}
    capsys.readouterr()
    run_job(root, is_dry_run=True, retention_days={"trades": 1}, days=[TUESDAY])
    run_job(root, is_dry_run=True)
    shown = capsys.readouterr().out
    assert {path: (root / path).read_bytes() for path in list_files(root, ".")} == before
    assert "day         channel  venue    would be" in shown
    assert f"{TUESDAY}  trades   binance  removed, older than 1 days  2 -> 0" in shown
    assert f"{TUESDAY}  trades   kraken   compacted, generation 1  2 -> 1" in shown
    assert "replaced long enough ago, would be removed: 2 records, 4 files" in shown
    assert "named by no record, would be removed: 0 files, 0 bytes" in shown


def test_manifests_of_older_names(root):
    """Manifests whose names end with the last sequence are read, covered and removed like the others."""
    rows = draw_trades(7, 3000, symbols=5, days=1, repeats=0)
    write_history(root, rows)
    for path in root.glob("_manifest/*/*/*.json"):
        last = json.loads(path.read_text())["last_sequence"]
        path.rename(path.with_name(f"{path.stem}-{last:020d}.json"))
    run_job(root)
    assert count_stored(root) == Counter(list_identities(rows))
    assert len(list(Path(root).glob("_manifest/*/*/*.json"))) == 2
    check_records(root)
