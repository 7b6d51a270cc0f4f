"""One day's files to one: read, sorted, written, and then named by a compaction, which is the commit."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final
from urllib.parse import quote
from uuid import uuid4

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from tickloom_core.config import CompactionConfig
from tickloom_core.errors import TransientError
from tickloom_core.manifests import Compaction, DataFile, Reach, make_compaction_path
from tickloom_parquet_sink.compaction.days import Day
from tickloom_parquet_sink.compaction.reading import DamagedDayError, read_tables
from tickloom_parquet_sink.compaction.row_groups import RowGroups
from tickloom_parquet_sink.compaction.sorting import DaySort
from tickloom_parquet_sink.compaction.spill import Spill
from tickloom_parquet_sink.destination import Destination
from tickloom_parquet_sink.footer import SOFTWARE, make_facts
from tickloom_parquet_sink.schemas import SCHEMAS, ChannelSchema

_GROUP_SHARE: Final = 16
"""The part of the memory that one row group may take."""


class StopRequestedError(Exception):
    """The program was asked to end."""


class Rewriter:
    """Makes one file of a day's files.

    Args:
        destination: the root.
        rules: how.
        spill: where rows wait that do not fit into memory.
        is_stopping: asked every few thousand rows.
    """

    def __init__(
        self, destination: Destination, rules: CompactionConfig, spill: Spill, is_stopping: Callable[[], bool]
    ) -> None:
        self._destination = destination
        self._rules = rules
        self._spill = spill
        self._is_stopping = is_stopping

    def rewrite(self, day: Day, through: Sequence[Reach]) -> Compaction | None:
        """Replace a day's files by one; return None when another process has replaced them meanwhile.

        Raises:
            DamagedDayError: the files do not hold what the records say.
            StopRequestedError: the program was asked to end; nothing is changed.
            TransientError: try again; another process may have removed the files.
            PermanentError: the destination cannot be used.
        """
        path = _make_path(day)
        sorting = DaySort(self._spill, self._rules.memory_bytes)
        self._write(path, day, sorting)
        info = self._destination.look(path)
        if info is None:
            raise TransientError(f"{self._destination.place}/{path} was written and is gone; start again")
        file = DataFile(path, *day.key, sorting.rows_read - sorting.repeated, info.size_bytes)
        return self._commit(_describe(day, (file,), through, sorting.repeated))

    def expire(self, day: Day, through: Sequence[Reach]) -> Compaction | None:
        """Replace a day's files by nothing; return None when another process has replaced them meanwhile.

        Raises:
            TransientError: try again.
            PermanentError: the destination cannot be used.
        """
        return self._commit(_describe(day, (), through, 0))

    def _write(self, path: str, day: Day, sorting: DaySort) -> None:
        """Write the rows in order; a file whose number of rows is not as expected never appears."""
        channel = SCHEMAS[day.key[0]]
        options = channel.writer_options | {
            "compression": "zstd",
            "compression_level": self._rules.compression_level,
            "sorting_columns": [pq.SortingColumn(channel.schema.names.index("symbol"))],
        }
        with (
            self._destination.open_writer(path) as target,
            pq.ParquetWriter(target, channel.schema, **options) as writer,
        ):
            groups = RowGroups(writer, self._rules.memory_bytes // _GROUP_SHARE)
            for table in sorting.sort(self._read(day, channel)):
                self._check_stop()
                groups.add(table)
                del table  # or it would be held while the next one is sorted
            groups.finish()
            _check_rows(day, sorting, groups.row_count)
            writer.add_key_value_metadata(
                make_facts(
                    channel,
                    generation=day.generation,
                    rows_read=sorting.rows_read,
                    rows=groups.row_count,
                    repeated=sorting.repeated,
                )
            )

    def _read(self, day: Day, channel: ChannelSchema) -> Iterator[pa.Table]:
        for table in read_tables(self._destination, day.files, channel):
            self._check_stop()
            yield table

    def _check_stop(self) -> None:
        if self._is_stopping():
            raise StopRequestedError

    def _commit(self, compaction: Compaction) -> Compaction | None:
        path = make_compaction_path(compaction)
        data = msgspec.json.format(msgspec.json.encode(compaction), indent=1)
        # Told that there is one already, it may be our own, whose acknowledgement was lost.
        if self._destination.create(path, data) or self._destination.read(path) == data:
            return compaction
        for file in compaction.files:
            self._destination.delete(file.path)
        return None


def _make_path(day: Day) -> str:
    """Return a path that is this run's alone: of two that race for the record, none may touch the other's file."""
    channel, exchange, dt = day.key
    # An exchange's name comes from the bus: quoted, it can be no other folder.
    return f"{channel}/exchange={quote(exchange, safe='')}/dt={dt}/{day.generation:06d}-{uuid4().hex[:8]}.parquet"


def _describe(day: Day, files: tuple[DataFile, ...], through: Sequence[Reach], repeated: int) -> Compaction:
    channel, exchange, dt = day.key
    return Compaction(
        channel=channel,
        exchange=exchange,
        dt=dt,
        generation=day.generation,
        files=files,
        through=tuple(through),
        rows_read=sum(file.rows for file in day.files),
        rows=sum(file.rows for file in files),
        repeated=repeated,
        committed_ns=time.time_ns(),
        software=SOFTWARE,
    )


def _check_rows(day: Day, sorting: DaySort, written: int) -> None:
    expected = sum(file.rows for file in day.files)
    if sorting.rows_read != expected:
        raise DamagedDayError(
            f"{' '.join(day.key)}: the files hold {sorting.rows_read} rows, their records say {expected}; "
            "restore them from a backup"
        )
    if written != sorting.rows_read - sorting.repeated:
        raise RuntimeError(f"{written} rows came out of {sorting.rows_read}, {sorting.repeated} of them repeats")
