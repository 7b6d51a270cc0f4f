"""Stream, consumers and buckets."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from tickloom_core.bus.connection import connect
from tickloom_core.bus.kv import open_bucket
from tickloom_core.bus.subjects import PLAN_BUCKET, find_partition
from tickloom_core.bus.topology import ensure_topology
from tickloom_core.config import BusConfig, NatsConfig
from tickloom_core.errors import BusUnavailableError, TopologyError
from tickloom_core.plan import Assignment, Shard


async def test_made_by_many_at_once(nats_server):
    """Services that start together make the same topology, and none of them fails."""
    config = BusConfig(partitions=3)
    connections = [await connect(NatsConfig(url=nats_server.url), name=f"c{n}") for n in range(4)]
    await asyncio.gather(*(ensure_topology(connection, config) for connection in connections))
    answer = await connections[0].request("$JS.API.CONSUMER.NAMES.MARKETDATA")
    assert sorted(answer["consumers"]) == ["parquet-0", "parquet-1", "parquet-2"]
    stream = await connections[0].request("$JS.API.STREAM.INFO.MARKETDATA")
    assert stream["config"]["retention"] == "interest"
    assert stream["config"]["discard"] == "new"
    for connection in connections:
        await connection.close()


async def test_other_partition_count_is_refused(connection):
    """The number of partitions is stored with the stream; another one is an error that says what to do."""
    with pytest.raises(TopologyError, match="has 1 partitions, the configuration says 2"):
        await ensure_topology(connection, BusConfig(partitions=2))


async def test_nobody_there():
    """A server that is not there is one clear error within the deadline."""
    with pytest.raises(BusUnavailableError, match=r"cannot be reached within 1 s; start it or correct nats\.url"):
        await connect(NatsConfig(url="nats://127.0.0.1:1", connect_timeout_s=1), name="test")


async def test_partition_is_fixed():
    """A symbol's partition never changes: it is part of the storage contract."""
    assert find_partition("binance", "BTC/USDT", 4) == 0
    assert find_partition("coinbase", "ETH/USD", 1024) == 166
    assert find_partition("kraken", "BTC/USD", 16) == find_partition("kraken", "BTC/USD", 16)


async def test_bucket_keeps_typed_values(connection):
    """A record written to a bucket comes back equal, and revisions grow."""
    bucket = await open_bucket(connection, PLAN_BUCKET)
    shard = Shard(id="binance.trades.0", exchange="binance", channel="trades", symbols=("BTC/USDT",))
    first = await bucket.write("assignments.collector-0", Assignment(collector="collector-0", epoch=1, shards=(shard,)))
    second = await bucket.write("assignments.collector-0", Assignment(collector="collector-0", epoch=2, shards=()))
    assert second > first
    assert await bucket.read("assignments.collector-0", Assignment) == msgspec.structs.replace(
        Assignment(collector="collector-0", epoch=2, shards=())
    )
    assert await bucket.read("assignments.none", Assignment) is None
    assert await bucket.list_keys() == ["assignments.collector-0"]
