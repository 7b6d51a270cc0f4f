from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from tickloom_core.bus.connection import connect
from tickloom_core.bus.kv import open_bucket
from tickloom_core.bus.subjects import LEADER_BUCKET, MEMBERS_BUCKET, PLAN_BUCKET, PLAN_KEY, make_assignment_key
from tickloom_core.config import BusConfig, NatsConfig
from tickloom_core.errors import PermanentError
from tickloom_core.lifecycle import Health
from tickloom_core.plan import Assignment, Member, Plan, Shard, WorkerLoad
from tickloom_planner import publish
from tickloom_planner.publish import PlanBoard


@asynccontextmanager
async def open_board(nats_url, name="planner"):
    connection = await connect(NatsConfig(url=nats_url), name=name)
    try:
        board = PlanBoard(connection, BusConfig(), Health(), planner=name)
        await board.lead()
        yield board, connection
    finally:
        await connection.close()


def make_plan(epoch: int, *collectors: str) -> Plan:
    shard = Shard(id="kraken.trades.0", exchange="kraken", channel="trades", symbols=("BTC/USD",))
    workers = tuple(WorkerLoad(collector=name, total_score=1.0, shards=(shard,)) for name in collectors)
    return Plan(epoch=epoch, created_ns=1, workers=workers, profiles=())


async def read_assignment(connection, collector):
    bucket = await open_bucket(connection, PLAN_BUCKET)
    return await bucket.read(make_assignment_key(collector), Assignment)


async def test_collectors_that_left_the_plan_get_an_empty_assignment(nats_url):
    """Every planned collector finds its shards, and one that is no longer planned finds none, under the new epoch."""
    async with open_board(nats_url) as (board, connection):
        await board.publish(make_plan(board.epoch, "collector-0", "collector-1"))
        await board.publish(make_plan(board.epoch + 1, "collector-0"))
        kept, left = [await read_assignment(connection, f"collector-{number}") for number in (0, 1)]
        assert [shard.id for shard in kept.shards] == ["kraken.trades.0"]
        assert (left.epoch, left.shards) == (board.epoch + 1, ())


async def test_each_planner_has_a_higher_epoch_than_the_one_before(nats_url):
    """Taking the lead again gives a higher epoch, even when the leader's bucket was lost with the server's memory."""
    async with open_board(nats_url) as (board, connection):
        await board.publish(make_plan(board.epoch + 40, "collector-0"))
        await connection.client.jetstream().delete_stream(f"KV_{LEADER_BUCKET}")
        async with open_board(nats_url) as (second, _):
            assert second.epoch == board.epoch + 41


async def test_a_plan_that_the_bus_has_lost_is_published_again(nats_url, monkeypatch):
    """When the bucket is emptied under a running planner, its plan is back after the next renewal."""
    monkeypatch.setattr(publish, "REFRESH_S", 0.05)
    async with open_board(nats_url) as (board, connection):
        plan = make_plan(board.epoch, "collector-0")
        await board.publish(plan)
        await connection.client.jetstream().delete_stream(f"KV_{PLAN_BUCKET}")
        keeper = asyncio.create_task(board.keep())
        async with asyncio.timeout(10):
            while await try_to_read_plan(connection) != plan:
                await asyncio.sleep(0.02)
        keeper.cancel()
        assert (await read_assignment(connection, "collector-0")).epoch == plan.epoch


async def try_to_read_plan(connection):
    try:
        return await (await open_bucket(connection, PLAN_BUCKET)).read(PLAN_KEY, Plan)
    except Exception:  # noqa: BLE001 (the bucket is away for a moment)
        return None


async def test_a_planner_that_was_overtaken_ends(nats_url, monkeypatch):
    """A planner that finds a higher epoch than its own ends with an error that says so."""
    monkeypatch.setattr(publish, "REFRESH_S", 0.05)
    async with open_board(nats_url) as (first, _), open_board(nats_url, "planner-b") as (second, _):
        await first.publish(make_plan(first.epoch, "collector-0"))
        await second.publish(make_plan(second.epoch, "collector-0"))
        with pytest.raises(PermanentError, match="another planner"):
            async with asyncio.timeout(10):
                await first.keep()


async def test_members_are_the_collectors_that_beat(nats_url):
    """`wait_for_members` returns those alive, waits for the first, and gives up after the time allowed."""
    async with open_board(nats_url) as (board, connection):
        assert await board.wait_for_members(0.1) == []
        waiting = asyncio.create_task(board.wait_for_members(10))
        members = await open_bucket(connection, MEMBERS_BUCKET)
        await members.write("pod-a", Member(collector="pod-a", epoch=0, shards=0, rows_per_s=0.0, beat_ns=1))
        assert await waiting == ["pod-a"]
