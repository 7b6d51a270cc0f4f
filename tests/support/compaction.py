"""What tests of the compaction need: small histories with everything in them, one run, and what must hold then."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from tests.support import stored
from tests.support.history import ChunkWriter
from tickloom_core.config import CompactionConfig, Config, ParquetSinkConfig
from tickloom_core.flags import CommonOptions
from tickloom_core.manifests import COMPACTION_FOLDER, MANIFEST_FOLDER
from tickloom_parquet_sink.compaction.flags import Options
from tickloom_parquet_sink.compaction.service import Job
from tickloom_parquet_sink.destination import Destination
from tickloom_parquet_sink.folder import LocalFolder
from tickloom_parquet_sink.schemas import SCHEMAS

DAY_NS = 86_400 * 10**9
MONDAY_NS = int(datetime(2026, 11, 16, tzinfo=UTC).timestamp()) * 10**9
MONDAY, TUESDAY, WEDNESDAY = "2026-11-16", "2026-11-17", "2026-11-18"
COMMON = CommonOptions("tickloom.yaml", "compaction", "127.0.0.1", -1, None, None)


def make_trades(rows: list[dict]) -> pa.Table:
    """Return trades as the sink has them; what a row does not say is something harmless."""
    defaults = {
        "exchange": "binance",
        "symbol": "BTC/USDT",
        "exchange_time": None,
        "receive_time_ns": MONDAY_NS,
        "price": 1.0,
        "amount": 1.0,
        "side": "buy",
        "trade_id": None,
        "writer": "w",
        "shard": "",
        "epoch": 1,
    }
    columns = {name: [row.get(name, value) for row in rows] for name, value in defaults.items()}
    return pa.table(columns, schema=SCHEMAS["trades"].schema)


def draw_trades(seed: int, count: int, *, symbols: int, days: int, repeats: float = 0.1) -> list[dict]:
    """Return trades of two venues in the order of receipt: some without a time or an id, some received again."""
    chance = random.Random(seed)  # noqa: S311 - repeatable data, not a secret
    rows: list[dict] = []
    for number in range(count):
        receive_ns = MONDAY_NS + number * days * DAY_NS // count + chance.randrange(10**6)
        row = {
            "exchange": chance.choice(("binance", "kraken")),
            "symbol": f"C{int(symbols * chance.random() ** 3):03d}/USDT",
            "exchange_time": None if chance.random() < 0.1 else (receive_ns - chance.randrange(10**10)) // 10**6 * 1000,
            "receive_time_ns": receive_ns,
            "price": round(chance.uniform(1, 2), 4),
            "trade_id": None if chance.random() < 0.05 else str(10**6 + number),
        }
        if rows and chance.random() < repeats:
            # The same trade again, from another collector: another time of receipt, sometimes another time at all.
            first = rows[-1 - chance.randrange(min(len(rows), 2000))]
            row |= {name: first[name] for name in ("exchange", "symbol", "price", "trade_id")}
            row["exchange_time"] = first["exchange_time"] if chance.random() < 0.9 else row["exchange_time"]
        rows.append(row)
    return rows


def write_history(root: Path, rows: list[dict], *, partitions: int = 2, chunk_rows: int = 1000) -> list[ChunkWriter]:
    """Write the rows as chunks of several partitions, each symbol in one of them."""
    writers = [ChunkWriter(root, partition) for partition in range(partitions)]
    for start in range(0, len(rows), chunk_rows):
        chunk = rows[start : start + chunk_rows]
        for partition, writer in enumerate(writers):
            own = [row for row in chunk if int(row["symbol"][1:4]) % partitions == partition]
            writer.write(make_trades(own), stored_ns=chunk[-1]["receive_time_ns"])
    return writers


def find_kept(rows: list[dict]) -> dict[tuple[str, str], list[dict]]:
    """Return what is to be in each venue's and day's file, in order: written to be obviously right, not fast."""
    days: dict[tuple[str, str], list[tuple[int, dict]]] = {}
    for number, row in enumerate(rows):
        day = datetime.fromtimestamp(row["receive_time_ns"] // 10**9, UTC).date().isoformat()
        days.setdefault((row["exchange"], day), []).append((number, row))
    kept = {}
    for key, numbered in days.items():
        seen, unique = set(), []
        for number, row in sorted(numbered, key=lambda item: (item[1]["receive_time_ns"], item[0])):
            identity = row["symbol"], row["trade_id"]
            if row["trade_id"] is None or identity not in seen:
                unique.append((number, row))
            seen.add(identity)
        kept[key] = [row for _, row in sorted(unique, key=_find_place)]
    return kept


def _find_place(item: tuple[int, dict]) -> tuple[str, int, int, int]:
    number, row = item
    receive_ns = row["receive_time_ns"]
    time_us = receive_ns // 1000 if row["exchange_time"] is None else row["exchange_time"]
    return row["symbol"], time_us, receive_ns, number


def read_identities(table: pa.Table) -> list[tuple]:
    """Return the rows of a table in the columns in which rows of `draw_trades` differ."""
    names = ("exchange", "symbol", "exchange_time", "receive_time_ns", "price", "trade_id")
    times = {"exchange_time": pa.int64()}
    columns = [table[name].cast(times.get(name, table[name].type)).to_pylist() for name in names]
    return list(zip(*columns, strict=True))


def list_identities(rows: list[dict]) -> list[tuple]:
    """Return the same of rows."""
    names = ("exchange", "symbol", "exchange_time", "receive_time_ns", "price", "trade_id")
    return [tuple(row[name] for name in names) for row in rows]


def count_stored(root: Path) -> Counter:
    """Return how often readers see each trade."""
    table = stored.read_table(root, "trades")
    return Counter(read_identities(table)) if table.num_rows else Counter()


def run_job(where: Path | Destination, *, days=(), channels=(), is_dry_run=False, **rules) -> None:
    """Run one compaction; without rules nothing has a time of grace."""
    destination = LocalFolder(where) if isinstance(where, Path) else where
    root = where if isinstance(where, Path) else Path(destination.place)
    config = Config(
        data_dir=str(root.parent / "data"),
        parquet_sink=ParquetSinkConfig(uri=str(root)),
        compaction=CompactionConfig(**({"grace_s": 0.0} | rules)),
    )
    options = Options(COMMON, is_dry_run=is_dry_run, days=frozenset(days), channels=frozenset(channels))
    Job(destination, config, options, lambda: False).run()


def list_files(root: Path, *folders: str) -> set[str]:
    """Return the files below these folders, relative to the root."""
    return {str(path.relative_to(root)) for folder in folders for path in (root / folder).rglob("*") if path.is_file()}


def check_records(root: Path) -> None:
    """See that every file that is data is there, with the rows that its record tells."""
    for file in stored.read_files(root):
        assert (root / file.path).stat().st_size == file.bytes, file.path


def check_tidy(root: Path) -> None:
    """See that nothing is left that readers do not need, but the last manifest of each partition and its files."""
    named = {file.path for file in stored.read_files(root)}
    kept = list_files(root, MANIFEST_FOLDER)
    assert len(kept) == len({Path(path).parts[1] for path in kept})
    assert list_files(root, COMPACTION_FOLDER)
    unnamed = list_files(root, *SCHEMAS) - named
    newest = {f"{Path(path).parts[1]}-{Path(path).stem[:8]}-{Path(path).stem[9:29]}" for path in kept}
    assert {path for path in unnamed if Path(path).name[:34] not in newest} == set()
    assert list_files(root, "_active") <= {path for path in list_files(root, "_active") if path.endswith(".lock")}
