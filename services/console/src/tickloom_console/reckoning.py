"""Compares what was sent with what is stored, row by row, by keys that tell rows apart."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from types import MappingProxyType
from typing import Final

import msgspec

from tickloom_console.query import Storage
from tickloom_console.simulation import Key

_KEY_COLUMNS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "trades": "trade_id",
        "tickers": "base_volume",  # grows with every update of the simulated exchange
        "books": "bid_amount[1]",  # which gives each book another amount at its best bid
    }
)


_SQL_TABLES: Final[Mapping[str, str]] = MappingProxyType(
    {"trades": "ticks", "tickers": "market_ticks", "books": "books", "events": "connection_events"}
)
_COUNT: Final = "SELECT exchange, symbol, count(*) FROM {} GROUP BY exchange, symbol"


class Account(msgspec.Struct, frozen=True):
    """One line of `summary.json` (DESIGN §7).

    Attributes:
        symbols: how many were sent.
        sent: rows sent.
        stored: rows sent that are stored, each counted once.
        missing: rows sent that are not stored.
        duplicated: stored rows beyond the first of the same key.
    """

    venue: str
    channel: str
    symbols: int
    sent: int
    stored: int
    missing: int
    duplicated: int


def settle(storage: Storage, venue: str, channel: str, sent: Mapping[str, frozenset[Key]]) -> Account:
    """Return the account of one channel of one venue, given the keys sent by symbol.

    Rows that were not sent are left out: a collector may store a book that it was given over REST.
    """
    stored = _count_stored(storage, venue, channel)
    expected = {(symbol, key) for symbol, keys in sent.items() for key in keys}
    found = expected & stored.keys()
    return Account(
        venue=venue,
        channel=channel,
        symbols=len(sent),
        sent=len(expected),
        stored=len(found),
        missing=len(expected) - len(found),
        duplicated=sum(stored[row] - 1 for row in found),
    )


def _count_stored(storage: Storage, venue: str, channel: str) -> Counter[tuple[str, Key]]:
    if channel not in storage.channels:
        return Counter()
    query = (
        f"SELECT symbol, {_KEY_COLUMNS[channel]}, count(*) FROM {channel} "  # noqa: S608 (names of our own)
        f"WHERE exchange = '{venue}' GROUP BY ALL"
    )
    return Counter({(symbol, key): count for symbol, key, count in storage.ask(query).rows})


def find_differences(storage: Storage, database: Path) -> list[str]:
    """Return where a SQLite database holds another number of rows than the files, by channel, venue and symbol."""
    differences = []
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        for channel, table in _SQL_TABLES.items():
            filed = _count_rows(storage.ask(_COUNT.format(channel)).rows) if channel in storage.channels else Counter()
            rows = _count_rows(connection.execute(_COUNT.format(table)))
            differences += [
                f"{channel} of {exchange} {symbol or ''}: {rows[exchange, symbol]} rows, not {filed[exchange, symbol]}"
                for exchange, symbol in sorted(filed.keys() | rows.keys(), key=str)
                if filed[exchange, symbol] != rows[exchange, symbol]
            ]
    return differences


def _count_rows(found: Iterable[tuple[str, str | None, int]]) -> Counter[tuple[str, str | None]]:
    return Counter({(exchange, symbol): count for exchange, symbol, count in found})
