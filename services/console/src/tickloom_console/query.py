"""Queries over what is stored: DuckDB views of the files that are data.

DuckDB itself reads Parquet of this machine that stands in folders of venue and day, as all that is compacted does; what
lies in a bucket, in other folders or in another format it gets from pyarrow.

A file may be replaced by a compaction between the moment at which it was listed and that at which it is read; then the
query is answered anew.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from itertools import chain
from typing import Any, Final

import duckdb
import pyarrow as pa
from pyarrow import dataset as ds

from tickloom_console.lines import (
    LINES_SCHEMAS,
    LINES_SUFFIXES,
    make_lines_format,
    name_to_arrow,
    open_lines_filesystem,
)
from tickloom_console.manifests import read_files
from tickloom_console.root import AbsentError, LocalRoot, Root
from tickloom_core.errors import PermanentError, TransientError
from tickloom_core.manifests import DataFile

_ATTEMPTS: Final = 3
_FETCH_ROWS: Final = 10_000
_ZONED_TIME: Final = "TIMESTAMP WITH TIME ZONE"
_READERS: Final = 16
_DAY: Final = pa.field("dt", pa.date32())
_PLAIN: Final = re.compile(r"[^/]+/exchange=[^/]+/dt=[^/]+/[^/]+\.parquet")
_UNREADABLE: Final = (duckdb.IOException, duckdb.InvalidInputException)
"""What DuckDB raises for a file that it or pyarrow cannot open, among others."""


@dataclass(frozen=True, slots=True)
class Result:
    """The answer to a query; `rows` can be read once."""

    columns: Sequence[str]
    rows: Iterator[tuple[Any, ...]]


class Storage:
    """What is stored below one root, as tables: one view a channel that has rows, with the UTC date of receipt as `dt`.

    Attributes:
        channels: those that have rows.
    """

    def __init__(self, root: Root) -> None:
        """Find out what is stored.

        Raises:
            TransientError: the root does not answer.
            PermanentError: nothing is stored, or a file cannot be read.
        """
        self._root = root
        self._paths: set[str] = set()
        self.channels: list[str] = []
        self._database = duckdb.connect()
        self._database.execute("SET TimeZone = 'UTC'")
        self._make_views()

    def ask(self, query: str) -> Result:
        """Run one query; times come as ISO 8601 in UTC. The rows must be read before the next query.

        Raises:
            PermanentError: DuckDB does not accept it; reading the rows raises it, too.
            TransientError: while the rows were read, files were replaced.
        """
        attempt = 1
        while True:
            try:
                return self._ask(query)
            except duckdb.Error as error:
                if attempt == _ATTEMPTS or not self._is_outdated(error):
                    raise PermanentError(f"{error}\ntables here: {', '.join(self.channels)}") from error
            attempt += 1
            self._make_views()

    def close(self) -> None:
        """Give the memory back."""
        self._database.close()

    def _ask(self, query: str) -> Result:
        relation = self._database.sql(query)
        if any(str(kind) == _ZONED_TIME for kind in relation.types):
            query = relation.project(_spell_times(relation.columns, relation.types)).sql_query()
        cursor = self._database.execute(query)
        columns = [column[0] for column in cursor.description]
        # What was handed out cannot be answered anew: the first rows show whether the files are there.
        return Result(columns, chain(cursor.fetchmany(_FETCH_ROWS), self._fetch(cursor)))

    def _fetch(self, cursor: duckdb.DuckDBPyConnection) -> Iterator[tuple[Any, ...]]:
        try:
            while rows := cursor.fetchmany(_FETCH_ROWS):
                yield from rows
        except duckdb.Error as error:
            if self._is_outdated(error):
                raise TransientError("a compaction has replaced files while this query ran; run it again") from error
            raise PermanentError(str(error)) from error

    def _make_views(self) -> None:
        attempt = 1
        while True:
            try:
                self._make_views_once()
            except AbsentError:
                if attempt == _ATTEMPTS:
                    raise
            except duckdb.Error as error:
                if attempt == _ATTEMPTS or not isinstance(error, _UNREADABLE):
                    raise PermanentError(str(error)) from error
            else:
                return
            attempt += 1

    def _make_views_once(self) -> None:
        files: dict[str, list[DataFile]] = defaultdict(list)
        for file in read_files(self._root):
            files[file.channel].append(file)
        if not files:
            raise PermanentError(
                f"nothing is stored below {self._root.place}: no manifest names a file; is --root right?"
            )
        for channel, of_channel in files.items():
            self._make_view(channel, of_channel)
        self.channels = sorted(files)
        self._paths = {file.path for of_channel in files.values() for file in of_channel}

    def _make_view(self, channel: str, files: Sequence[DataFile]) -> None:
        is_local = isinstance(self._root, LocalRoot)
        lines = [file for file in files if file.path.endswith(LINES_SUFFIXES)]
        plain = [file for file in files if is_local and _PLAIN.fullmatch(file.path)]
        others = [file for file in files if file not in lines and file not in plain]
        sources = []
        if plain:
            sources.append(_spell_source([self._root.locate(file.path) for file in plain]))
        for kind, of_kind, make in (("files", others, _make_dataset), ("lines", lines, _make_lines_dataset)):
            if of_kind:
                name = f"{channel}_{kind}"
                self._database.register(name, make(self._root, of_kind))
                sources.append(_quote(name, '"'))
        union = " UNION ALL BY NAME ".join(f"SELECT * FROM {source}" for source in sources)  # noqa: S608 (names are quoted)
        self._database.execute(f"CREATE OR REPLACE TEMP VIEW {_quote(channel, chr(34))} AS {union}")

    def _is_outdated(self, error: duckdb.Error) -> bool:
        """Say whether a file could not be read that is no data any more."""
        if not isinstance(error, _UNREADABLE):
            return False
        return not self._paths <= {file.path for file in read_files(self._root)}


def _spell_source(paths: Sequence[str]) -> str:
    names = ", ".join(_quote(path, "'") for path in paths)
    return f"read_parquet([{names}], union_by_name = true, hive_partitioning = true, hive_types = {{'dt': DATE}})"


def _make_dataset(root: Root, files: Sequence[DataFile]) -> ds.Dataset:
    """Return files of Parquet as one table with the columns of all of them, and `dt` last."""
    parquet = ds.ParquetFileFormat()

    def open_file(file: DataFile) -> tuple[ds.Fragment, pa.Schema]:
        with root.translate_errors(file.path):
            path = root.locate(file.path)
            fragment = parquet.make_fragment(path, root.filesystem, _describe_rows(file), file_size=file.bytes)
            return fragment, fragment.physical_schema

    with ThreadPoolExecutor(_READERS) as readers:
        fragments, schemas = zip(*readers.map(open_file, files), strict=True)
    schema = pa.unify_schemas([*schemas, pa.schema([_DAY])], promote_options="permissive")
    return ds.FileSystemDataset(list(fragments), schema, parquet, root.filesystem)


def _make_lines_dataset(root: Root, files: Sequence[DataFile]) -> ds.Dataset:
    """Return files of JSON lines of one channel as one table, with `dt` last."""
    lines, filesystem = make_lines_format(files[0].channel), open_lines_filesystem(root.filesystem)
    fragments = [
        lines.make_fragment(name_to_arrow(root.locate(file.path)), filesystem, _describe_rows(file)) for file in files
    ]
    schema = LINES_SCHEMAS[files[0].channel].append(_DAY)
    return ds.FileSystemDataset(fragments, schema, lines, filesystem)


def _describe_rows(file: DataFile) -> ds.Expression:
    """Return what is true of all rows of a file, so that DuckDB's filters leave whole files unread."""
    return (ds.field("exchange") == file.exchange) & (ds.field("dt") == date.fromisoformat(file.dt))


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
