"""Rows become batches: one open batch for each exchange, channel and partition, closed by rows, bytes or age.

Many rows a message is what makes a bus fast from Python: one acknowledged message costs the same at one row as at two
hundred. Feeds append to the columns of a lane directly and then commit; no object is made for a row.

All shards of a channel of an exchange share its lanes, so the header's shard stays empty: a lane per shard would only
cut the same rows into more messages, and which shard a symbol belongs to stands in the plan.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from tickloom.marketdata.v1.header_pb2 import Header
from tickloom_collector.metrics import BATCHES, ROWS
from tickloom_core.bus.spool import Outgoing
from tickloom_core.bus.subjects import find_partition, make_subject
from tickloom_core.columns import BookBuffer, RowBuffer
from tickloom_core.config import CollectorConfig
from tickloom_core.wire import encode

B = TypeVar("B", bound=RowBuffer)

_NS_PER_MS: Final = 1_000_000


def make_writer(name: str) -> str:
    """Return a name for this start of the collector, unique for ever and in order of time."""
    return f"{name}.{time.time_ns() // _NS_PER_MS:012x}{secrets.token_hex(8)}"


class Lane(Generic[B]):
    """The open batch of one channel of one exchange in one partition.

    Whoever writes appends one entry to every column of `buffer`, then calls `commit`. The buffer is another one after
    each commit that closes the batch, so nobody keeps it.

    Attributes:
        buffer: the columns of the open batch.
    """

    __slots__ = (
        "_batcher",
        "_check_at_rows",
        "_has_levels",
        "_kind",
        "_partition",
        "_rows",
        "_subject",
        "buffer",
        "channel",
        "exchange",
    )

    def __init__(self, batcher: Batcher, kind: type[B], exchange: str, partition: int) -> None:
        self._batcher = batcher
        self._kind = kind
        self._partition = partition
        self._subject = make_subject(partition, kind.channel, exchange)
        self._rows = ROWS.labels(exchange, kind.channel), BATCHES.labels(exchange, kind.channel)
        self._check_at_rows = 1
        self._has_levels = issubclass(kind, BookBuffer)
        self.exchange = exchange
        self.channel = kind.channel
        self.buffer = kind()

    def commit(self) -> None:
        """Say that rows are complete; closes the batch when it is full."""
        if len(self.buffer.receive_time_ns) >= self._check_at_rows:
            self._check()

    def close(self) -> None:
        """Give the open batch to the publisher, if there is any row in it."""
        buffer, rows = self.buffer, len(self.buffer)
        if not rows:
            return
        self.buffer = self._kind()
        self._check_at_rows = 1
        row_counter, batch_counter = self._rows
        row_counter.inc(rows)
        batch_counter.inc()
        self._batcher.send(self._subject, self._partition, buffer, self.exchange)

    def _check(self) -> None:
        """Measure the batch, which costs as much as a row, and reckon when to measure again."""
        limits = self._batcher.limits
        rows, size_bytes = len(self.buffer), self.buffer.size_bytes
        if rows >= limits.batch_rows or size_bytes >= limits.batch_bytes:
            self.close()
            return
        if not self._has_levels:
            # Rows of one size: half of those that still fit may come before the next look.
            more_rows = (limits.batch_bytes - size_bytes) * rows // (2 * size_bytes)
            self._check_at_rows = min(limits.batch_rows, rows + max(1, more_rows))
        self._batcher.arm()


class Batcher:
    """Owns the lanes, their common clock and the numbering of the batches.

    Args:
        writer: this start of the collector, see `make_writer`.
        partitions: of the stream.
        limits: when a batch is full or old.
        submit: takes a finished message; must not block.

    Attributes:
        epoch: the epoch of the assignment in force, written into every header.
        rows: rows given to the publisher since the start.
    """

    def __init__(
        self, writer: str, partitions: int, limits: CollectorConfig, submit: Callable[[Outgoing], None]
    ) -> None:
        self.limits = limits
        self.epoch = 0
        self.rows = 0
        self._writer = writer
        self._partitions = partitions
        self._submit = submit
        self._sequence = 0
        self._lanes: dict[tuple[type[RowBuffer], str, int], Lane[RowBuffer]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def find_lane(self, kind: type[B], exchange: str, symbol: str) -> Lane[B]:
        """Return the lane of a symbol; callers keep it, it never changes."""
        partition = find_partition(exchange, symbol, self._partitions)
        key = (kind, exchange, partition)
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(self, kind, exchange, partition)
        return lane  # type: ignore[return-value]  # the key holds the buffer's type

    def flush(self) -> None:
        """Close every open batch."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for lane in self._lanes.values():
            lane.close()

    def arm(self) -> None:
        """See to it that what is open now is closed `batch_ms` from now at the latest."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self.limits.batch_ms / 1000, self.flush)

    def send(self, subject: str, partition: int, buffer: RowBuffer, exchange: str) -> None:
        """Encode a batch and hand it over; called by its lane."""
        self._sequence += 1
        header = Header(
            exchange=exchange,
            channel=buffer.channel,
            epoch=self.epoch,
            writer=self._writer,
            writer_sequence=self._sequence,
            partition=partition,
        )
        self.rows += len(buffer)
        message = Outgoing(
            subject=subject,
            message_id=f"{self._writer}-{self._sequence}",
            payload=encode(header, buffer),
            exchange=exchange,
            channel=buffer.channel,
            rows=len(buffer),
            first_ns=buffer.receive_time_ns[0],
            last_ns=buffer.receive_time_ns[-1],
        )
        self._submit(message)
