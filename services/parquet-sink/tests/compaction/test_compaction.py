"""Closed days become one sorted file a venue and channel, with the same rows."""

from __future__ import annotations

import json
import time
from collections import Counter
from datetime import UTC, datetime
from itertools import pairwise

import pyarrow as pa
import pyarrow.parquet as pq
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
    find_kept,
    list_files,
    list_identities,
    make_trades,
    read_identities,
    run_job,
    write_history,
)
from tests.support.history import ChunkWriter
from tickloom_core.config import CompactionConfig
from tickloom_core.errors import PermanentError, TransientError
from tickloom_core.manifests import decode_compaction
from tickloom_parquet_sink.compaction.catalog import CatalogReader
from tickloom_parquet_sink.compaction.days import extend_reach, plan_days
from tickloom_parquet_sink.compaction.rewriting import Rewriter
from tickloom_parquet_sink.compaction.spill import Spill
from tickloom_parquet_sink.folder import LocalFolder
from tickloom_parquet_sink.schemas import SCHEMAS, TRADES

SMALL_BYTES = 2**21
"""So little memory that days are divided and set aside."""


def read_day(root, exchange, day):
    """Return the file that a day has become."""
    (file,) = [file for file in stored.read_files(root) if (file.exchange, file.dt) == (exchange, day)]
    return root / file.path


def read_compactions(root):
    """Return all compactions."""
    return [decode_compaction(path.read_bytes(), "") for path in sorted(root.glob("_compaction/*/*/*/*.json"))]


def test_a_messy_history(root):
    """200,000 trades of two venues, 200 symbols and three days become six files: same set, in order, no repeat."""
    rows = draw_trades(1, 200_000, symbols=200, days=3)
    write_history(root, rows)
    assert count_stored(root) == Counter(list_identities(rows))
    run_job(root, memory_bytes=SMALL_BYTES)
    kept = find_kept(rows)
    assert len(kept) == 6
    for (exchange, day), expected in kept.items():
        assert read_identities(pq.read_table(read_day(root, exchange, day), partitioning=None)) == list_identities(
            expected
        )
    assert count_stored(root) == Counter(row for day in kept.values() for row in list_identities(day))
    check_records(root)
    check_tidy(root)
    told = read_compactions(root)
    assert sum(compaction.rows_read for compaction in told) == len(rows)
    assert sum(compaction.repeated for compaction in told) == len(rows) - sum(map(len, kept.values()))


def test_a_second_run_changes_nothing(root):
    """What is compacted and tidy stays as it is."""
    write_history(root, draw_trades(2, 5000, symbols=10, days=2))
    run_job(root)
    before = list_files(root, ".")
    run_job(root)
    assert list_files(root, ".") == before


def test_late_rows(root):
    """Rows that come after a day was compacted make a further generation, in which the day is whole again."""
    rows = draw_trades(3, 6000, symbols=10, days=2)
    early, late = rows[:2000] + rows[2500:], rows[2000:2500]
    writers = write_history(root, early)
    run_job(root)
    for partition, writer in enumerate(writers):
        own = [row for row in late if int(row["symbol"][1:4]) % 2 == partition]
        writer.write(make_trades(own), stored_ns=rows[-1]["receive_time_ns"])
    run_job(root, memory_bytes=SMALL_BYTES)
    kept = find_kept(rows)
    for (exchange, day), expected in kept.items():
        found = read_identities(pq.read_table(read_day(root, exchange, day), partitioning=None))
        assert found == sorted(list_identities(expected), key=found.index)
        assert Counter(found) == Counter(list_identities(expected))
    assert {(found.dt, found.generation) for found in read_compactions(root)} == {(MONDAY, 2), (TUESDAY, 1)}
    check_tidy(root)


def test_every_channel(root):
    """Books, tickers and events are sorted, too, with their lists and texts, and none of their rows is a repeat."""
    chance = [{"symbol": f"C{n % 7:03d}/USDT", "receive_time_ns": MONDAY_NS + n * 7919 % 1000} for n in range(3000)]
    writer = ChunkWriter(root)
    for channel in ("books", "tickers", "events"):
        schema = SCHEMAS[channel].schema
        rows = [make_row(schema, row, n) for n, row in enumerate(chance)]
        table = pa.Table.from_pylist(rows, schema=schema)
        writer.write(table.slice(0, 2000), channel=channel, stored_ns=MONDAY_NS)
        writer.write(table.slice(2000), channel=channel, stored_ns=MONDAY_NS)
        before = stored.read_table(root, channel).to_pylist()
        run_job(root, memory_bytes=2**18)
        after = stored.read_table(root, channel).to_pylist()
        assert after == sorted(before, key=lambda row: (row["symbol"], row["receive_time_ns"]))


def make_row(schema, known, number):
    """Return a row with something in every column."""
    row = {}
    for column in schema:
        if column.name in known:
            row[column.name] = known[column.name]
        elif column.name == "exchange":
            row[column.name] = "kraken"
        elif pa.types.is_list(column.type):
            row[column.name] = [float(number)] * (number % 3)
        elif pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
            row[column.name] = number
        elif pa.types.is_timestamp(column.type):
            row[column.name] = None
        else:
            row[column.name] = f"{column.name} {number % 5}"
    return row


def test_readers_can_skip(root):
    """The file says how its rows are sorted; row groups tell symbols and times, so that a filter reads few of them."""
    rows = draw_trades(4, 60_000, symbols=50, days=1)
    write_history(root, rows)
    run_job(root, memory_bytes=2**22)
    path = read_day(root, "binance", MONDAY)
    metadata = pq.read_metadata(path)
    assert metadata.num_row_groups > 5
    symbol = TRADES.schema.names.index("symbol")
    assert metadata.row_group(0).sorting_columns == (pq.SortingColumn(symbol),)
    ranges = [metadata.row_group(n).column(symbol).statistics for n in range(metadata.num_row_groups)]
    assert all(one.max <= other.min for one, other in pairwise(ranges))
    column = metadata.row_group(0).column(symbol)
    assert column.compression == "ZSTD"


def test_footer(root):
    """The footer tells schema, generation and how many rows were read, written and left out."""
    rows = draw_trades(5, 3000, symbols=5, days=1)
    write_history(root, rows)
    run_job(root)
    metadata = pq.read_metadata(read_day(root, "kraken", MONDAY)).metadata
    told = {key.decode(): value.decode() for key, value in metadata.items() if key.startswith(b"tickloom.")}
    kept = len(find_kept(rows)["kraken", MONDAY])
    read = sum(row["exchange"] == "kraken" for row in rows)
    assert told.pop("tickloom.software").startswith("tickloom-parquet-sink ")
    assert told == {
        "tickloom.schema": "trades/1",
        "tickloom.generation": "1",
        "tickloom.rows_read": str(read),
        "tickloom.rows": str(kept),
        "tickloom.repeated": str(read - kept),
    }


def test_only_closed_days(root):
    """A day is left alone until it has been over for the time that the rules say."""
    today = datetime.now(UTC).date().isoformat()
    midnight_ns = int(datetime.fromisoformat(f"{today}T00:00:00+00:00").timestamp()) * 10**9
    writer = ChunkWriter(root)
    writer.write(
        make_trades([{"receive_time_ns": midnight_ns - 1}, {"receive_time_ns": midnight_ns}]), stored_ns=midnight_ns
    )
    since_s = time.time() - midnight_ns / 1e9
    run_job(root, closed_after_s=since_s + 3600)
    assert read_compactions(root) == []
    run_job(root, closed_after_s=0)
    assert [found.dt for found in read_compactions(root)] != []
    assert today not in {found.dt for found in read_compactions(root)}


def test_days_and_channels_are_chosen(root):
    """With dates or channels given, others are left alone."""
    write_history(root, draw_trades(6, 3000, symbols=5, days=2))
    run_job(root, channels=["books"])
    assert read_compactions(root) == []
    run_job(root, days=[TUESDAY], channels=["trades"])
    assert {found.dt for found in read_compactions(root)} == {TUESDAY}


def prepare(root):
    """Return what two runs that begin at the same time would both do first: a rewriter, a day, how far it reaches."""
    destination = LocalFolder(root)
    catalog = CatalogReader(destination).read()
    rules = CompactionConfig()
    rewriter = Rewriter(destination, rules, Spill(root.parent / "spill"), lambda: False)
    day = plan_days(catalog, rules, time.time_ns())[0]
    return rewriter, day, extend_reach(catalog, day.current)


def test_two_at_once(root):
    """Of two compactions of one day one commits; the other takes its file back, and readers see every row once."""
    rows = draw_trades(7, 2000, symbols=5, days=1, repeats=0)
    write_history(root, rows)
    (one, day, through), (other, same, _) = prepare(root), prepare(root)
    assert one.rewrite(day, through) is not None
    assert other.rewrite(same, through) is None
    files = list_files(root, f"trades/exchange={day.key[1]}")
    assert len(files) == len(day.chunks) + 1
    assert count_stored(root) == Counter(list_identities(rows))


def test_a_listing_with_a_gap(root):
    """A listing that shows a chunk and not the one before it, because both came meanwhile, loses no rows."""

    class Busy(LocalFolder):
        """A folder whose first listing passes by the place of a chunk before that is there."""

        listings = 0

        def list_objects(self, folder):
            found = sorted(super().list_objects(folder), key=lambda info: info.path)
            if folder == "_manifest":
                self.listings += 1
                if self.listings == 1:
                    del found[len(found) // 4], found[-1]
            return iter(found)

    rows = draw_trades(14, 4000, symbols=5, days=1, repeats=0)
    write_history(root, rows, chunk_rows=500)
    run_job(Busy(root))
    assert count_stored(root) == Counter(list_identities(rows))
    run_job(root)
    assert count_stored(root) == Counter(list_identities(rows))
    check_tidy(root)


def test_a_lost_acknowledgement(root):
    """A commit that is told that it is there already looks whether it is its own."""

    class Forgetful(LocalFolder):
        def create(self, path, data):
            super().create(path, data)
            return super().create(path, data)

    rows = draw_trades(8, 2000, symbols=5, days=1, repeats=0)
    write_history(root, rows)
    run_job(Forgetful(root))
    assert count_stored(root) == Counter(list_identities(rows))
    check_tidy(root)


def test_damage_is_not_built_upon(root):
    """A day whose files hold other rows than their manifests say is left as it is; the other days are compacted."""
    rows = draw_trades(9, 4000, symbols=5, days=2, repeats=0)
    write_history(root, rows)
    (path,) = list(root.glob("_manifest/0000/*/*-00000000000000000001.json"))
    manifest = json.loads(path.read_text())
    manifest["files"][0]["rows"] += 1
    path.write_text(json.dumps(manifest))
    with pytest.raises(PermanentError, match=r"trades binance 2026-11-16: the files hold \d+ rows, their records say"):
        run_job(root)
    assert {(found.exchange, found.dt) for found in read_compactions(root)} == {
        ("binance", TUESDAY),
        ("kraken", MONDAY),
        ("kraken", TUESDAY),
    }
    assert len(list_files(root, "_manifest")) < 8
    assert count_stored(root) == Counter(list_identities(rows))


def test_a_file_that_cannot_be_read(root):
    """A file that is no Parquet is named, and nothing replaces it."""
    write_history(root, draw_trades(10, 100, symbols=2, days=1))
    path = min(list_files(root, "trades/exchange=binance"))
    (root / path).write_bytes(b"PAR1" + bytes(100))
    with pytest.raises(PermanentError, match=f"{path} cannot be read"):
        run_job(root)
    assert {found.exchange for found in read_compactions(root)} == {"kraken"}


def test_a_file_that_is_gone(root):
    """A file that goes away while a day is read ends the run; the next one lists anew."""
    write_history(root, draw_trades(11, 100, symbols=2, days=1))
    (root / min(list_files(root, "trades"))).unlink()
    with pytest.raises(TransientError, match="is not there"):
        run_job(root)
    assert read_compactions(root) == []


def test_files_of_other_versions(root):
    """A column that an older file lacks is null; one that this version does not know must not get lost."""
    writer = ChunkWriter(root)
    table = make_trades([{"trade_id": "1"}, {"trade_id": "2"}])
    writer.write(table.drop_columns(["amount"]), stored_ns=MONDAY_NS)
    writer.write(make_trades([{"trade_id": "3"}]), stored_ns=MONDAY_NS)
    run_job(root)
    found = stored.read_table(root, "trades").to_pylist()
    assert {row["trade_id"]: row["amount"] for row in found} == {"1": None, "2": None, "3": 1.0}
    younger = make_trades([{"receive_time_ns": MONDAY_NS + DAY_NS}]).append_column("fee", pa.array([0.1]))
    writer.write(younger, stored_ns=MONDAY_NS)
    with pytest.raises(PermanentError, match="columns that this version does not know: fee"):
        run_job(root)


def test_lines_are_left(root, capsys):
    """A day with files of another format is left as it is, and the dry run says so."""
    write_history(root, draw_trades(12, 1000, symbols=3, days=1))
    for path in root.glob("_manifest/0001/*/*.json"):
        manifest = json.loads(path.read_text())
        for file in manifest["files"]:
            (root / file["path"]).rename(root / file["path"].replace(".parquet", ".ndjson.zst"))
            file["path"] = file["path"].replace(".parquet", ".ndjson.zst")
        path.write_text(json.dumps(manifest))
    before = list_files(root, ".")
    run_job(root)
    assert list_files(root, ".") == before
    run_job(root, is_dry_run=True)
    assert "left: not all Parquet" in capsys.readouterr().out


def test_level(tmp_path):
    """The level of compression can be set."""
    sizes = []
    for level in (1, 19):
        root = tmp_path / str(level)
        write_history(root, draw_trades(13, 20_000, symbols=3, days=1, repeats=0))
        run_job(root, compression_level=level)
        sizes.append(read_day(root, "binance", MONDAY).stat().st_size)
    assert sizes[1] < sizes[0]
