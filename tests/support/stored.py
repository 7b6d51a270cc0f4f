"""Reads what was stored, through the manifests and nothing else."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

KEY_COLUMNS = {"trades": "trade_id", "tickers": "base_volume", "books": "bid_amount"}


def read_manifests(root: Path) -> list[dict]:
    """Return all manifests under a local root."""
    return [json.loads(path.read_text()) for path in sorted(root.glob("_manifest/*/*/*.json"))]


def read_table(root: Path, channel: str, columns: list[str] | None = None) -> pa.Table:
    """Return the rows of a channel, in the order of the stream within a partition."""
    tables = [
        pq.read_table(root / entry["path"], columns=columns, partitioning=None)
        for manifest in read_manifests(root)
        for entry in manifest["files"]
        if entry["channel"] == channel
    ]
    return pa.concat_tables(tables, promote_options="permissive") if tables else pa.table({})


def count_rows(root: Path) -> int:
    """Return how many rows the manifests name, events left out."""
    return sum(
        entry["rows"]
        for manifest in read_manifests(root)
        for entry in manifest["files"]
        if entry["channel"] != "events"
    )


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
