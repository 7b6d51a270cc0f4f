"""A medium that is away, slow or full: the stream waits, nothing is lost, and not much is held in memory."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.conformance.base import PARTITIONS, StoreFixtures
from tests.conformance.stand import DEADLINE_S, LIMITS, Stand
from tests.support.bus import eventually
from tests.support.disk import SmallDisk
from tests.support.relay import Relay
from tickloom_core.bus.connection import connect
from tickloom_core.bus.identity import StreamIdentity
from tickloom_core.bus.publisher import Publisher, PublisherLimits
from tickloom_core.bus.spool import Loss, Spool
from tickloom_core.config import NatsConfig
from tickloom_core.sink import Chunk, Committed, Store

OUTAGE_S = 10.0
LONG_OUTAGE_S = 180.0
OUTAGE_BATCHES = 200
"""Spread over the outage, however long: enough to fill the stream, and the spool behind it."""
SLOW_WRITE_S = 1.0
SLOW_ANSWER_S = 0.1
SLOW_CHUNKS = 4


class SlowStore:
    """A store that takes its time."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def open_partition(self, partition: int, stream: StreamIdentity) -> Committed:
        return await self._store.open_partition(partition, stream)

    async def write(self, chunk: Chunk) -> None:
        await asyncio.sleep(SLOW_WRITE_S)
        await self._store.write(chunk)


@asynccontextmanager
async def publishing_through_spool(url: str, folder: Path) -> AsyncIterator[tuple[Publisher, Spool]]:
    """Provide a publisher as collectors have it, with little memory; nothing that it was given may be lost."""
    connection = await connect(NatsConfig(url=url), name="collector")
    losses: list[Loss] = []
    spool = Spool(folder / "spool", max_bytes=64 * 1024**2)
    limits = PublisherLimits(in_flight=64, ack_timeout_s=5, buffer_bytes=64 * 1024)
    publisher = Publisher(connection, limits, spool, losses.extend)
    running = asyncio.create_task(publisher.run())
    try:
        yield publisher, spool
        assert await publisher.drain(DEADLINE_S) == 0
        assert losses == []
    finally:
        running.cancel()
        await asyncio.wait([running])
        await connection.close()


def count_chunks() -> int:
    """Return how many chunks are in memory."""
    return sum(isinstance(found, Chunk) for found in gc.get_objects())


class TroubleConformance(StoreFixtures):
    """A store in trouble costs time, and nothing else."""

    @pytest.mark.parametrize(
        "outage_s",
        [OUTAGE_S, pytest.param(LONG_OUTAGE_S, marks=[pytest.mark.soak, pytest.mark.timeout(900)])],
    )
    async def test_an_outage(self, stand: Stand, outage_s: float) -> None:
        """While the medium is away the stream fills, then the spool; when it is back all is stored, once."""
        async with publishing_through_spool(stand.url, stand.folder) as (publisher, spool), stand.carrying():
            publisher.submit(stand.tape.make())
            await stand.has_stored()
            stand.medium.interrupt()
            start_s = time.monotonic()
            try:
                while time.monotonic() < start_s + outage_s or not publisher.is_blocked or spool.is_empty:
                    publisher.submit(stand.tape.make(rows=200))
                    await asyncio.sleep(outage_s / OUTAGE_BATCHES)  # the pace of the publishing
                    assert time.monotonic() < start_s + outage_s + 30, "the stream does not fill"
            finally:
                await asyncio.to_thread(stand.medium.restore)
            await stand.has_stored()
        assert stand.medium.find_litter() == []

    async def test_a_slow_medium(self, stand: Stand) -> None:
        """However slow writes are, at most two chunks of a partition are in memory, and all is stored, once."""
        await stand.publish(
            *[stand.tape.make(rows=LIMITS.rows, partition=n % PARTITIONS) for n in range(SLOW_CHUNKS * PARTITIONS)]
        )
        gc.collect()
        before, highest = count_chunks(), 0
        async with AsyncExitStack() as resources:
            if stand.medium.server_port is None:
                await resources.enter_async_context(stand.carrying(wrap=SlowStore))
            else:
                relay = Relay(stand.medium.server_port, SLOW_ANSWER_S)
                await resources.enter_async_context(relay)
                await resources.enter_async_context(stand.carrying(port=relay.port))
            start_s = time.monotonic()
            while stand.medium.count_rows() < stand.wanted_trades.total():
                highest = max(highest, count_chunks() - before)
                assert time.monotonic() < start_s + DEADLINE_S, "a slow store does not get on"
                await asyncio.sleep(0.1)
        assert PARTITIONS <= highest <= 2 * PARTITIONS
        await stand.has_stored()

    async def test_a_full_disk(self, stand_on_disk: Stand, disk: SmallDisk) -> None:
        """While there is no room writes wait; when there is again all is stored, once."""
        stand = stand_on_disk
        await stand.publish(stand.tape.make())
        async with stand.carrying():
            await stand.has_stored()
            disk.fill()
            with capture_logs() as logs:
                await stand.publish(*[stand.tape.make(rows=100, partition=n % PARTITIONS) for n in range(100)])
                await eventually(
                    lambda: any(entry["event"] == "sink.write_delayed" for entry in logs),
                    what="a write that finds no room",
                )
            await asyncio.to_thread(self.free, disk, stand.medium)
            await stand.has_stored()
        assert stand.medium.find_litter() == []
