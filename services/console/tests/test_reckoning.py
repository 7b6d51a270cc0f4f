from __future__ import annotations

import sqlite3
from contextlib import closing

import duckdb
import msgspec

from tickloom_console.query import Storage
from tickloom_console.reckoning import Account, find_differences, settle
from tickloom_console.root import LocalRoot


def make_storage(root, rows):
    path = root / "books/exchange=kraken/dt=2026-11-21/0.parquet"
    path.parent.mkdir(parents=True)
    values = ", ".join(f"('kraken', '{symbol}', [{amount}, 1.0]::DOUBLE[])" for symbol, amount in rows)
    with duckdb.connect() as database:
        database.execute(
            f"COPY (SELECT * FROM (VALUES {values}) t(exchange, symbol, bid_amount)) TO '{path}' (FORMAT parquet)"  # noqa: S608
        )
    file = {
        "path": str(path.relative_to(root)),
        "channel": "books",
        "exchange": "kraken",
        "dt": "2026-11-21",
        "rows": 1,
        "bytes": 1,
    }
    manifest = {
        "format": 1,
        "stream": {"name": "MARKETDATA", "created": "2026-11-21T00:00:00Z"},
        "partition": 0,
        "first_sequence": 1,
        "last_sequence": 1,
        "stored_ns": 1,
        "files": [file],
        "rows": {},
        "writer_window": "",
        "software": "test",
    }
    folder = root / "_manifest/0000/2026-11-21"
    folder.mkdir(parents=True)
    (folder / "a.json").write_bytes(msgspec.json.encode(manifest))
    return Storage(LocalRoot(root))


def test_missing_and_duplicated_rows_are_counted_by_key(tmp_path):
    """A key sent and not stored is missing; each further row of one key is a duplicate; unsent rows are ignored."""
    storage = make_storage(tmp_path, [("BTC/USD", 1.5), ("BTC/USD", 1.5), ("BTC/USD", 1.5), ("BTC/USD", 9.0)])
    sent = {"BTC/USD": frozenset({1.5, 2.5}), "ETH/USD": frozenset({1.5})}
    account = settle(storage, "kraken", "books", sent)
    storage.close()
    assert account == Account("kraken", "books", symbols=2, sent=3, stored=1, missing=2, duplicated=2)


def test_a_channel_without_rows_is_all_missing(tmp_path):
    """A channel of which nothing is stored has every row missing."""
    storage = make_storage(tmp_path, [("BTC/USD", 1.5)])
    account = settle(storage, "kraken", "trades", {"BTC/USD": frozenset({"1", "2"})})
    storage.close()
    assert (account.stored, account.missing) == (0, 2)


def test_a_database_with_other_rows_is_different(tmp_path):
    """Stores that do not hold as many rows of a venue, channel and symbol are told apart, in both directions."""
    storage = make_storage(tmp_path, [("BTC/USD", 1.5), ("BTC/USD", 2.5)])
    path = tmp_path / "tickloom.sqlite"
    with closing(sqlite3.connect(path)) as database:
        for table in ("ticks", "market_ticks", "books", "connection_events"):
            database.execute(f"CREATE TABLE {table} (exchange TEXT, symbol TEXT)")
        database.execute("INSERT INTO books VALUES ('kraken', 'BTC/USD'), ('kraken', 'BTC/USD')")
        database.commit()
        assert find_differences(storage, path) == []
        database.execute("INSERT INTO books VALUES ('kraken', 'BTC/USD')")
        database.execute("INSERT INTO ticks VALUES ('kraken', 'ETH/USD')")
        database.commit()
    assert find_differences(storage, path) == [
        "trades of kraken ETH/USD: 1 rows, not 0",
        "books of kraken BTC/USD: 3 rows, not 2",
    ]
    storage.close()
