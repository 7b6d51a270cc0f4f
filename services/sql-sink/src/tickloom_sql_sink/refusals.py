"""Which rows of a chunk the database refuses, found by asking it: halves of halves, in a transaction that is undone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from zlib import crc32

from sqlalchemy import Connection

from tickloom_core.rejections import Rejected
from tickloom_core.rows import pick_rows
from tickloom_core.sink import Chunk
from tickloom_core.wire import Batch
from tickloom_sql_sink.database import Database, RefusedRowsError
from tickloom_sql_sink.rows import Rows, read_rows
from tickloom_sql_sink.unwritable import find_unwritable

Refusals = dict[int, dict[int, str]]
"""By the position of a batch in its chunk: the refused rows, each by its index with the reason."""


def check_rows(rows: Rows) -> Rows:
    """Return the rows.

    Raises:
        RefusedRowsError: some of them cannot be written.
    """
    for reason in find_unwritable(rows).values():
        raise RefusedRowsError(reason)
    return rows


def find_refusals(database: Database, batches: Iterable[Batch]) -> Refusals:
    """Return the rows that the database refuses; every batch is tried by itself, and nothing of it stays.

    Raises:
        TransientError: the database does not answer.
    """
    refusals: Refusals = {}
    with database.begin_trial() as connection:
        for position, batch in enumerate(batches):
            rows = read_rows(batch)
            reasons = find_unwritable(rows)
            left = [index for index in range(len(rows)) if index not in reasons]
            reasons |= _bisect(database, connection, rows, left)
            if reasons:
                refusals[position] = reasons
    return refusals


def describe_refusals(chunk: Chunk, refusals: Refusals) -> list[Rejected]:
    """Return what is to be set aside: a message a batch, of only the refused rows."""
    return [
        _describe(chunk.partition, chunk.batches[position], reasons) for position, reasons in sorted(refusals.items())
    ]


def _bisect(database: Database, connection: Connection, rows: Rows, indices: Sequence[int]) -> dict[int, str]:
    if not indices:
        return {}
    try:
        with database.translate_errors(), connection.begin_nested() as savepoint:
            database.load(connection, rows.table, [rows.pick(indices)])
            savepoint.rollback()
    except RefusedRowsError as error:
        if len(indices) == 1:
            return {indices[0]: str(error)}
        middle = len(indices) // 2
        return _bisect(database, connection, rows, indices[:middle]) | _bisect(
            database, connection, rows, indices[middle:]
        )
    return {}


def _describe(partition: int, batch: Batch, reasons: dict[int, str]) -> Rejected:
    indices = sorted(reasons)
    header = batch.header
    # The rows are a part of the name: another version of the database may refuse others of the same batch.
    key = f"{header.writer}-{header.writer_sequence}-{crc32(repr(indices).encode()):08x}"
    return Rejected(
        partition=partition,
        channel=header.channel,
        exchange=header.exchange,
        key=key,
        data=pick_rows(batch, indices),
        row_count=len(indices),
        reason=reasons[indices[0]],
    )
