"""Every row is stored once, whatever comes again, in which order, and whoever dies at which moment."""

from __future__ import annotations

import asyncio
import random

import pytest

from tests.conformance.base import PARTITIONS, SEED, StoreFixtures
from tests.conformance.stand import DEADLINE_S, Stand
from tests.support.bus import eventually
from tests.support.sink_process import SinkProcess
from tickloom_core.bus.identity import StreamIdentity
from tickloom_core.rejections import Rejected
from tickloom_core.sink import Chunk, Committed, Store

KILLS = 3
MOMENT_S = 0.02
"""About what a small write takes: an end "during" it lies within this time."""


class Crash(Exception):  # noqa: N818 - it stands for the end of a process
    """The process ends here."""


class DyingStore:
    """A store whose process dies at its second write.

    Args:
        store: the real one.
        moment: "before" the write, "during" it, or "after" it, before anybody acknowledges.
    """

    def __init__(self, store: Store, moment: str, chance: random.Random) -> None:
        self._store = store
        self._moment = moment
        self._chance = chance
        self._writes = 0

    async def open_partition(self, partition: int, stream: StreamIdentity) -> Committed:
        return await self._store.open_partition(partition, stream)

    async def write(self, chunk: Chunk) -> None:
        self._writes += 1
        if self._writes == 1 or self._moment == "after":
            await self._store.write(chunk)
        elif self._moment == "during":
            writing = asyncio.create_task(self._store.write(chunk))
            await asyncio.wait([writing], timeout=self._chance.uniform(0, MOMENT_S))
            writing.cancel()
            await asyncio.wait([writing])
        if self._writes > 1:
            raise Crash


async def refuse(rejected: Rejected) -> None:
    """Stand where nothing may be set aside."""
    pytest.fail(f"a good row was set aside: {rejected.reason}")


async def has_started(sink: SinkProcess, starts: int) -> None:
    """Wait until a sink carries all partitions, for the so many-th time."""
    count = starts * PARTITIONS
    what = f"start {starts} of {sink.name}"
    await eventually(lambda: sink.log.count("sink.started") >= count, within_s=DEADLINE_S, what=what)


class DeliveryConformance(StoreFixtures):
    """A store holds each row once."""

    async def test_a_chunk_that_comes_again(self, stand: Stand) -> None:
        """A chunk is stored once, however often it is written, also to a store that was opened anew."""
        chunk = await stand.make_chunk(*[stand.tape.make() for _ in range(3)])
        async with stand.medium.open_store(refuse) as store:
            assert (await store.open_partition(0, chunk.stream)).last_sequence == 0
            await store.write(chunk)
            await store.write(chunk)
        async with stand.medium.open_store(refuse) as store:
            committed = await store.open_partition(0, chunk.stream)
            assert (committed.last_sequence, committed.writers.to_ranges()) == (3, chunk.writers.to_ranges())
            await store.write(chunk)
            assert (await store.open_partition(1, chunk.stream)).last_sequence == 0
        await stand.has_stored()

    async def test_a_stream_made_again(self, stand: Stand) -> None:
        """A stream that was deleted and made again counts from 1 again: nothing of it counts as committed."""
        chunk, reborn = [await stand.make_chunk(stand.tape.make()) for _ in range(2)]
        reborn.stream = StreamIdentity(chunk.stream.name, "2036-11-22T00:00:00.000000001Z")
        async with stand.medium.open_store(refuse) as store:
            for each in (chunk, reborn):
                assert (await store.open_partition(0, each.stream)).last_sequence == 0
                await store.write(each)
            assert (await store.open_partition(0, chunk.stream)).last_sequence == 1
        await stand.has_stored()

    async def test_partitions_in_any_order(self, stand: Stand) -> None:
        """Partitions interleave as they like, one long behind the other: every row is stored once."""
        chance = random.Random(SEED)  # noqa: S311 - a repeatable test, not a secret
        for _ in range(60):
            await stand.publish(stand.tape.make(rows=7, partition=chance.randrange(PARTITIONS)))
        async with stand.carrying(1):
            await stand.has_rows(100)
        async with stand.carrying():
            async with stand.publishing():
                await stand.has_rows(500)
            await stand.has_stored()

    async def test_a_batch_that_the_bus_stored_twice(self, stand: Stand) -> None:
        """A batch under two message ids is stored once, also when the sink was started anew between the two."""
        message = stand.tape.make()
        await stand.publish(message)
        async with stand.carrying():
            await stand.has_stored()
        await stand.put(message.subject, message.payload, "another id")
        await stand.publish(stand.tape.make())
        async with stand.carrying():
            await stand.has_stored()

    @pytest.mark.parametrize("moment", ["before", "during", "after"])
    async def test_a_crash_around_a_write(self, stand: Stand, moment: str) -> None:
        """A crash before a write, in its middle, or between it and the acknowledgement loses and repeats nothing."""
        chance = random.Random(SEED)  # noqa: S311 - a repeatable test, not a secret
        for _ in range(3):
            await stand.publish(*[stand.tape.make(rows=20) for _ in range(8)])
            with pytest.RaisesGroup(Crash, flatten_subgroups=True):
                async with stand.carrying(0, wrap=lambda store: DyingStore(store, moment, chance)), asyncio.timeout(30):
                    await asyncio.Event().wait()
        async with stand.carrying():
            await stand.has_stored()

    async def test_kill_at_any_moment(self, stand: Stand) -> None:
        """kill -9 of the sink's process under load, some times: every row is stored once, and no litter is left."""
        chance = random.Random(SEED)  # noqa: S311 - a repeatable test, not a secret
        sink = SinkProcess(stand.folder, stand.medium, stand.settings)
        try:
            async with stand.publishing():
                for starts in range(1, KILLS + 1):
                    sink.start()
                    await has_started(sink, starts)
                    await asyncio.sleep(chance.uniform(0, 1))  # a random moment, not a synchronisation
                    sink.kill()
                sink.start()
            await stand.has_stored()
            assert await asyncio.to_thread(sink.stop) == 0
        finally:
            sink.kill()
        assert stand.medium.find_litter() == []

    async def test_two_sinks_by_mistake(self, stand: Stand) -> None:
        """Two processes on the same partitions: every row is stored once, and both say so in events that are stored."""
        sinks = [SinkProcess(stand.folder, stand.medium, stand.settings, name=name) for name in ("first", "second")]

        def both_have_told() -> bool:
            rows = stand.medium.read_columns("events", ("exchange", "kind", "detail"))
            told = [detail for exchange, kind, detail in rows if (exchange, kind) == ("tickloom", "contention")]
            stands_by = any("first (pid" in text and "stands by, second (pid" in text for text in told)
            return stands_by and any("second (pid" in text and "carries it, and first (pid" in text for text in told)

        try:
            async with stand.publishing():
                for sink in sinks:
                    sink.start()
                    await has_started(sink, 1)
                await eventually(both_have_told, within_s=DEADLINE_S, what="both sinks have told, in the store")
            await stand.has_stored()
            assert [sink.exit_code for sink in sinks] == [None, None]
        finally:
            for sink in sinks:
                sink.kill()
