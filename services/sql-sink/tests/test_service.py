"""The sink as a process, between a real nats-server and real databases."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import urllib.request
from contextlib import closing
from functools import partial
from uuid import uuid4

import psycopg
import pytest

from tests.support import postgres
from tests.support.bus import eventually
from tests.support.postgres import PostgresServer
from tests.support.servers import find_free_port
from tickloom_core.bus.connection import connect
from tickloom_core.bus.subjects import make_subject
from tickloom_core.bus.topology import ensure_topology
from tickloom_core.config import BusConfig, NatsConfig

PARTITIONS = 2
patiently = partial(eventually, within_s=60)
"""A process takes a second to start, and many on a machine that has much to do."""
SLOW_TRIGGER = """
CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(100); RETURN NEW; END';
CREATE TRIGGER slow BEFORE INSERT ON ticks FOR EACH ROW EXECUTE FUNCTION dawdle();
"""
BUS = {"partitions": PARTITIONS, "max_bytes": 256 * 1024**2, "sinks": ["sql"]}


@pytest.fixture
async def bus(nats_server):
    """A connection to a server on which the topology stands, for the sink `sql`."""
    connection = await connect(NatsConfig(url=nats_server.url), name="test")
    await ensure_topology(connection, BusConfig(**BUS | {"sinks": ("sql",)}))
    yield connection
    await connection.close()


@pytest.fixture
def config(nats_server, tmp_path, database_url):
    """A configuration with small chunks, into a database of each dialect in turn."""
    return {
        "data_dir": str(tmp_path),
        "nats": {"url": nats_server.url},
        "bus": BUS,
        "sql_sink": {"url": database_url, "chunk_rows": 300, "chunk_window_s": 1},
    }


@pytest.fixture
def read_ids(database_url):
    """Read the ids of all stored trades, sorted."""
    if not database_url.startswith("sqlite"):
        return lambda: postgres.read_ids(database_url) if postgres.count_rows(database_url) else []

    def read():
        with closing(sqlite3.connect(database_url.removeprefix("sqlite:///"))) as connection:
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'ticks'").fetchone():
                return []
            return sorted(row[0] for row in connection.execute("SELECT trade_id FROM ticks"))

    return read


async def publish(bus, data, *, partition=0, message_id=None):
    headers = {"Nats-Msg-Id": message_id or uuid4().hex}
    async with asyncio.timeout(20):
        while not await bus.store(make_subject(partition, "trades", "binance"), data, headers, timeout_s=1):
            pass


def list_ids(sequences, rows=3):
    return sorted(f"{n}-{row}" for n in sequences for row in range(rows))


def read_page(url):
    with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - the sink's own address
        return answer.read().decode()


def is_ready(url):
    try:
        read_page(f"{url}/readyz")
    except OSError:
        return False
    return True


async def test_stream_to_rows(bus, config, make_trades, start_sink, read_ids):
    """Every row that was published is stored once; health, readiness and metrics say so; SIGTERM ends it with 0."""
    port = find_free_port()
    sink = start_sink(config, f"--http_port={port}")
    for n in range(1, 101):
        await publish(bus, make_trades(n), partition=n % PARTITIONS)
    await patiently(lambda: len(read_ids()) == 300, what="all rows committed")
    url = f"http://127.0.0.1:{port}"
    await patiently(lambda: is_ready(url), what="readiness")
    assert "stuck" in read_page(f"{url}/healthz")
    metrics = read_page(f"{url}/metrics")
    assert 'tickloom_sink_rows_total{channel="trades",sink="sql"} 300.0' in metrics
    assert 'tickloom_sql_sink_repeated_rows_total{table="ticks"} 0.0' in metrics
    assert read_ids() == list_ids(range(1, 101))
    assert sink.end() == 0
    assert "Traceback" not in sink.log


async def test_killed_three_times(bus, config, make_trades, start_sink, read_ids):
    """After kill -9 in the middle of its work, three times, every published row is stored once."""
    sink = start_sink(config)

    async def publish_all():
        for n in range(1, 1001):
            await publish(bus, make_trades(n, 10), partition=n % PARTITIONS)

    async with asyncio.TaskGroup() as group:
        group.create_task(publish_all())
        for _ in range(3):
            before = len(read_ids())
            await patiently(lambda before=before: len(read_ids()) > before, what="a chunk committed")
            sink.end(signal.SIGKILL)
            sink = start_sink(config)
    await patiently(lambda: len(read_ids()) >= 10_000, what="all rows committed")
    assert read_ids() == list_ids(range(1, 1001), rows=10)
    assert sink.end() == 0


async def test_refused_rows_are_set_aside(bus, config, make_trades, start_sink, read_ids):
    """A row that no database can hold goes to md_rejected with the reason, and the rows beside it are stored."""
    rejected = await bus.client.subscribe("md_rejected.>")
    start_sink(config)
    await publish(bus, make_trades(1))
    await publish(bus, make_trades(2, 2, ids=[b"good", b"ba\0d"]))
    await publish(bus, b"\xffjunk")
    await publish(bus, make_trades(3))
    found = [await rejected.next_msg(timeout=30) for _ in range(2)]
    reasons = sorted(message.headers["Tickloom-Reason"] for message in found)
    assert "no tickloom.marketdata.v1.Batch" in reasons[0]
    assert "trade_id contains a NUL" in reasons[1]
    await patiently(lambda: len(read_ids()) == 7, what="the good rows committed")
    assert read_ids() == sorted(["good", *list_ids([1, 3])])


async def test_an_outage_of_the_database(bus, nats_server, make_trades, start_sink, tmp_path):
    """While PostgreSQL is away the rows wait on the bus; when it is back they are stored, once."""
    server = PostgresServer(tmp_path)
    server.start()
    try:
        settings = {"url": server.url, "chunk_window_s": 1}
        sink = start_sink({"nats": {"url": nats_server.url}, "bus": BUS, "sql_sink": settings})
        await publish(bus, make_trades(1))
        await patiently(lambda: postgres.count_rows(server.url) == 3, what="the first rows committed")
        await asyncio.to_thread(server.kill)
        await publish(bus, make_trades(2))
        await patiently(lambda: "sink.write_delayed" in sink.log, what="a write that fails")
        await asyncio.to_thread(server.start)
        await patiently(lambda: postgres.count_rows(server.url) == 6, what="the waiting rows committed")
        assert postgres.read_ids(server.url) == list_ids([1, 2])
        await asyncio.to_thread(server.kill)
        await publish(bus, make_trades(3))
        assert await asyncio.to_thread(sink.end) == 0
    finally:
        server.stop()


async def test_end_while_the_database_is_slow(bus, nats_server, make_trades, start_sink, postgres_url):
    """SIGTERM ends the sink with 0, within a pod's 30 s, while the server works at a statement without an end."""
    sink = start_sink({"nats": {"url": nats_server.url}, "bus": BUS, "sql_sink": {"url": postgres_url}})
    await patiently(lambda: sink.log.count("sink.started") == PARTITIONS, what="the sink to start")
    with psycopg.connect(postgres_url) as connection:
        connection.execute(SLOW_TRIGGER)
    await publish(bus, make_trades(1))
    waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"
    await patiently(lambda: postgres.query(postgres_url, waiting) != [], what="a statement that takes its time")
    assert await asyncio.to_thread(sink.end) == 0
    assert postgres.count_rows(postgres_url) == 0


def assert_one_clear_line(sink, *words):
    assert sink.wait() != 0
    assert "Traceback" not in sink.log
    (line,) = [line for line in sink.log.splitlines() if line.startswith("error: ")]
    for word in words:
        assert word in line


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mysql://h/d", ["sql_sink.url", "`mysql` is not known"]),
        ("postgresql://u:hush@127.0.0.1:9/d", ["postgresql://u:***@127.0.0.1:9/d does not answer"]),
        ("sqlite:////dev/null/x.sqlite", ["/dev/null cannot be", "sql_sink.url"]),
    ],
)
def test_databases_that_cannot_be(url, words, nats_server, start_sink):
    """A database that is not there ends the start with one line that names it, without its password."""
    sink = start_sink({"nats": {"url": nats_server.url}, "bus": BUS, "sql_sink": {"url": url}})
    assert_one_clear_line(sink, *words)
    assert "hush" not in sink.log


async def test_the_environment_names_the_database(bus, nats_server, make_trades, start_sink, postgres_url):
    """Without a setting DATABASE_URL counts, as users of PostgreSQL know it."""
    config = {"nats": {"url": nats_server.url}, "bus": BUS}
    start_sink(config, environment={"DATABASE_URL": postgres_url})
    await publish(bus, make_trades(1))
    await patiently(lambda: postgres.count_rows(postgres_url) == 3, what="the rows committed")


@pytest.mark.parametrize(
    ("flag", "words"),
    [("--partitions=2", "--partitions: found 2, but bus.partitions is 2"), ("--colour=red", "colour")],
)
def test_wrong_flags(flag, words, nats_server, start_sink):
    """A wrong flag ends the start with one line."""
    assert_one_clear_line(start_sink({"nats": {"url": nats_server.url}, "bus": BUS}, flag), words)
