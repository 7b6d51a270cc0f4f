"""Two sinks on one partition by mistake: every row is stored once, whatever each of them thinks."""

from __future__ import annotations

import asyncio
import random
from uuid import uuid4

import pytest

from tickloom_core.bus.identity import StreamIdentity
from tickloom_core.config import ParquetSinkConfig, SecretReference
from tickloom_core.errors import SupersededError
from tickloom_parquet_sink.destination import open_destination_at
from tickloom_parquet_sink.store import ParquetStore

STREAM = StreamIdentity("MARKETDATA", "2026-11-21T05:15:13.334000223Z")
BEFORE_MIDNIGHT_NS = (1_795_305_600 - 60) * 10**9
"""2026-11-21T23:59:00Z."""
MESSAGES = 120


@pytest.fixture(params=["folder", pytest.param("bucket", marks=pytest.mark.servers)])
def place(request, tmp_path, monkeypatch, stored):
    """Return how a process opens the place, and what readers see there."""
    if request.param == "folder":
        return lambda: open_destination_at(str(tmp_path), ParquetSinkConfig()), stored(tmp_path)
    server = request.getfixturevalue("s3_server")
    monkeypatch.setenv("S3_ACCESS", "tickloom")
    monkeypatch.setenv("S3_SECRET", "tickloom-secret")
    config = ParquetSinkConfig(
        s3_endpoint=f"http://{server.endpoint}",
        s3_access_key=SecretReference(env="S3_ACCESS"),
        s3_secret_key=SecretReference(env="S3_SECRET"),
    )
    prefix = f"market/{uuid4().hex}"
    reader = type(stored(tmp_path))(server.open_filesystem(), prefix)
    return lambda: open_destination_at(f"s3://{prefix}", config), reader


class Bus:
    """A stream of which a message is gone when a sink has acknowledged it, whichever sink that was."""

    def __init__(self, messages):
        self.messages = dict(enumerate(messages, start=1))

    def take(self, after, count):
        """Return up to `count` messages behind a sequence: [(sequence, message)]."""
        return [item for item in self.messages.items() if item[0] > after][:count]

    def acknowledge(self, sequence):
        """Forget what is stored."""
        self.messages = {number: data for number, data in self.messages.items() if number > sequence}


async def carry(store, bus, make_chunk, limit, seed):
    """Carry the stream in chunks of up to `limit` messages, and return how often another process was faster."""
    chance = random.Random(seed)  # noqa: S311 - repeatable pauses, not a secret
    superseded = 0
    while True:
        committed = (await store.open_partition(0, STREAM)).last_sequence
        if committed == MESSAGES:
            return superseded
        try:
            while taken := bus.take(committed, limit):
                stored_ns = BEFORE_MIDNIGHT_NS + taken[0][0] * 10**9
                chunk = make_chunk([data for _, data in taken], first=committed + 1, stored_ns=stored_ns)
                chunk.last_sequence = taken[-1][0]
                await asyncio.sleep(chance.choice([0, 0, 0.01]))
                await store.write(chunk)
                committed = chunk.last_sequence
                bus.acknowledge(committed)
        except SupersededError:
            superseded += 1


@pytest.mark.parametrize("seed", range(4))
async def test_two_sinks_race(seed, place, make_trades, make_chunk):
    """Sinks with other limits and settings, over midnight, each taking what the other has left, make one chain."""
    open_place, reader = place
    bus = Bus([make_trades(n) for n in range(1, MESSAGES + 1)])
    settings = [
        ParquetSinkConfig(),
        ParquetSinkConfig(compression="lz4"),
        ParquetSinkConfig(partition_by=("exchange", "symbol", "dt", "hour")),
    ]
    stores = [ParquetStore(open_place(), config) for config in settings]
    try:
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            racers = [
                group.create_task(carry(store, bus, make_chunk, limit, f"{seed}/{limit}"))
                for store, limit in zip(stores, (3, 5, 7), strict=True)
            ]
    finally:
        for store in stores:
            store.close()
    assert sum(racer.result() for racer in racers) > 0, "nobody was ever superseded: this tests nothing"
    assert sorted(reader.read_ids()) == sorted(f"{n}-{row}" for n in range(1, MESSAGES + 1) for row in range(3))
    manifests = sorted(reader.read_manifests(), key=lambda manifest: manifest["first_sequence"])
    ends = [0, *[manifest["last_sequence"] for manifest in manifests]]
    assert [manifest["first_sequence"] - 1 for manifest in manifests] == ends[:-1]
    objects = reader.read_objects()
    assert all(len(objects[file["path"]]) == file["bytes"] for manifest in manifests for file in manifest["files"])
