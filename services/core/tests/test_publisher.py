"""The publisher: every message is acknowledged, kept, or said to be lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.bus import eventually, make_batch
from tickloom_core.bus.connection import Connection
from tickloom_core.bus.publisher import Publisher, PublisherLimits
from tickloom_core.bus.spool import Loss, Spool
from tickloom_core.errors import ConfigError

LIMITS = PublisherLimits(in_flight=64, ack_timeout_s=1.0, buffer_bytes=20_000)


class Publishing:
    """A running publisher and what it said."""

    def __init__(self, connection: Connection, folder: Path, limits: PublisherLimits, spool_bytes: int) -> None:
        self.losses: list[Loss] = []
        self.acknowledged: list[str] = []
        self.spool = Spool(folder, spool_bytes)
        self.publisher = Publisher(connection, limits, self.spool, self.losses.extend)
        self.publisher.observe_acks(lambda message: self.acknowledged.append(message.message_id))


@asynccontextmanager
async def publishing(
    connection: Connection, folder: Path, *, limits: PublisherLimits = LIMITS, spool_bytes: int = 10_000_000
) -> AsyncIterator[Publishing]:
    setup = Publishing(connection, folder, limits, spool_bytes)
    task = asyncio.create_task(setup.publisher.run())
    try:
        yield setup
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        setup.spool.close()


async def stored_ids(connection: Connection) -> list[str]:
    """Return the message ids in the stream, in its order."""
    info = await connection.request("$JS.API.STREAM.INFO.MARKETDATA")
    ids = []
    for sequence in range(info["state"]["first_seq"], info["state"]["last_seq"] + 1):
        message = await connection.client.jetstream().get_msg("MARKETDATA", sequence)
        ids.append(message.headers["Nats-Msg-Id"])
    return ids


async def test_acknowledged_in_order(connection, tmp_path):
    """What is submitted is in the stream, once, in the order of submission, when drain returns 0."""
    async with publishing(connection, tmp_path) as setup:
        for n in range(1, 501):
            setup.publisher.submit(make_batch(n))
        assert await setup.publisher.drain(10) == 0
    assert await stored_ids(connection) == [f"w-{n}" for n in range(1, 501)]
    assert len(setup.acknowledged) == 500


async def test_nothing_submitted_drains_at_once(connection, tmp_path):
    """Draining an idle publisher does not wait for its deadline."""
    async with publishing(connection, tmp_path) as setup, asyncio.timeout(2):
        assert await setup.publisher.drain(10) == 0


async def test_outage_goes_to_disk_and_back(connection, nats_server, tmp_path):
    """While the server is away messages wait in memory and on disk; afterwards all of them are stored in order."""
    async with publishing(connection, tmp_path) as setup:
        setup.publisher.submit(make_batch(1))
        await eventually(lambda: len(setup.acknowledged) == 1, what="first message acknowledged")
        nats_server.kill()
        await eventually(lambda: not connection.is_connected, what="disconnect noticed")
        for n in range(2, 1001):
            setup.publisher.submit(make_batch(n))
        assert setup.spool.size_bytes > 0, "the memory bound should have sent messages to disk"
        nats_server.start()
        assert await setup.publisher.drain(20) == 0
    assert sorted(set(await stored_ids(connection)), key=lambda i: int(i[2:])) == [f"w-{n}" for n in range(1, 1001)]
    assert not setup.losses
    assert setup.spool.size_bytes == 0


async def test_what_does_not_fit_is_counted(connection, nats_server, tmp_path):
    """Rows that neither memory nor disk can take become a loss with count and time range, told when the bus is back."""
    async with publishing(connection, tmp_path, spool_bytes=30_000) as setup:
        setup.publisher.submit(make_batch(1))
        await eventually(lambda: len(setup.acknowledged) == 1, what="first message acknowledged")
        nats_server.kill()
        await eventually(lambda: not connection.is_connected, what="disconnect noticed")
        for n in range(2, 1001):
            setup.publisher.submit(make_batch(n))
        nats_server.start()
        await eventually(lambda: bool(setup.losses), what="losses told")
        assert await setup.publisher.drain(20) == 0
    kept = {int(message_id[2:]) for message_id in await stored_ids(connection)}
    lost = set(range(1, 1001)) - kept
    (loss,) = setup.losses
    assert (loss.exchange, loss.channel) == ("binance", "trades")
    assert loss.messages == len(lost)
    assert loss.rows == 2 * len(lost)
    assert loss.first_ns == min(lost) * 1000
    assert loss.last_ns == max(lost) * 1000 + 1


async def test_full_stream_is_back_pressure(connection, tmp_path):
    """JetStream's 10077 (stream full) keeps messages here; nothing is lost once there is room."""
    stream = await connection.request("$JS.API.STREAM.INFO.MARKETDATA")
    config = {**stream["config"], "max_bytes": 30_000}
    await connection.request("$JS.API.STREAM.UPDATE.MARKETDATA", config)
    async with publishing(connection, tmp_path) as setup:
        for n in range(1, 301):
            setup.publisher.submit(make_batch(n))
        await eventually(lambda: setup.publisher.is_blocked, what="publisher blocked by the full stream")
        assert len(setup.acknowledged) < 300
        await connection.request("$JS.API.STREAM.UPDATE.MARKETDATA", {**config, "max_bytes": 64 * 1024**2})
        assert await setup.publisher.drain(20) == 0
    ids = await stored_ids(connection)
    assert sorted(ids, key=lambda i: int(i[2:])) == [f"w-{n}" for n in range(1, 301)]


async def test_shutdown_in_an_outage_keeps_the_rest(connection, nats_server, tmp_path):
    """What could not be sent before the end lies on disk, and the next start sends it."""
    async with publishing(connection, tmp_path) as setup:
        nats_server.kill()
        await eventually(lambda: not connection.is_connected, what="disconnect noticed")
        for n in range(1, 101):
            setup.publisher.submit(make_batch(n))
        assert await setup.publisher.drain(0.2) > 0
    nats_server.start()
    await eventually(lambda: connection.is_connected, what="reconnected")
    async with publishing(connection, tmp_path) as second:
        await eventually(lambda: len(second.acknowledged) == 100, what="all sent by the next start")
    assert sorted(await stored_ids(connection), key=lambda i: int(i[2:])) == [f"w-{n}" for n in range(1, 101)]


async def test_server_killed_under_load(connection, nats_server, tmp_path):
    """kill -9 of the server at any moment: every message is in the stream afterwards."""
    async with publishing(connection, tmp_path) as setup:
        sequence = 0
        for _ in range(4):
            for _ in range(150):
                sequence += 1
                setup.publisher.submit(make_batch(sequence))
                await asyncio.sleep(0)
            nats_server.kill()
            nats_server.start()
        assert await setup.publisher.drain(30) == 0
    assert set(await stored_ids(connection)) == {f"w-{n}" for n in range(1, sequence + 1)}


@pytest.mark.parametrize("turns", range(4))
async def test_cancelled_while_it_wakes(connection, tmp_path, turns):
    """A cancellation that comes at the moment of a wake-up ends the publisher; `asyncio.wait_for` of 3.11 loses it."""
    spool = Spool(tmp_path, 1)
    publisher = Publisher(connection, LIMITS, spool, lambda _: None)
    task = asyncio.create_task(publisher.run())
    await asyncio.sleep(0.1)  # long enough to be waiting
    publisher._wake.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    _, pending = await asyncio.wait([task], timeout=3)
    spool.close()
    assert not pending


async def test_torn_spool_record(tmp_path):
    """A segment cut off by a crash gives its whole records and no error."""
    spool = Spool(tmp_path, 1_000_000)
    for n in range(1, 4):
        assert spool.append(make_batch(n))
    spool.close()
    (segment,) = tmp_path.glob("*.spool")
    segment.write_bytes(segment.read_bytes()[:-10])
    again = Spool(tmp_path, 1_000_000)
    assert [message.message_id for message in again.read_segment()] == ["w-1", "w-2"]
    again.close()


async def test_one_collector_a_spool(tmp_path):
    """A spool that another collector uses is refused, and free again when that one ends."""
    first = Spool(tmp_path, 1)
    with pytest.raises(ConfigError, match=r"another collector of this name"):
        Spool(tmp_path, 1)
    first.close()
    Spool(tmp_path, 1).close()


async def test_unwritable_spool(tmp_path):
    """A spool folder that cannot be written is refused at start with what to do."""
    blocker = tmp_path / "file"
    blocker.write_text("")
    with pytest.raises(Exception, match=r"set collector\.spool_dir"):
        Spool(blocker / "spool", 1)
