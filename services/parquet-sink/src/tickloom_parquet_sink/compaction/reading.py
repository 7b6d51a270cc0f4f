"""The rows of many files, one behind the other, in the schema of this version."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import BinaryIO, Final, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from tickloom_core.errors import PermanentError
from tickloom_core.manifests import DataFile
from tickloom_parquet_sink.compaction.arrow import join_tables
from tickloom_parquet_sink.destination import Destination
from tickloom_parquet_sink.schemas import ChannelSchema

_BATCH_ROWS: Final = 65_536
_SMALL_BYTES: Final = 1024**2
"""Files up to this size are read whole and ahead: in a bucket each costs a round trip, and a day has thousands."""
_AHEAD: Final = 16

_Source: TypeAlias = "BinaryIO | pa.BufferReader"


class DamagedDayError(PermanentError):
    """What a day's files hold is not what the records say, so that nothing may replace them."""


def read_tables(destination: Destination, files: Sequence[DataFile], channel: ChannelSchema) -> Iterator[pa.Table]:
    """Yield the rows of the files, in their order, as tables of the channel's schema, of tens of thousands of rows.

    Raises:
        DamagedDayError: a file is no Parquet, or has columns that this version does not know.
        TransientError: a file cannot be read at the moment, or is not there any more.
        PermanentError: the destination cannot be used.
    """
    waiting: list[pa.Table] = []
    row_count = 0
    for table in _read_batches(destination, files, channel):
        waiting.append(table)
        row_count += table.num_rows
        # A table of a few rows takes several times what its rows do.
        if row_count >= _BATCH_ROWS:
            yield join_tables(waiting)
            waiting, row_count = [], 0
    if waiting:
        yield join_tables(waiting)


def _read_batches(destination: Destination, files: Sequence[DataFile], channel: ChannelSchema) -> Iterator[pa.Table]:
    for file, source in _open_files(destination, files):
        try:
            with pq.ParquetFile(source) as parquet:
                for batch in parquet.iter_batches(_BATCH_ROWS):
                    yield _conform(pa.Table.from_batches([batch]), channel, file)
        except pa.ArrowInvalid as error:
            raise DamagedDayError(f"{destination.place}/{file.path} cannot be read: {error}; restore it") from error


def _open_files(destination: Destination, files: Sequence[DataFile]) -> Iterator[tuple[DataFile, _Source]]:
    """Yield the files opened, in order; small ones are read ahead."""
    with ExitStack() as resources:
        readers = ThreadPoolExecutor(_AHEAD)
        resources.callback(readers.shutdown, cancel_futures=True)
        waiting: deque[tuple[DataFile, Future[bytes] | None]] = deque()
        for position, file in enumerate(files):
            is_small = file.bytes <= _SMALL_BYTES
            waiting.append((file, readers.submit(destination.read, file.path) if is_small else None))
            while len(waiting) > (_AHEAD if position < len(files) - 1 else 0):
                yield from _open_next(destination, *waiting.popleft())


def _open_next(
    destination: Destination, file: DataFile, content: Future[bytes] | None
) -> Iterator[tuple[DataFile, _Source]]:
    if content is not None:
        yield file, pa.BufferReader(content.result())
        return
    with destination.open_reader(file.path) as source:
        yield file, source


def _conform(table: pa.Table, channel: ChannelSchema, file: DataFile) -> pa.Table:
    """Return the table with the columns of this version; those that are younger than the file are null."""
    schema = channel.schema
    if unknown := set(table.column_names) - set(schema.names):
        raise DamagedDayError(
            f"{file.path} has columns that this version does not know: {', '.join(sorted(unknown))}; update it"
        )
    for column in schema:
        if column.name not in table.column_names:
            table = table.append_column(column, pa.nulls(table.num_rows, column.type))
    return table.select(schema.names).cast(schema)
