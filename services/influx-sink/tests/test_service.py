"""The sink as a process, between a real nats-server and a real InfluxDB."""

from __future__ import annotations

import asyncio
import signal
import urllib.request
from uuid import uuid4

import pytest

from tests.support.bus import eventually
from tests.support.relay import Relay
from tests.support.servers import find_free_port
from tickloom_core.bus.connection import connect
from tickloom_core.bus.subjects import make_subject
from tickloom_core.bus.topology import ensure_topology
from tickloom_core.config import BusConfig, NatsConfig
from tickloom_core.wire import decode

PARTITIONS = 2
BUS = {"partitions": PARTITIONS, "max_bytes": 256 * 1024**2, "sinks": ["influx"]}
FAR_US = 9_300_000_000_000_000
"""Beyond the times that InfluxDB knows."""


@pytest.fixture
async def bus(nats_server):
    """A connection to a server on which the topology stands."""
    connection = await connect(NatsConfig(url=nats_server.url), name="test")
    await ensure_topology(
        connection, BusConfig(partitions=PARTITIONS, max_bytes=BUS["max_bytes"], sinks=tuple(BUS["sinks"]))
    )
    yield connection
    await connection.close()


@pytest.fixture
def make_config(nats_server, tmp_path):
    """Make a configuration with small chunks."""

    def make(url, bucket, **settings):
        section = {"url": url, "bucket": bucket, "chunk_rows": 300, "request_lines": 100, "chunk_window_s": 1}
        return {
            "data_dir": str(tmp_path),
            "nats": {"url": nats_server.url},
            "bus": BUS,
            "influx_sink": section | settings,
        }

    return make


@pytest.fixture
def config(influx, bucket, make_config):
    """A configuration for the bucket of the test."""
    return make_config(influx.url, bucket)


async def publish(bus, data, *, partition=0, message_id=None, channel="trades"):
    headers = {"Nats-Msg-Id": message_id or uuid4().hex}
    async with asyncio.timeout(20):
        while not await bus.store(make_subject(partition, channel, "binance"), data, headers, timeout_s=1):
            pass


def list_ids(sequences, rows=3):
    return sorted(str(1000 * n + row) for n in sequences for row in range(rows))


def read_page(url):
    with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - the sink's own address
        return answer.read().decode()


def is_ready(url):
    try:
        read_page(f"{url}/readyz")
    except OSError:
        return False
    return True


@pytest.mark.servers
async def test_stream_to_points(influx, bucket, bus, config, make_trades, start_sink):
    """Every row that was published is stored once; health, readiness and metrics say so; SIGTERM ends it with 0."""
    port = find_free_port()
    sink = start_sink(config, f"--http_port={port}")
    for n in range(1, 201):
        await publish(bus, make_trades(n), partition=n % PARTITIONS)
    await eventually(lambda: influx.count_rows(bucket=bucket) == 600, what="all rows stored")
    url = f"http://127.0.0.1:{port}"
    await eventually(lambda: is_ready(url), what="readiness")
    assert "stuck" in read_page(f"{url}/healthz")
    counted = 'tickloom_sink_rows_total{channel="trades",sink="influx"} 600.0'
    await eventually(lambda: counted in read_page(f"{url}/metrics"), what="all rows committed")
    assert 'tickloom_influx_sink_requests_total{status="204"}' in read_page(f"{url}/metrics")
    assert sorted(influx.read_trade_ids(bucket=bucket)) == list_ids(range(1, 201))
    assert sink.end() == 0


@pytest.mark.servers
async def test_only_the_given_partitions(influx, bucket, bus, config, make_trades, start_sink):
    """--partitions leaves the others to whoever has them."""
    sink = start_sink(config, "--partitions=1")
    for n in range(1, 5):
        await publish(bus, make_trades(n), partition=n % PARTITIONS)
    await eventually(lambda: influx.count_rows(bucket=bucket) == 6, what="partition 1 stored")
    assert sink.end() == 0
    assert sorted(influx.read_trade_ids(bucket=bucket)) == list_ids([1, 3])


@pytest.mark.servers
async def test_killed_five_times(influx, bucket, bus, config, make_trades, start_sink):
    """After kill -9 in the middle of its work, five times, every published row is stored once."""
    sink = start_sink(config)

    async def publish_all():
        for n in range(1, 1001):
            await publish(bus, make_trades(n, 10), partition=n % PARTITIONS)

    async with asyncio.TaskGroup() as group:
        group.create_task(publish_all())
        for _ in range(5):
            before = influx.count_rows(bucket=bucket)
            await eventually(lambda before=before: influx.count_rows(bucket=bucket) > before, what="rows stored")
            sink.end(signal.SIGKILL)
            sink = start_sink(config)
    await eventually(lambda: influx.count_rows(bucket=bucket) >= 10_000, within_s=40, what="all rows stored")
    assert sorted(influx.read_trade_ids(bucket=bucket)) == list_ids(range(1, 1001), rows=10)
    assert sink.end() == 0


@pytest.mark.servers
async def test_influxdb_killed_in_the_middle(own_influx, bus, make_config, make_trades, start_sink):
    """InfluxDB killed while rows flow, and away for a while: the rows wait on the bus and are stored once."""
    bucket = own_influx.access.bucket
    sink = start_sink(make_config(own_influx.url, bucket))
    published = 0

    async def publish_some(count):
        nonlocal published
        for n in range(published + 1, published + count + 1):
            await publish(bus, make_trades(n, 10), partition=n % PARTITIONS)
        published += count

    for _ in range(3):
        async with asyncio.TaskGroup() as group:
            publishing = group.create_task(publish_some(300))
            before = own_influx.count_rows(bucket=bucket)
            await eventually(lambda before=before: own_influx.count_rows(bucket=bucket) > before, what="rows stored")
            own_influx.kill()
            delays = sink.log.count("sink.write_delayed")
            await publishing
        await publish_some(10)
        await eventually(lambda delays=delays: sink.log.count("sink.write_delayed") > delays, what="a write that fails")
        own_influx.start()
    rows = published * 10
    await eventually(lambda: own_influx.count_rows(bucket=bucket) >= rows, within_s=60, what="all rows stored")
    assert sorted(own_influx.read_trade_ids(bucket=bucket)) == list_ids(range(1, published + 1), rows=10)
    assert sink.end() == 0


@pytest.mark.servers
async def test_a_batch_stored_twice_by_the_bus(influx, bucket, bus, config, make_trades, start_sink):
    """A batch that comes under two message ids is left out, also when the sink was started anew between them."""
    sink = start_sink(config)
    for data in (make_trades(1), make_trades(1), make_trades(2)):
        await publish(bus, data)
    await eventually(lambda: influx.count_rows(bucket=bucket) == 6, what="two batches stored")
    assert sink.end() == 0
    sink = start_sink(config)
    for data in (make_trades(2), make_trades(3)):
        await publish(bus, data)
    await eventually(lambda: influx.count_rows(bucket=bucket) == 9, what="the third batch stored")
    assert sink.log.count("sink.repeat_dropped") == 2


@pytest.mark.servers
async def test_a_poisonous_message_and_a_refused_row(
    influx, bucket, bus, config, make_trades, make_message, start_sink
):
    """What nobody can read and what InfluxDB refuses go to md_rejected with the reason; the rows around are stored."""
    rejected = await bus.client.subscribe("md_rejected.>")
    start_sink(config)
    trade = {"symbol": "X", "exchange_time_us": FAR_US, "receive_time_ns": 5, "price": 1.0, "amount": 1.0, "side": 1}
    near = trade | {"exchange_time_us": 1000}
    for data in (make_trades(1), b"\xffjunk", make_message("trades", [near, trade], ["7", "8"], sequence=2)):
        await publish(bus, data)
    messages = [await rejected.next_msg(timeout=20) for _ in range(2)]
    assert {message.subject for message in messages} == {"md_rejected.influx.md.0.trades.binance"}
    assert messages[0].data == b"\xffjunk"
    assert "no tickloom.marketdata.v1.Batch" in messages[0].headers["Tickloom-Reason"]
    refused = decode(messages[1].data)
    assert (refused.rows.trade_ids, refused.row_count) == (b"8", 1)
    assert "value out of range" in messages[1].headers["Tickloom-Reason"]
    await eventually(lambda: influx.count_rows(bucket=bucket) == 4, what="the good rows stored")
    assert sorted(influx.read_trade_ids(bucket=bucket)) == sorted([*list_ids([1]), "7"])


@pytest.mark.servers
async def test_end_while_influxdb_is_silent(influx, bucket, bus, make_config, make_trades, start_sink):
    """SIGTERM ends the sink with 0, within a pod's 30 s, while InfluxDB takes requests and does not answer."""
    async with Relay(influx.port, delay_s=0) as relay:
        sink = start_sink(make_config(f"http://127.0.0.1:{relay.port}", bucket, timeout_s=60))
        await eventually(lambda: sink.log.count("sink.started") == PARTITIONS, what="the sink to start")
        relay._delay_s = 3600
        await publish(bus, make_trades(1))
        await eventually(lambda: influx.count_rows(bucket=bucket) == 3, what="a write whose answer is held back")
        assert await asyncio.to_thread(sink.end) == 0


def assert_one_clear_line(sink, *words):
    assert sink.wait() != 0
    assert "Traceback" not in sink.log
    (line,) = [line for line in sink.log.splitlines() if line.startswith("error: ")]
    for word in words:
        assert word in line


@pytest.mark.servers
@pytest.mark.parametrize(
    ("settings", "environment", "words"),
    [
        ({}, {"INFLUXDB_TOKEN": "wrong"}, ("the token is refused", "INFLUXDB_TOKEN")),
        ({}, {"INFLUXDB_ORG": "absent"}, ("no such bucket or organisation", "INFLUXDB_ORG")),
        ({"bucket": "absent"}, {}, ("no such bucket or organisation", "influx_sink.bucket")),
    ],
    ids=["wrong token", "no organisation", "no bucket"],
)
def test_what_stays_wrong(settings, environment, words, influx, config, start_sink):
    """What somebody must mend ends the start with exit code 2 and one line that says what and where."""
    config["influx_sink"] |= settings
    sink = start_sink(config, environment=environment)
    assert_one_clear_line(sink, influx.url, *words)
    assert sink.wait() == 2


@pytest.mark.servers
@pytest.mark.parametrize(("action", "words"), [("read", "may not write"), ("write", "cannot be read")])
def test_half_a_token(action, words, influx, bucket, config, start_sink):
    """A token that can only read or only write ends the start with one line, before anything is carried."""
    token = influx.make_token(action, bucket=bucket)
    assert_one_clear_line(start_sink(config, environment={"INFLUXDB_TOKEN": token}), words)


def test_influxdb_away(make_config, start_sink):
    """An InfluxDB that is away at the start ends it with exit code 1 and one line: starting again can succeed."""
    url = f"http://127.0.0.1:{find_free_port()}"
    sink = start_sink(make_config(url, "market_data"))
    assert_one_clear_line(sink, url, "cannot be reached at the moment")
    assert sink.wait() == 1


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--partitions=2", "--partitions: found 2, but bus.partitions is 2"),
        ("--partitions=x", "--partitions: expected numbers such as 0,1; found `x`"),
        ("--colour=red", "colour"),
    ],
)
def test_wrong_flags(flag, words, make_config, start_sink):
    """A wrong flag ends the start with one line."""
    assert_one_clear_line(start_sink(make_config("http://127.0.0.1:9", "b"), flag), words)


@pytest.mark.parametrize(
    ("section", "settings", "words"),
    [
        ("bus", {"sinks": ["parquet"]}, "bus.sinks: the sink `influx` must be named here"),
        ("influx_sink", {"url": "localhost"}, "influx_sink.url: expected http(s)://host:port, found `localhost`"),
        ("nats", {"url": "nats://127.0.0.1:9"}, "NATS at nats://127.0.0.1:9 cannot be reached"),
    ],
)
def test_settings_that_cannot_work(section, settings, words, make_config, start_sink):
    """A setting with which nothing could be carried ends the start with one line."""
    config = make_config("http://127.0.0.1:9", "b")
    config[section] = settings
    assert_one_clear_line(start_sink(config), words)


def test_no_token(make_config, start_sink):
    """Without a token the start ends with a line that names the variable."""
    sink = start_sink(make_config("http://127.0.0.1:9", "b"), environment={"INFLUXDB_TOKEN": ""})
    assert_one_clear_line(sink, "INFLUXDB_TOKEN", "empty or not set")
