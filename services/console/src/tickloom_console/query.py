"""Queries over what is stored: DuckDB views of the files that manifests name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb

from tickloom_console.manifests import read_manifests
from tickloom_core.errors import PermanentError

_FETCH_ROWS: Final = 10_000
_ZONED_TIME: Final = "TIMESTAMP WITH TIME ZONE"


@dataclass(frozen=True, slots=True)
class Result:
    """The answer to a query; `rows` can be read once."""

    columns: Sequence[str]
    rows: Iterator[tuple[Any, ...]]


class Storage:
    """What is stored below one root, as tables: one view a channel that has rows, with the column `dt` of the path."""

    def __init__(self, root: Path) -> None:
        """Read the manifests.

        Raises:
            PermanentError: there are none, or one cannot be read.
        """
        files: dict[str, list[str]] = defaultdict(list)
        for manifest in read_manifests(root):
            for file in manifest.files:
                files[file.channel].append(str(root / file.path))
        if not files:
            raise PermanentError(f"nothing is stored below {root}: no manifest names a file; is --root right?")
        self.channels = sorted(files)
        self._database = duckdb.connect()
        self._database.execute("SET TimeZone = 'UTC'")
        for channel, paths in files.items():
            names = ", ".join(_quote(path, "'") for path in paths)
            self._database.execute(
                f"CREATE VIEW {_quote(channel, chr(34))} AS SELECT * FROM "  # noqa: S608 (names are quoted)
                f"read_parquet([{names}], union_by_name = true, hive_partitioning = true, hive_types = {{'dt': DATE}})"
            )

    def ask(self, query: str) -> Result:
        """Run one query; times come as ISO 8601 in UTC. The rows must be read before the next query.

        Raises:
            PermanentError: DuckDB does not accept it; reading the rows raises it, too.
        """
        try:
            relation = self._database.sql(query)
            if any(str(kind) == _ZONED_TIME for kind in relation.types):
                query = relation.project(_spell_times(relation.columns, relation.types)).sql_query()
            cursor = self._database.execute(query)
        except duckdb.Error as error:
            raise PermanentError(f"{error}\ntables here: {', '.join(self.channels)}") from error
        return Result([column[0] for column in cursor.description], _fetch(cursor))

    def close(self) -> None:
        """Give the memory back."""
        self._database.close()


def _fetch(cursor: duckdb.DuckDBPyConnection) -> Iterator[tuple[Any, ...]]:
    try:
        while rows := cursor.fetchmany(_FETCH_ROWS):
            yield from rows
    except duckdb.Error as error:
        raise PermanentError(str(error)) from error


def _spell_times(columns: Sequence[str], types: Sequence[object]) -> str:
    """Return a projection that writes zoned times as text: DuckDB hands them to Python only by way of pytz."""
    parts: list[str] = []
    for position, (column, kind) in enumerate(zip(columns, types, strict=True), start=1):
        value = f"#{position}"
        if str(kind) == _ZONED_TIME:
            value = f"strftime({value} AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%S.%fZ')"
        parts.append(f"{value} AS {_quote(column, chr(34))}")
    return ", ".join(parts)


def _quote(text: str, mark: str) -> str:
    return mark + text.replace(mark, mark * 2) + mark
