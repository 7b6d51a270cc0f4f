"""kill -9 of anything at any moment: nothing acknowledged is lost, nothing is stored twice."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import Counter

import pytest

from tests.support import stored
from tests.support.stack import CHANNELS, PARTITIONS, Stack, wait_until
from tickloom_core.bus.connection import connect
from tickloom_core.bus.topology import ensure_topology
from tickloom_core.config import BusConfig, NatsConfig
from tickloom_core.wire import decode

ROUNDS = 10
SEED = 20261121
AUDIT = "audit"


async def add_audit(url: str) -> None:
    """Make a consumer that never acknowledges, so that the stream keeps every message it ever acknowledged."""
    connection = await connect(NatsConfig(url=url), name="audit")
    await ensure_topology(connection, BusConfig(partitions=PARTITIONS))
    body = {"stream_name": "MARKETDATA", "config": {"name": AUDIT, "durable_name": AUDIT, "ack_policy": "explicit"}}
    answer = await connection.request(f"$JS.API.CONSUMER.CREATE.MARKETDATA.{AUDIT}", body)
    assert "error" not in answer, answer
    await connection.close()


async def read_acknowledged(url: str) -> dict[tuple[str, int], tuple[str, int]]:
    """Return channel and rows of each batch in the stream, by writer and writer sequence: each was acknowledged."""
    connection = await connect(NatsConfig(url=url), name="audit")
    state = (await connection.request("$JS.API.STREAM.INFO.MARKETDATA"))["state"]
    batches = {}
    for sequence in range(state["first_seq"], state["last_seq"] + 1):
        message = await connection.client.jetstream().get_msg("MARKETDATA", sequence)
        batch = decode(message.data or b"")
        batches[batch.header.writer, batch.header.writer_sequence] = (batch.header.channel, batch.row_count)
    await connection.close()
    return batches


def assert_acknowledged_is_stored_once(stack: Stack) -> None:
    """Assert that the rows in Parquet are those of the acknowledged batches, by channel, and none is there twice."""
    acknowledged = asyncio.run(read_acknowledged(stack.nats.url))
    expected: Counter[str] = Counter()
    for channel, rows in acknowledged.values():
        expected[channel] += rows
    wait_until(
        lambda: all(stored.read_table(stack.root, channel).num_rows >= expected[channel] for channel in expected),
        within_s=60,
        what=f"stored rows reach the acknowledged {dict(expected)}",
    )
    assert {channel: stored.read_table(stack.root, channel).num_rows for channel in expected} == dict(expected)
    for venue in stack.simulator.venues:
        for symbol, counts in stored.read_keys(stack.root, venue, "trades").items():
            repeated = [key for key, count in counts.items() if count > 1]
            assert not repeated, f"{venue} {symbol} stored twice: {repeated[:5]}"


def assert_absences_are_told(stack: Stack, kills_ns: list[int]) -> None:
    """Assert that each kill of the collector lies inside a gap event of every channel of every venue."""
    gaps = [row for row in stored.read_table(stack.root, "events").to_pylist() if row["kind"] == "gap"]
    assert kills_ns
    for kill_ns in kills_ns:
        told = {
            (row["exchange"], row["subject_channel"])
            for row in gaps
            if row["range_start_ns"] <= kill_ns <= row["range_end_ns"]
        }
        assert {(venue, channel) for venue in stack.simulator.venues for channel in CHANNELS} <= told


@pytest.mark.timeout(400)
def test_ten_kills(make_stack, nats_server):
    """Ten rounds of kill -9 of collector, sink or nats-server under load: stored once, and absences are events."""
    asyncio.run(add_audit(nats_server.url))
    stack = make_stack("--synthetic", "--trades_per_s=500", "--tickers_per_s=50", "--books_per_s=50")
    stack.wait_for_flow()
    chance = random.Random(SEED)  # noqa: S311 - a repeatable test, not a secret
    victims = ["collector-0", "parquet-sink", "nats"] * (ROUNDS // 3 + 1)
    kills_ns = []
    for victim in chance.sample(victims, ROUNDS):
        time.sleep(chance.uniform(0.5, 3))  # a random moment, not a synchronisation
        if victim == "nats":
            stack.nats.kill()
            time.sleep(chance.uniform(0, 1))
            stack.nats.start()
        else:
            if victim == "collector-0":
                kills_ns.append(time.time_ns())
            stack.stop(victim, signal.SIGKILL)
            stack.start(victim)
    before = stack.count_sent_by_channel()
    wait_until(
        lambda: all(now > before[key] for key, now in stack.count_sent_by_channel().items()),
        within_s=90,
        what="data flows on every channel of every venue after the last kill",
    )
    shards = len(stack.simulator.venues) * len(CHANNELS)
    wait_until(
        lambda: stack.read_log("collector-0").rpartition("collector.running")[2].count("did not run") >= shards,
        within_s=30,
        what="the last start has told the absence of every shard",
    )
    stack.simulator.pause()
    assert stack.stop("collector-0") == 0
    assert_acknowledged_is_stored_once(stack)
    assert_absences_are_told(stack, kills_ns)
