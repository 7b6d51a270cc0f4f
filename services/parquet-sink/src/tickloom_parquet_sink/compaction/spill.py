"""Rows that wait on the local disk for their turn to be sorted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from tickloom_core.errors import PermanentError, TransientError
from tickloom_parquet_sink.compaction.arrow import measure_table
from tickloom_parquet_sink.workspace import Workspace, clear_leftovers

_OPTIONS: Final = pa.ipc.IpcWriteOptions(compression="lz4")


class Pile:
    """Rows in a file of Arrow IPC streams one behind the other, a stream for each table that was appended.

    No file stays open between two calls, so that there can be any number of piles.

    Attributes:
        names: the columns.
        row_count: rows.
        size_bytes: what they take in memory.
        symbols: rows by symbol.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.names: list[str] = []
        self.row_count = 0
        self.size_bytes = 0
        self.symbols: Counter[str | None] = Counter()

    def append(self, table: pa.Table) -> None:
        """Append rows.

        Raises:
            TransientError: the disk does not take them.
        """
        try:
            with self._path.open("ab") as file, pa.ipc.new_stream(file, table.schema, options=_OPTIONS) as stream:
                stream.write_table(table)
        except OSError as error:
            raise TransientError(
                f"{self._path}: rows cannot be set aside here while they are sorted: {error.strerror or error}; "
                "free some space, or let TMPDIR name a folder with more"
            ) from error
        self.names = table.column_names
        self.row_count += table.num_rows
        self.size_bytes += measure_table(table)
        for entry in pc.value_counts(table["symbol"]):
            self.symbols[entry["values"].as_py()] += entry["counts"].as_py()

    def read(self) -> Iterator[pa.Table]:
        """Yield the tables as they were appended."""
        with pa.OSFile(str(self._path), "rb") as file:
            size_bytes = file.size()
            while file.tell() < size_bytes:
                with pa.ipc.open_stream(file) as stream:
                    yield stream.read_all()

    def remove(self) -> None:
        """Give the disk back."""
        self._path.unlink()


class Spill:
    """Makes piles, in a folder of this process's own that goes with this object.

    Args:
        parent: the folder in which it is made; what crashed processes left there is removed first.

    Raises:
        PermanentError: the folder cannot be made or read.
    """

    def __init__(self, parent: Path) -> None:
        self._parent = parent
        self._workspace = Workspace(parent)
        try:
            clear_leftovers(parent)
        except OSError as error:
            raise self._explain(error) from error

    def make_pile(self) -> Pile:
        """Return an empty pile.

        Raises:
            PermanentError: the folder cannot be made.
        """
        try:
            return Pile(self._workspace.make_path())
        except OSError as error:
            raise self._explain(error) from error

    def _explain(self, error: OSError) -> PermanentError:
        return PermanentError(
            f"{self._parent}: rows cannot be set aside here while they are sorted: {error.strerror}; give this user "
            "write permission, or let TMPDIR name another folder"
        )
