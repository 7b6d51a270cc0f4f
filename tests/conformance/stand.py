"""Between a real nats-server and the store under test: what the suite does with them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nats.js.api import RawStreamMsg

from tests.support.bus import eventually
from tests.support.media.medium import Medium
from tests.support.ticks import Tape, describe_difference
from tickloom_core.bus.connection import Connection
from tickloom_core.bus.identity import StreamIdentity
from tickloom_core.bus.ownership import make_claim
from tickloom_core.bus.spool import Outgoing
from tickloom_core.bus.subjects import REJECTED_STREAM
from tickloom_core.config import BusConfig
from tickloom_core.lifecycle import Health, Stop
from tickloom_core.rejections import Rejections
from tickloom_core.sink import Chunk, ChunkLimits, SinkLoop, Store
from tickloom_core.wire import decode
from tickloom_core.writers import WriterWindow

DEADLINE_S = 60.0
"""Of whatever is waited for: also a machine that is busy with other things starts a process within it."""
LIMITS = ChunkLimits(rows=40, size_bytes=2**20, window_s=0.5)
Wrap = Callable[[Store], Store]


@dataclass
class Stand:
    """A bus on which the topology stands, and the medium under test.

    Attributes:
        folder: for whatever has files.
        tape: makes all rows of the test.
    """

    connection: Connection
    url: str
    config: BusConfig
    medium: Medium
    folder: Path
    tape: Tape = field(default_factory=Tape)

    @property
    def settings(self) -> dict[str, Any]:
        """The configuration of a process on this bus, with chunks as small as the suite's."""
        chunks = {"chunk_rows": LIMITS.rows, "chunk_window_s": LIMITS.window_s}
        bus = {
            "partitions": self.config.partitions,
            "max_bytes": self.config.max_bytes,
            "sinks": list(self.config.sinks),
        }
        return {"nats": {"url": self.url}, "bus": bus} | dict.fromkeys(self.medium.make_settings(), chunks)

    async def publish(self, *messages: Outgoing) -> None:
        """Put batches on the bus, each once."""
        for message in messages:
            await self.put(message.subject, message.payload, message.message_id)

    async def put(self, subject: str, data: bytes, message_id: str) -> None:
        """Put any bytes on the bus."""
        async with asyncio.timeout(DEADLINE_S):
            while not await self.connection.store(subject, data, {"Nats-Msg-Id": message_id}, timeout_s=1):
                pass

    @asynccontextmanager
    async def publishing(self, pause_s: float = 0.01) -> AsyncIterator[None]:
        """Publish one small batch after the other while the block runs."""
        is_over = asyncio.Event()

        async def publish() -> None:
            while not is_over.is_set():
                for partition in range(self.config.partitions):
                    await self.publish(self.tape.make(rows=5, partition=partition))
                await asyncio.sleep(pause_s)

        async with asyncio.TaskGroup() as group:
            group.create_task(publish())
            try:
                yield
            finally:
                is_over.set()

    @asynccontextmanager
    async def carrying(
        self, *partitions: int, wrap: Wrap | None = None, port: int | None = None
    ) -> AsyncIterator[None]:
        """Carry partitions, by default all, into the store while the block runs; a loop that fails ends the block."""
        stop = Stop()
        rejections = Rejections(self.connection, self.medium.sink)
        async with self.medium.open_store(rejections.set_aside, port=port) as store:
            wrapped = store if wrap is None else wrap(store)
            loop = SinkLoop(self.connection, self.medium.sink, wrapped, LIMITS, Health(), make_claim("suite"))
            async with asyncio.TaskGroup() as group:
                for partition in partitions or range(self.config.partitions):
                    group.create_task(loop.run(partition, stop))
                try:
                    yield
                finally:
                    stop.set()

    async def has_rows(self, count: int, channel: str = "trades") -> None:
        """Wait until a channel has so many rows."""
        what = f"{count} {channel} stored"
        await eventually(lambda: self.medium.count_rows(channel) >= count, within_s=DEADLINE_S, what=what)

    async def has_stored(self) -> None:
        """Wait until as many trades are stored as the tape has made; then each is there once."""
        wanted = self.wanted_trades
        await self.has_rows(wanted.total())
        stored = self.medium.read_keys()
        assert stored == wanted, describe_difference(stored, wanted)

    @property
    def wanted_trades(self) -> Counter[str]:
        """The keys of all trades of the tape, each once."""
        return Counter(map(str, range(1, self.tape.last_keys["trades"] + 1)))

    async def read_rejected(self) -> list[RawStreamMsg]:
        """Return what was set aside, oldest first."""
        state = (await self.connection.request(f"$JS.API.STREAM.INFO.{REJECTED_STREAM}"))["state"]
        stream = self.connection.client.jetstream()
        # A stream that has never held a message begins at 0, and none has that number.
        sequences = range(max(1, state["first_seq"]), state["last_seq"] + 1)
        return [await stream.get_msg(REJECTED_STREAM, sequence) for sequence in sequences]

    async def make_chunk(self, *messages: Outgoing) -> Chunk:
        """Return the first chunk of partition 0, as the loop would hand it to a store."""
        answer = await self.connection.request("$JS.API.STREAM.INFO.MARKETDATA")
        writers = WriterWindow()
        batches = [decode(message.payload) for message in messages]
        for batch in batches:
            writers.note(batch.header.writer, batch.header.writer_sequence)
        return Chunk(
            partition=0,
            stream=StreamIdentity("MARKETDATA", str(answer["created"])),
            first_sequence=1,
            writers=writers,
            last_sequence=len(messages),
            stored_ns=messages[0].first_ns,
            batches=batches,
            row_count=sum(batch.row_count for batch in batches),
            size_bytes=sum(len(message.payload) for message in messages),
        )
