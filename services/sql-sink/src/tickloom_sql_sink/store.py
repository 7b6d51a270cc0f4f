"""Chunks to rows: the rows of a chunk and the position behind it are one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final, TypeVar

import structlog
from prometheus_client import Counter
from sqlalchemy import Table

from tickloom_core.bus.identity import StreamIdentity
from tickloom_core.errors import SupersededError
from tickloom_core.rejections import SetAside
from tickloom_core.sink import Chunk, Committed
from tickloom_sql_sink.database import Database, NoPartitionError, RefusedRowsError, Removed
from tickloom_sql_sink.migration import migrate
from tickloom_sql_sink.positions import move_position, open_position, read_sequence
from tickloom_sql_sink.refusals import Refusals, check_rows, describe_refusals, find_refusals
from tickloom_sql_sink.rows import Rows, read_rows
from tickloom_sql_sink.tables import FILED, OF_CHANNEL, get_time_column

log = structlog.get_logger(__name__)

_T = TypeVar("_T")
_DAY_US: Final = 86_400 * 10**6
_CLOSE_S: Final = 5.0

_REPEATED_ROWS = Counter(
    "tickloom_sql_sink_repeated_rows", "Rows left out because their key was there already", ["table"]
)


class SqlStore:
    """Writes chunks to a database, each exactly once: its rows and the new position are committed together.

    Everything that touches the database happens in threads; the event loop only waits.

    Args:
        database: where the tables are.
        set_aside: makes rows durable that the database refuses.
    """

    def __init__(self, database: Database, set_aside: SetAside) -> None:
        self._database = database
        self._set_aside = set_aside
        self._threads = ThreadPoolExecutor(database.threads, thread_name_prefix="sql")
        # A thread goes on when the task that waits for it is cancelled.
        self._running: set[Future[Any]] = set()

    async def prepare(self) -> None:
        """Make or migrate the tables.

        Raises:
            TransientError: the database does not answer.
            PermanentError: it cannot be used; the message says what to mend.
        """
        await self._run(partial(migrate, self._database))
        log.info("sql.tables_ready", url=self._database.place)

    async def open_partition(self, partition: int, stream: StreamIdentity) -> Committed:
        """Return where the position of this stream stands.

        Raises:
            TransientError: try again.
            PermanentError: the database cannot be used.
        """

        def read() -> Committed:
            with self._database.begin() as connection:
                return open_position(connection, partition, stream)

        return await self._run(read)

    async def write(self, chunk: Chunk) -> None:
        """Commit a chunk; rows that the database refuses are set aside first.

        Raises:
            SupersededError: another process has committed further in this partition.
            TransientError: nothing is committed, or it is not known what is; try again.
            PermanentError: the database cannot be used any more.
        """
        try:
            await self._run(partial(self._commit, chunk, {}))
        except RefusedRowsError:
            refusals = await self._run(partial(self._find_refusals, chunk))
            for rejected in describe_refusals(chunk, refusals):
                await self._set_aside(rejected)
            await self._run(partial(self._commit, chunk, refusals))
        log.debug("sql.committed", partition=chunk.partition, last=chunk.last_sequence, rows=chunk.row_count)

    async def make_room(self, days: Iterable[int]) -> None:
        """Make partitions for rows of these days, counted from 1970-01-01.

        Raises:
            TickloomError: the database does not answer or does not allow it.
        """
        for table in FILED:
            await self._run(partial(self._database.make_room, table, days))

    async def remove_oldest(self, table: Table, cutoff: datetime) -> Removed | None:
        """Remove a piece of what is older than `cutoff`; None when there is nothing left.

        Raises:
            TickloomError: the database does not answer or does not allow it.
        """
        return await self._run(partial(self._database.remove_oldest, table, cutoff))

    async def close(self) -> None:
        """Begin nothing new, make what is being written fail, and close the connections."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(self._database.interrupt)
        await asyncio.to_thread(wait, list(self._running), _CLOSE_S)
        self._database.close()

    def _commit(self, chunk: Chunk, refusals: Refusals) -> None:
        try:
            self._transact(chunk, refusals)
        except NoPartitionError:
            self._make_room_for(chunk)
            self._transact(chunk, refusals)

    def _transact(self, chunk: Chunk, refusals: Refusals) -> None:
        repeated: dict[str, int] = {}
        with self._database.begin() as connection:
            if not move_position(connection, chunk):
                sequence = read_sequence(connection, chunk.partition, chunk.stream)
                if sequence == chunk.last_sequence:
                    # This very chunk: an earlier attempt was committed, and its answer was lost.
                    return
                raise SupersededError(
                    f"partition {chunk.partition} stands at {sequence} in {self._database.place}, expected "
                    f"{chunk.first_sequence - 1}: another process writes it too; stop one of them"
                )
            for channel, positions in _group_by_channel(chunk).items():
                table = OF_CHANNEL[channel]
                parts = _Parts(chunk, positions, refusals)
                repeated[table.name] = len(parts) - self._database.load(connection, table, parts)
        for name, count in repeated.items():
            _REPEATED_ROWS.labels(name).inc(count)

    def _find_refusals(self, chunk: Chunk) -> Refusals:
        self._make_room_for(chunk)
        return find_refusals(self._database, chunk.batches)

    def _make_room_for(self, chunk: Chunk) -> None:
        days: dict[str, set[int]] = {}
        for batch in chunk.batches:
            table = OF_CHANNEL[batch.header.channel]
            times_us = read_rows(batch)[get_time_column(table)]
            days.setdefault(table.name, set()).update(time_us // _DAY_US for time_us in times_us)
        for table in OF_CHANNEL.values():
            if table.name in days:
                self._database.make_room(table, days[table.name])

    async def _run(self, work: Callable[[], _T]) -> _T:
        running = self._threads.submit(work)
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        return await asyncio.wrap_future(running)


def _group_by_channel(chunk: Chunk) -> dict[str, list[int]]:
    """Return the positions of the batches by channel."""
    groups: dict[str, list[int]] = {}
    for position, batch in enumerate(chunk.batches):
        groups.setdefault(batch.header.channel, []).append(position)
    return groups


@dataclass(frozen=True, slots=True)
class _Parts:
    """The rows of some of a chunk's batches; each is read when its turn comes, and not kept."""

    chunk: Chunk
    positions: Sequence[int]
    refusals: Refusals

    def __iter__(self) -> Iterator[Rows]:
        for position in self.positions:
            yield check_rows(read_rows(self.chunk.batches[position]).leave_out(self.refusals.get(position, {})))

    def __len__(self) -> int:
        """Return the number of rows."""
        return sum(
            self.chunk.batches[position].row_count - len(self.refusals.get(position, {})) for position in self.positions
        )
