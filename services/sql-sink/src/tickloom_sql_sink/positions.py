"""Where the sink stands in each partition of each stream: one row, moved in the transaction that stores the rows."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from sqlalchemy import ColumnElement, Connection, and_, select, text, update

from tickloom_core.bus.identity import StreamIdentity
from tickloom_core.sink import Chunk, Committed
from tickloom_core.writers import WriterWindow
from tickloom_sql_sink.tables import SINK_POSITIONS

_COLUMNS: Final = SINK_POSITIONS.c
_BEGIN: Final = text(
    "INSERT INTO sink_positions (partition, stream, stream_created, last_sequence, writer_window, updated_at) "
    "VALUES (:partition, :stream, :stream_created, 0, :writer_window, CURRENT_TIMESTAMP) ON CONFLICT DO NOTHING"
)


def open_position(connection: Connection, partition: int, stream: StreamIdentity) -> Committed:
    """Return what is committed of this stream, and note that somebody reads it."""
    names = {"partition": partition, "stream": stream.name, "stream_created": stream.created}
    connection.execute(_BEGIN, names | {"writer_window": WriterWindow().pack()})
    found = connection.execute(
        select(_COLUMNS.last_sequence, _COLUMNS.writer_window).where(_is_of(partition, stream))
    ).one()
    return Committed(found.last_sequence, WriterWindow.unpack(found.writer_window))


def move_position(connection: Connection, chunk: Chunk) -> bool:
    """Move the position to the end of a chunk that begins where it stands; return False when it stands elsewhere.

    Another process that moves the same position waits for this transaction, and then finds that it stands elsewhere.
    """
    moved = connection.execute(
        update(SINK_POSITIONS)
        .where(_is_of(chunk.partition, chunk.stream), _COLUMNS.last_sequence == chunk.first_sequence - 1)
        .values(
            last_sequence=chunk.last_sequence,
            writer_window=chunk.writers.pack(),
            updated_at=datetime.now(UTC),
        )
    )
    return moved.rowcount == 1


def read_sequence(connection: Connection, partition: int, stream: StreamIdentity) -> int | None:
    """Return the last committed sequence, or None when the position is gone."""
    return connection.execute(select(_COLUMNS.last_sequence).where(_is_of(partition, stream))).scalar()


def _is_of(partition: int, stream: StreamIdentity) -> ColumnElement[bool]:
    return and_(
        _COLUMNS.partition == partition,
        _COLUMNS.stream == stream.name,
        _COLUMNS.stream_created == stream.created,
    )
