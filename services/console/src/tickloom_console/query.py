"""Queries over what is stored: DuckDB views of the files that manifests name.

DuckDB itself reads files of this machine; those in a bucket it gets from pyarrow, with which they were written.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import duckdb
import pyarrow as pa
from pyarrow import dataset as ds

from tickloom_console.manifests import DataFile, read_manifests
from tickloom_console.root import LocalRoot, Root
from tickloom_core.errors import PermanentError

_FETCH_ROWS: Final = 10_000
_ZONED_TIME: Final = "TIMESTAMP WITH TIME ZONE"
_READERS: Final = 16
_DAY: Final = pa.field("dt", pa.date32())
_FOLDERS: Final[list[pa.Field[Any]]] = [pa.field("exchange", pa.string()), _DAY]
_PARTITIONS: Final = ds.HivePartitioning(pa.schema(_FOLDERS))
"""What the folders of a path say of the rows, so that DuckDB's filters leave whole files unread."""


@dataclass(frozen=True, slots=True)
class Result:
    """The answer to a query; `rows` can be read once."""

    columns: Sequence[str]
    rows: Iterator[tuple[Any, ...]]


class Storage:
    """What is stored below one root, as tables: one view a channel that has rows, with the column `dt` of the path."""

    def __init__(self, root: Root) -> None:
        """Read the manifests.

        Raises:
            TransientError: the root does not answer.
            PermanentError: there are no manifests, or a file cannot be read.
        """
        files: dict[str, list[DataFile]] = defaultdict(list)
        for manifest in read_manifests(root):
            for file in manifest.files:
                files[file.channel].append(file)
        if not files:
            raise PermanentError(f"nothing is stored below {root.place}: no manifest names a file; is --root right?")
        self.channels = sorted(files)
        self._database = duckdb.connect()
        self._database.execute("SET TimeZone = 'UTC'")
        for channel in self.channels:
            if isinstance(root, LocalRoot):
                self._database.execute(_spell_view(channel, [root.locate(file.path) for file in files[channel]]))
            else:
                self._database.register(channel, _make_dataset(root, files[channel]))

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


def _spell_view(channel: str, paths: Sequence[str]) -> str:
    names = ", ".join(_quote(path, "'") for path in paths)
    return (
        f"CREATE VIEW {_quote(channel, chr(34))} AS SELECT * FROM "  # noqa: S608 (names are quoted)
        f"read_parquet([{names}], union_by_name = true, hive_partitioning = true, hive_types = {{'dt': DATE}})"
    )


def _make_dataset(root: Root, files: Sequence[DataFile]) -> ds.Dataset:
    """Return the files as one table with the columns of all of them, and `dt` last."""
    parquet = ds.ParquetFileFormat()

    def open_file(file: DataFile) -> tuple[ds.Fragment, pa.Schema]:
        with root.translate_errors(file.path):
            rows = _PARTITIONS.parse(file.path)
            fragment = parquet.make_fragment(root.locate(file.path), root.filesystem, rows, file_size=file.bytes)
            return fragment, fragment.physical_schema

    with ThreadPoolExecutor(_READERS) as readers:
        fragments, schemas = zip(*readers.map(open_file, files), strict=True)
    schema = pa.unify_schemas([*schemas, pa.schema([_DAY])], promote_options="permissive")
    return ds.FileSystemDataset(list(fragments), schema, parquet, root.filesystem)


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
