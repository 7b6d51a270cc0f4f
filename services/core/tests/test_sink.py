"""The sink loop: chunks are a pure function of the stream, and what is committed is what the store says."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from hypothesis import given, strategies

from tests.support.bus import eventually, make_batch
from tickloom_core.bus.connection import Connection, connect
from tickloom_core.bus.identity import StreamIdentity
from tickloom_core.bus.ownership import make_claim
from tickloom_core.bus.reader import PartitionReader
from tickloom_core.config import NatsConfig
from tickloom_core.errors import SupersededError, TransientError
from tickloom_core.lifecycle import Health, Stop
from tickloom_core.sink import Chunk, ChunkLimits, Committed, SinkLoop
from tickloom_core.wire import decode
from tickloom_core.writers import WriterWindow


class MemoryStore:
    """A store that remembers its chunks, and fails when told to."""

    def __init__(self) -> None:
        self.chunks: list[Chunk] = []
        self.failures = 0

    async def open_partition(self, partition: int, stream: StreamIdentity) -> Committed:
        if not self.chunks:
            return Committed(0, WriterWindow())
        return Committed(self.chunks[-1].last_sequence, self.chunks[-1].writers.copy())

    async def write(self, chunk: Chunk) -> None:
        if self.failures:
            self.failures -= 1
            raise TransientError("not now")
        self.chunks.append(chunk)

    @property
    def ids(self) -> list[str]:
        return [
            f"{batch.header.writer}-{batch.header.writer_sequence}" for chunk in self.chunks for batch in chunk.batches
        ]

    @property
    def bounds(self) -> list[tuple[int, int]]:
        return [(chunk.first_sequence, chunk.last_sequence) for chunk in self.chunks]


@asynccontextmanager
async def running(
    connection: Connection, store: MemoryStore, limits: ChunkLimits, name: str = "sink"
) -> AsyncIterator[None]:
    stop = Stop()
    loop = SinkLoop(connection, "parquet", store, limits, Health(), make_claim(name))
    task = asyncio.create_task(loop.run(0, stop))
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(task, 10)


async def publish(connection: Connection, message) -> None:
    async with asyncio.timeout(20):
        while not await connection.store(
            message.subject, message.payload, {"Nats-Msg-Id": message.message_id}, timeout_s=1
        ):
            pass


SMALL = ChunkLimits(rows=20, size_bytes=10**9, window_s=0.5)


async def test_all_rows_in_order_and_acknowledged(connection):
    """Every message reaches the store once and in order, the last ones by the idle flush; the stream is empty then."""
    store = MemoryStore()
    async with running(connection, store, SMALL):
        for n in range(1, 56):
            await publish(connection, make_batch(n))
        await eventually(lambda: len(store.ids) == 55, what="all batches committed")
        assert store.ids == [f"w-{n}" for n in range(1, 56)]
        bounds = store.bounds
        assert all(before[1] + 1 == after[0] for before, after in itertools.pairwise(bounds))

        info = {}

        async def drained() -> bool:
            info.update(await connection.request("$JS.API.STREAM.INFO.MARKETDATA"))
            return info["state"]["messages"] == 0

        async with asyncio.timeout(10):
            while not await drained():
                await asyncio.sleep(0.05)


async def test_redelivered_messages_are_skipped(connection):
    """A store that has committed decides where reading begins, not the acknowledgement floor."""
    for n in range(1, 11):
        await publish(connection, make_batch(n))
    store = MemoryStore()
    store.chunks.append(Chunk(0, StreamIdentity("x", "y"), 1, WriterWindow(), last_sequence=4))
    async with running(connection, store, SMALL):
        await eventually(lambda: len(store.ids) == 6, what="the rest committed")
    assert store.ids == [f"w-{n}" for n in range(5, 11)]
    assert store.chunks[1].first_sequence == 5


async def test_repeated_batch_is_dropped(connection):
    """A batch that JetStream stored twice is stored once; its sequence still counts as read."""
    for n in (1, 2, 1, 3, 2):
        message = make_batch(n)
        assert await connection.store(message.subject, message.payload, {})
    store = MemoryStore()
    async with running(connection, store, SMALL):
        await eventually(lambda: bool(store.chunks) and store.chunks[-1].last_sequence == 5, what="all read")
    assert store.ids == ["w-1", "w-2", "w-3"]


async def test_poisonous_message_is_set_aside(connection):
    """A message that nobody can read goes to md_rejected with its reason, and the loop goes on."""
    await publish(connection, make_batch(1))
    assert await connection.store("md.0.trades.binance", b"\xff\xff garbage", {})
    await publish(connection, make_batch(2))
    store = MemoryStore()
    async with running(connection, store, SMALL):
        await eventually(lambda: len(store.ids) == 2, what="the readable ones committed")
    assert store.ids == ["w-1", "w-2"]
    rejected = await connection.client.jetstream().get_msg("MD_REJECTED", 1)
    assert rejected.subject == "md_rejected.parquet.md.0.trades.binance"
    assert rejected.data == b"\xff\xff garbage"
    assert "no tickloom.marketdata.v1.Batch" in rejected.headers["Tickloom-Reason"]
    assert rejected.headers["Tickloom-Key"] == "2"


async def test_failing_store_is_tried_again(connection):
    """A transient failure delays, it loses and repeats nothing."""
    store = MemoryStore()
    store.failures = 3
    for n in range(1, 31):
        await publish(connection, make_batch(n))
    async with running(connection, store, SMALL):
        await eventually(lambda: len(store.ids) == 30, what="all committed after failures")
    assert store.ids == [f"w-{n}" for n in range(1, 31)]


async def test_server_killed_while_reading(connection, nats_server):
    """kill -9 of the server: reading goes on, nothing is skipped, nothing comes twice."""
    publisher = await connect(NatsConfig(url=nats_server.url), name="publisher")
    store = MemoryStore()
    async with running(connection, store, ChunkLimits(rows=10, size_bytes=10**9, window_s=0.2)):
        sequence = 0
        for _ in range(3):
            for _ in range(40):
                sequence += 1
                await publish(publisher, make_batch(sequence))
            nats_server.kill()
            nats_server.start()
            await eventually(lambda: publisher.is_connected and connection.is_connected, what="reconnected")
        await eventually(lambda: len(set(store.ids)) == sequence, what="all committed")
    assert store.ids == [f"w-{n}" for n in range(1, sequence + 1)]
    await publisher.close()


async def test_a_consumer_that_vanishes(connection):
    """A reader whose consumer is deleted under it, or read by somebody else, goes on behind its last message."""
    reader = PartitionReader(connection, "parquet", 0)
    await reader.start_after(0)
    read: list[int] = []
    for round_ in range(5):
        for n in range(1, 11):
            await publish(connection, make_batch(round_ * 10 + n))
        if round_ == 1:
            await connection.request(f"$JS.API.CONSUMER.DELETE.MARKETDATA.{reader._consumer}")
        if round_ == 3:
            thief = await connection.client.jetstream().pull_subscribe_bind(reader._consumer, stream="MARKETDATA")
            with suppress(TimeoutError):
                await thief.fetch(1, timeout=0.5)
            await thief.unsubscribe()
        async with asyncio.timeout(20):
            while len(read) < round_ * 10 + 10:
                delivery = await reader.read(0.5)
                if delivery is not None:
                    read.append(delivery.sequence)
    assert read == list(range(1, 51))
    await reader.close()


class ChainedStore(MemoryStore):
    """A store shared by two sinks, in which the chain of chunks cannot fork."""

    async def write(self, chunk: Chunk) -> None:
        if chunk.first_sequence != (self.chunks[-1].last_sequence if self.chunks else 0) + 1:
            raise SupersededError("another sink has carried this partition on")
        await super().write(chunk)


async def read_contentions(connection: Connection) -> list[str]:
    """Return what is told of two sinks, as it stands in the stream."""
    state = (await connection.request("$JS.API.STREAM.INFO.MARKETDATA"))["state"]
    details = []
    for sequence in range(state["first_seq"], state["last_seq"] + 1):
        message = await connection.client.jetstream().get_msg("MARKETDATA", sequence)
        if message.subject == "md.0.events.tickloom":
            rows = decode(message.data or b"").rows
            assert list(rows.kind) == ["contention"]
            details += list(rows.detail)
    return details


async def test_two_sinks_on_one_partition(connection):
    """Two sinks by mistake: the later one carries on, every row is stored once, and both say so in an event."""
    audit = {"stream_name": "MARKETDATA", "config": {"durable_name": "audit", "ack_policy": "explicit"}}
    assert "error" not in await connection.request("$JS.API.CONSUMER.CREATE.MARKETDATA.audit", audit)
    store = ChainedStore()
    async with running(connection, store, SMALL, "first"):
        for n in range(1, 31):
            await publish(connection, make_batch(n))
        await eventually(lambda: len(store.ids) > 5, what="the first sink to store")
        async with running(connection, store, SMALL, "second"):
            told: list[str] = []
            n = 30
            async with asyncio.timeout(30):
                while not any("stands by" in text for text in told) or not any("runs as well" in text for text in told):
                    n += 1
                    await publish(connection, make_batch(n))
                    told = await read_contentions(connection)
            await eventually(lambda: len(set(store.ids) & {f"w-{m}" for m in range(1, n + 1)}) == n, what="all stored")
    assert len(store.ids) == len(set(store.ids))
    assert [text for text in told if "first (pid" in text and "stands by, second (pid" in text]
    assert [text for text in told if "second (pid" in text and "carries it, and first (pid" in text]


async def test_the_one_that_stands_by_goes_on(connection):
    """When the later of two sinks ends, the earlier one carries the partition again."""
    store = ChainedStore()
    async with running(connection, store, SMALL, "first"):
        async with running(connection, store, SMALL, "second"):
            await publish(connection, make_batch(1))
            await eventually(lambda: "w-1" in store.ids, what="one of them to store")
        await publish(connection, make_batch(2))
        await eventually(lambda: "w-2" in store.ids, within_s=40, what="the first to go on")


async def test_a_chunk_ends_with_the_hour(connection):
    """No chunk crosses an hour, however wide its window."""
    hour_ns = 3600 * 10**9
    loop = SinkLoop(connection, "parquet", MemoryStore(), ChunkLimits(1, 1, 7 * 3600), Health(), make_claim("x"))
    assert loop._find_window(5 * hour_ns - 1) != loop._find_window(5 * hour_ns)
    assert loop._find_window(5 * hour_ns) == loop._find_window(6 * hour_ns - 1)


@given(strategies.lists(strategies.tuples(strategies.sampled_from("abc"), strategies.integers(1, 50)), max_size=200))
def test_writer_window_survives_its_description(notes):
    """A window read back from its ranges answers as the original does."""
    window = WriterWindow()
    for writer, sequence in notes:
        window.note(writer, sequence)
    twin = WriterWindow.unpack(window.pack())
    assert twin.to_ranges() == window.to_ranges()
    assert all(not twin.note(writer, sequence) for writer, sequence in notes)
