"""Reads what was stored, through manifests and compactions and nothing else."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tickloom_core.manifests import DataFile, decode_compaction, decode_manifest, resolve_files

KEY_COLUMNS = {"trades": "trade_id", "tickers": "base_volume", "books": "bid_amount"}


def read_files(root: Path) -> list[DataFile]:
    """Return the files that are data under a local root, in the order of the stream within a partition."""
    manifests = [decode_manifest(path.read_bytes(), str(path)) for path in sorted(root.glob("_manifest/*/*/*.json"))]
    compactions = [decode_compaction(path.read_bytes(), str(path)) for path in root.glob("_compaction/*/*/*/*.json")]
    return resolve_files(manifests, compactions)


def read_table(root: Path, channel: str, columns: list[str] | None = None) -> pa.Table:
    """Return the rows of a channel."""
    tables = [
        pq.read_table(root / file.path, columns=columns, partitioning=None)
        for file in read_files(root)
        if file.channel == channel
    ]
    return pa.concat_tables(tables, promote_options="permissive") if tables else pa.table({})


def count_rows(root: Path) -> int:
    """Return how many rows are stored, events left out."""
    return sum(file.rows for file in read_files(root) if file.channel != "events")


def read_keys(root: Path, venue: str, channel: str) -> dict[str, Counter]:
    """Return how often each key of the truth is stored, by symbol."""
    key_column = KEY_COLUMNS[channel]
    table = read_table(root, channel, ["exchange", "symbol", key_column])
    keys: dict[str, Counter] = {}
    if not table.num_rows:
        return keys
    rows = zip(table["exchange"].to_pylist(), table["symbol"].to_pylist(), table[key_column].to_pylist(), strict=True)
    for exchange, symbol, key in rows:
        if exchange == venue:
            keys.setdefault(symbol, Counter())[key[0] if channel == "books" else key] += 1
    return keys
