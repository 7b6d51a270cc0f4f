"""The loop that every sink runs: messages of a partition to chunks, chunks to a store, then the acknowledgement.

The boundaries of a chunk are a pure function of the stream: its rows, its bytes, and the time at which JetStream stored
its messages crossing a window or an hour; never the local clock or the size of a pull. A chunk that is delivered again
is the same chunk, and a store that writes it again writes the same objects.

What is committed is what the store says, not the acknowledgement floor of the consumer: that can roll back when the
server crashes.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import Final, Protocol

import structlog
from prometheus_client import Counter, Gauge, Histogram

from tickloom_core.bus.connection import Connection
from tickloom_core.bus.event_writer import EventWriter
from tickloom_core.bus.identity import StreamIdentity
from tickloom_core.bus.ownership import Claim, Ownership
from tickloom_core.bus.reader import Delivery, PartitionReader
from tickloom_core.errors import BusUnavailableError, PoisonousMessageError, SupersededError, TransientError
from tickloom_core.lifecycle import Health, Stop
from tickloom_core.rejections import Rejections
from tickloom_core.wire import Batch, decode
from tickloom_core.writers import WriterWindow

log = structlog.get_logger(__name__)

_NS_PER_S: Final = 1_000_000_000
_IDLE_POLL_S: Final = 0.5
_RETRY_BASE_S: Final = 0.25
_RETRY_MAX_S: Final = 15.0
_HOUR_NS: Final = 3600 * _NS_PER_S

_WRITTEN_ROWS = Counter("tickloom_sink_rows", "Rows committed", ["sink", "channel"])
_CHUNKS = Counter("tickloom_sink_chunks", "Chunks committed", ["sink"])
_REPEATED = Counter("tickloom_sink_repeated_messages", "Messages dropped because their batch was seen before", ["sink"])
_REJECTED = Counter("tickloom_sink_rejected_messages", "Messages set aside as unreadable", ["sink"])
_FAILURES = Counter("tickloom_sink_store_failures", "Writes that failed and were tried again", ["sink"])
_COMMITTED = Gauge("tickloom_sink_committed_sequence", "Last committed stream sequence", ["sink", "partition"])
_PENDING = Gauge("tickloom_sink_pending_messages", "Messages not yet delivered", ["sink", "partition"])
_WRITE_SECONDS = Histogram("tickloom_sink_write_seconds", "Writing one chunk", ["sink"])


@dataclass(frozen=True, slots=True)
class ChunkLimits:
    """What ends a chunk, whichever comes first."""

    rows: int
    size_bytes: int
    window_s: float


@dataclass(slots=True)
class Chunk:
    """Consecutive messages of one partition.

    Attributes:
        first_sequence: the stream sequence behind the last chunk's last one.
        last_sequence: that of the last message, also when it was a repeat or set aside.
        stored_ns: when JetStream stored the first message.
        batches: the readable messages in order, repeats dropped.
        writers: the window of writers after this chunk, to be committed with it.
    """

    partition: int
    stream: StreamIdentity
    first_sequence: int
    writers: WriterWindow
    last_sequence: int = 0
    stored_ns: int = 0
    batches: list[Batch] = field(default_factory=list)
    row_count: int = 0
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Committed:
    """Where a store stands in one partition of one stream."""

    last_sequence: int
    writers: WriterWindow


class Store(Protocol):
    """Where chunks go."""

    async def open_partition(self, partition: int, stream: StreamIdentity) -> Committed:
        """Return what is committed of this stream; (0, empty window) when nothing is.

        Raises:
            TransientError: try again.
            PermanentError: the store cannot be used; the message says what to mend.
        """

    async def write(self, chunk: Chunk) -> None:
        """Make the chunk durable, idempotently: the same chunk may come again after a crash.

        Raises:
            SupersededError: another process has committed further in this partition.
            TransientError: nothing is committed, try again.
            PermanentError: the store cannot be used any more.
        """


class SinkLoop:
    """Carries partitions into a store.

    Args:
        connection: the bus.
        sink: the sink's name in bus.sinks.
        store: where chunks go.
        limits: what ends a chunk.
        health: told that the loops turn.
        claim: this process, as it claims partitions; who does not own a partition stands by.
    """

    def __init__(
        self,
        connection: Connection,
        sink: str,
        store: Store,
        limits: ChunkLimits,
        health: Health,
        claim: Claim,
    ) -> None:
        self._connection = connection
        self._sink = sink
        self._store = store
        self._limits = limits
        self._window_ns = int(limits.window_s * _NS_PER_S)
        self._health = health
        self._claim = claim
        self._events = EventWriter(connection, claim.name)
        self._rejections = Rejections(connection, sink)
        self.open_partitions: set[int] = set()

    async def run(self, partition: int, stop: Stop) -> None:
        """Carry messages until `stop`; what is not committed then is delivered again to whoever comes next.

        Raises:
            PermanentError: the store or the consumer cannot be used.
        """
        ownership = Ownership(self._connection, self._sink, partition, self._claim, self._events)
        async with ownership.keep():
            while not stop.is_set:
                self._beat(partition)
                if not ownership.is_held:
                    await stop.wait(_IDLE_POLL_S)
                    continue
                try:
                    await self._carry(partition, ownership, stop)
                except SupersededError as error:
                    await ownership.tell(str(error))
                finally:
                    self.open_partitions.discard(partition)

    async def _carry(self, partition: int, ownership: Ownership, stop: Stop) -> None:
        """Carry messages for as long as the partition is ours."""
        reader = PartitionReader(self._connection, self._sink, partition)
        begun = await self._begin(reader, partition, stop)
        if begun is None:
            return
        stream, committed = begun
        log.info("sink.started", sink=self._sink, partition=partition, after=committed.last_sequence)
        self.open_partitions.add(partition)
        chunk = Chunk(partition, stream, committed.last_sequence + 1, committed.writers)
        last: Delivery | None = None
        # While one chunk is being written the next one is read; never more than these two are held.
        commit: asyncio.Task[None] | None = None
        try:
            while not stop.is_set and ownership.is_held:
                self._beat(partition)
                if commit is not None and commit.done():
                    await commit
                    commit = None
                following = None
                if not self._is_full(chunk):
                    following = await reader.read(_IDLE_POLL_S)
                if last is not None and (self._is_full(chunk) or await self._is_over(chunk, following, reader)):
                    _PENDING.labels(self._sink, partition).set(last.pending)
                    await self._finish(commit, partition)
                    commit = asyncio.create_task(self._commit(chunk, reader, stop))
                    chunk = Chunk(partition, stream, chunk.last_sequence + 1, chunk.writers.copy())
                    last = None
                if following is not None:
                    await self._add(chunk, following)
                    last = following
            await self._finish(commit, partition)
        finally:
            if commit is not None and not commit.done():
                commit.cancel()
                await asyncio.wait([commit])
            await reader.close()

    def _beat(self, partition: int) -> None:
        self._health.beat(f"partition-{partition}")

    async def _finish(self, commit: asyncio.Task[None] | None, partition: int) -> None:
        """Wait for a commit; a slow store is no stuck loop."""
        while commit is not None and not commit.done():
            self._beat(partition)
            await asyncio.wait([commit], timeout=_IDLE_POLL_S)
        if commit is not None:
            await commit

    async def _begin(
        self, reader: PartitionReader, partition: int, stop: Stop
    ) -> tuple[StreamIdentity, Committed] | None:
        """Find out where the store stands and place the reader behind it; None when asked to stop before."""
        delay_s = _RETRY_BASE_S
        while not stop.is_set:
            self._beat(partition)
            try:
                stream = await reader.identify_stream()
                committed = await self._store.open_partition(partition, stream)
                await reader.start_after(committed.last_sequence)
            except TransientError as error:
                log.warning("sink.start_delayed", partition=partition, error=str(error))
                await stop.wait(delay_s)
                delay_s = min(_RETRY_MAX_S, delay_s * 2)
            else:
                _COMMITTED.labels(self._sink, partition).set(committed.last_sequence)
                return stream, committed
        return None

    def _is_full(self, chunk: Chunk) -> bool:
        return chunk.row_count >= self._limits.rows or chunk.size_bytes >= self._limits.size_bytes

    def _find_window(self, stored_ns: int) -> tuple[int, int]:
        """Return what messages of one chunk have in common: the window, and the hour."""
        return stored_ns // self._window_ns, stored_ns // _HOUR_NS

    async def _is_over(self, chunk: Chunk, following: Delivery | None, reader: PartitionReader) -> bool:
        """Say whether the chunk's window ends before `following`, or at all when nothing follows."""
        window = self._find_window(chunk.stored_ns)
        if following is not None:
            return self._find_window(following.stored_ns) != window
        try:
            standing = await reader.look()
        except BusUnavailableError:
            return False
        if standing is None:
            return False
        _PENDING.labels(self._sink, chunk.partition).set(standing.pending)
        # Nothing is pending and the server's own clock is past the window: whatever comes later belongs to a later one.
        return standing.pending == 0 and reader.is_drained and self._find_window(standing.server_ns) > window

    async def _add(self, chunk: Chunk, delivery: Delivery) -> None:
        if not chunk.stored_ns:
            chunk.stored_ns = delivery.stored_ns
        chunk.last_sequence = delivery.sequence
        chunk.size_bytes += len(delivery.data)
        try:
            batch = decode(delivery.data)
        except PoisonousMessageError as error:
            _REJECTED.labels(self._sink).inc()
            # It stays in the stream until it is stored there.
            await self._rejections.store(delivery.subject, delivery.data, key=str(delivery.sequence), reason=str(error))
            return
        if not chunk.writers.note(batch.header.writer, batch.header.writer_sequence):
            _REPEATED.labels(self._sink).inc()
            log.info("sink.repeat_dropped", writer=batch.header.writer, sequence=delivery.sequence)
            return
        chunk.batches.append(batch)
        chunk.row_count += batch.row_count

    async def _commit(self, chunk: Chunk, reader: PartitionReader, stop: Stop) -> None:
        """Write a chunk until the store has it, then acknowledge its messages."""
        delay_s = _RETRY_BASE_S
        while True:
            try:
                with _WRITE_SECONDS.labels(self._sink).time():
                    await self._store.write(chunk)
                break
            except SupersededError:
                raise
            except TransientError as error:
                _FAILURES.labels(self._sink).inc()
                pause_s = max(delay_s * random.uniform(0.5, 1.0), error.retry_after_s or 0)  # noqa: S311 - jitter, not a secret
                log.warning("sink.write_delayed", partition=chunk.partition, error=str(error), retry_s=pause_s)
                if await stop.wait(pause_s):
                    raise
                delay_s = min(_RETRY_MAX_S, delay_s * 2)
        _CHUNKS.labels(self._sink).inc()
        for batch in chunk.batches:
            _WRITTEN_ROWS.labels(self._sink, batch.header.channel).inc(batch.row_count)
        _COMMITTED.labels(self._sink, chunk.partition).set(chunk.last_sequence)
        await self._acknowledge(chunk, reader, stop)

    async def _acknowledge(self, chunk: Chunk, reader: PartitionReader, stop: Stop) -> None:
        """Let the stream forget what is stored; when asked to stop before, the next start says it."""
        while not stop.is_set:
            try:
                await reader.acknowledge(chunk.last_sequence)
            except BusUnavailableError as error:
                log.debug("sink.acknowledgement_delayed", partition=chunk.partition, error=str(error))
                await stop.wait(_RETRY_BASE_S)
            else:
                return
