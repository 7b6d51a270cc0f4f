"""The sink as a process, between a real nats-server and a real destination."""

from __future__ import annotations

import asyncio
import signal
import urllib.request
from uuid import uuid4

import pytest

from tests.support.bus import eventually
from tests.support.servers import find_free_port
from tickloom_core.bus.connection import connect
from tickloom_core.bus.ownership import make_claim
from tickloom_core.bus.subjects import make_subject
from tickloom_core.bus.topology import ensure_topology
from tickloom_core.config import BusConfig, Config, NatsConfig
from tickloom_core.lifecycle import Health, Stop
from tickloom_core.sink import ChunkLimits, SinkLoop
from tickloom_parquet_sink.destination import open_destination
from tickloom_parquet_sink.store import ParquetStore

PARTITIONS = 2
BUS = {"partitions": PARTITIONS, "max_bytes": 256 * 1024**2, "sinks": ["parquet", "copy"]}
S3_ENVIRONMENT = {"S3_ACCESS": "tickloom", "S3_SECRET": "tickloom-secret"}


@pytest.fixture
async def bus(nats_server):
    """A connection to a server on which the topology stands, for the sinks `parquet` and `copy`."""
    connection = await connect(NatsConfig(url=nats_server.url), name="test")
    await ensure_topology(
        connection, BusConfig(partitions=PARTITIONS, max_bytes=BUS["max_bytes"], sinks=("parquet", "copy"))
    )
    yield connection
    await connection.close()


@pytest.fixture
def config(nats_server, tmp_path):
    """A configuration with small chunks below tmp_path."""
    return {
        "data_dir": str(tmp_path),
        "nats": {"url": nats_server.url},
        "bus": BUS,
        "parquet_sink": {"chunk_rows": 300, "chunk_window_s": 1},
    }


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


async def test_stream_to_files(bus, config, make_trades, start_sink, stored, tmp_path):
    """Every row that was published is stored once; health, readiness and metrics say so; SIGTERM ends it with 0."""
    port = find_free_port()
    sink = start_sink(config, f"--http_port={port}")
    for n in range(1, 201):
        await publish(bus, make_trades(n), partition=n % PARTITIONS)
    await eventually(lambda: stored(tmp_path / "parquet").count_rows() == 600, what="all rows committed")
    url = f"http://127.0.0.1:{port}"
    await eventually(lambda: is_ready(url), what="readiness")
    assert "stuck" in read_page(f"{url}/healthz")
    assert 'tickloom_sink_rows_total{channel="trades",sink="parquet"} 600.0' in read_page(f"{url}/metrics")
    assert sorted(stored(tmp_path / "parquet").read_ids()) == list_ids(range(1, 201))
    assert sink.end() == 0


async def test_only_the_given_partitions(bus, config, make_trades, start_sink, stored, tmp_path):
    """--partitions leaves the others to whoever has them."""
    sink = start_sink(config, "--partitions=1")
    for n in range(1, 5):
        await publish(bus, make_trades(n), partition=n % PARTITIONS)
    await eventually(lambda: stored(tmp_path / "parquet").count_rows() == 6, what="partition 1 committed")
    assert sink.end() == 0
    assert sorted(stored(tmp_path / "parquet").read_ids()) == list_ids([1, 3])


async def test_a_poisonous_message_is_set_aside(bus, config, make_trades, start_sink, stored, tmp_path):
    """A message that nobody can read goes to md_rejected with the reason, and the rows behind it are stored."""
    rejected = await bus.client.subscribe("md_rejected.>")
    start_sink(config)
    await publish(bus, make_trades(1))
    await publish(bus, b"\xffjunk")
    await publish(bus, make_trades(2))
    message = await rejected.next_msg(timeout=20)
    assert (message.subject, message.data) == ("md_rejected.parquet.md.0.trades.binance", b"\xffjunk")
    assert "no tickloom.marketdata.v1.Batch" in message.headers["Tickloom-Reason"]
    await eventually(lambda: stored(tmp_path / "parquet").count_rows() == 6, what="both good batches committed")
    assert stored(tmp_path / "parquet").read_manifests()[-1]["last_sequence"] == 3


async def test_a_batch_stored_twice_by_the_bus(bus, config, make_trades, start_sink, stored, tmp_path):
    """A batch that comes under two message ids is stored once, also when the sink was started anew between them."""
    sink = start_sink(config)
    for data in (make_trades(1), make_trades(1), make_trades(2)):
        await publish(bus, data)
    await eventually(lambda: stored(tmp_path / "parquet").count_rows() == 6, what="two batches committed")
    assert sink.end() == 0
    start_sink(config)
    for data in (make_trades(2), make_trades(3)):
        await publish(bus, data)
    await eventually(lambda: "3-2" in stored(tmp_path / "parquet").read_ids(), what="the third batch committed")
    assert stored(tmp_path / "parquet").read_ids() == list_ids([1, 2, 3])


async def test_killed_five_times(bus, config, make_trades, start_sink, stored, tmp_path):
    """After kill -9 in the middle of its work, five times, every published row is stored once, without a gap."""
    root = stored(tmp_path / "parquet")
    sink = start_sink(config)

    async def publish_all():
        for n in range(1, 1501):
            await publish(bus, make_trades(n, 10), partition=n % PARTITIONS)

    async with asyncio.TaskGroup() as group:
        group.create_task(publish_all())
        for _ in range(5):
            before = len(root.read_manifests())
            await eventually(lambda before=before: len(root.read_manifests()) > before, what="a chunk committed")
            sink.end(signal.SIGKILL)
            sink = start_sink(config)
    await eventually(lambda: root.count_rows() >= 15_000, within_s=40, what="all rows committed")
    assert sorted(root.read_ids()) == list_ids(range(1, 1501), rows=10)
    for partition in range(PARTITIONS):
        manifests = [manifest for manifest in root.read_manifests() if manifest["partition"] == partition]
        ends = [0, *[manifest["last_sequence"] for manifest in manifests[:-1]]]
        assert [manifest["first_sequence"] - 1 for manifest in manifests] == ends
    assert sink.end() == 0


async def carry(bus, data_dir, sink, *, until):
    """Run the loops of one process until the condition holds, then drop them as a crash would."""
    store = ParquetStore(open_destination(Config(data_dir=str(data_dir))))
    loop = SinkLoop(bus, sink, store, ChunkLimits(rows=300, size_bytes=10**9, window_s=1), Health(), make_claim("x"))
    tasks = [asyncio.create_task(loop.run(partition, Stop())) for partition in range(PARTITIONS)]
    try:
        await eventually(until, what=f"the sink {sink} to be through")
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=10)
        store.close()


async def test_the_same_stream_gives_the_same_objects(bus, make_trades, stored, tmp_path):
    """Two sinks that read one stream, one of them interrupted, write byte for byte the same files and manifests."""
    for n in range(1, 301):
        await publish(bus, make_trades(n, 10, writer=f"w{n % 3}"), partition=n % PARTITIONS)
    roots = [stored(tmp_path / name / "parquet") for name in ("first", "second")]
    await carry(bus, tmp_path / "first", "parquet", until=lambda: roots[0].count_rows() == 3000)
    for rows in (900, 3000):
        await carry(bus, tmp_path / "second", "copy", until=lambda rows=rows: roots[1].count_rows() >= rows)
    first, second = (root.read_objects() for root in roots)
    assert len(first) > 10
    assert first == second


async def test_into_a_bucket(bus, config, make_trades, start_sink, s3_server, stored, tmp_path):
    """The process carries a stream into S3 and goes on behind its last manifest when it is started again."""
    prefix = f"market/{uuid4().hex}"
    config["parquet_sink"] |= make_bucket_settings(s3_server.endpoint, prefix)
    bucket = type(stored(tmp_path))(s3_server.open_filesystem(), prefix)
    for batch in (range(1, 31), range(31, 61)):
        sink = start_sink(config, environment=S3_ENVIRONMENT)
        for n in batch:
            await publish(bus, make_trades(n), partition=n % PARTITIONS)
        await eventually(lambda last=batch[-1]: bucket.count_rows() == last * 3, what="all rows committed")
        assert sink.end(signal.SIGKILL) == -signal.SIGKILL
    assert sorted(bucket.read_ids()) == list_ids(range(1, 61))


class Relay:
    """A way to a server that can be cut, mended, and made to swallow everything."""

    def __init__(self, target):
        self._host, self._port = target.split(":")
        self.port = find_free_port()
        self.is_silent = False
        self.swallowed_bytes = 0
        self._server = None
        self._writers = set()

    async def mend(self):
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", self.port)

    async def cut(self):
        self._server.close()
        for writer in list(self._writers):
            writer.close()
        await asyncio.wait_for(self._server.wait_closed(), 5)

    async def _relay(self, reader, writer):
        far_reader, far_writer = await asyncio.open_connection(self._host, self._port)
        self._writers |= {writer, far_writer}
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._copy(reader, far_writer))
                group.create_task(self._copy(far_reader, writer))
        except* ConnectionError:
            pass  # the way was cut
        finally:
            self._writers -= {writer, far_writer}

    async def _copy(self, reader, writer):
        while data := await reader.read(65536):
            if self.is_silent:
                self.swallowed_bytes += len(data)
            else:
                writer.write(data)
        writer.close()


@pytest.fixture
async def relay(s3_server):
    """A way to the S3 server."""
    relay = Relay(s3_server.endpoint)
    await relay.mend()
    yield relay
    await relay.cut()


def make_bucket_settings(endpoint, prefix):
    keys = {"s3_access_key": {"env": "S3_ACCESS"}, "s3_secret_key": {"env": "S3_SECRET"}}
    return {"uri": f"s3://{prefix}", "s3_endpoint": f"http://{endpoint}"} | keys


async def test_an_outage_of_s3(bus, config, make_trades, start_sink, s3_server, relay, stored):
    """While S3 is away the rows wait on the bus; when it is back they are stored, once."""
    prefix = f"market/{uuid4().hex}"
    config["parquet_sink"] |= make_bucket_settings(f"127.0.0.1:{relay.port}", prefix)
    sink = start_sink(config, environment=S3_ENVIRONMENT)
    bucket = type(stored("/"))(s3_server.open_filesystem(), prefix)
    await publish(bus, make_trades(1))
    await eventually(lambda: bucket.count_rows() == 3, what="the first rows committed")
    await relay.cut()
    await publish(bus, make_trades(2))
    await eventually(lambda: "sink.write_delayed" in sink.log, what="a write that fails")
    assert bucket.count_rows() == 3
    await relay.mend()
    await eventually(lambda: bucket.count_rows() == 6, what="the waiting rows committed")
    assert sorted(bucket.read_ids()) == list_ids([1, 2])


async def test_end_while_s3_is_silent(bus, config, make_trades, start_sink, relay):
    """SIGTERM ends the sink with 0, within a pod's 30 s, while S3 takes requests and does not answer."""
    config["parquet_sink"] |= make_bucket_settings(f"127.0.0.1:{relay.port}", f"market/{uuid4().hex}")
    sink = start_sink(config, environment=S3_ENVIRONMENT)
    await eventually(lambda: sink.log.count("sink.started") == PARTITIONS, what="the sink to start")
    relay.is_silent = True
    await publish(bus, make_trades(1))
    await eventually(lambda: relay.swallowed_bytes > 0, what="a request that is not answered")
    assert await asyncio.to_thread(sink.end) == 0


def assert_one_clear_line(sink, *words):
    assert sink.wait() != 0
    assert "Traceback" not in sink.log
    (line,) = [line for line in sink.log.splitlines() if line.startswith("error: ")]
    for word in words:
        assert word in line


def test_wrong_credentials(config, start_sink, s3_server):
    """Credentials that the server refuses end the start with one line that names bucket and settings."""
    config["parquet_sink"] = make_bucket_settings(s3_server.endpoint, "market/x")
    sink = start_sink(config, environment=S3_ENVIRONMENT | {"S3_SECRET": "wrong"})
    assert_one_clear_line(sink, "s3://market/x", "credentials are refused", "parquet_sink.s3_access_key")


def test_unwritable_folder(config, start_sink, tmp_path):
    """A folder that cannot be made ends the start with one line that names it."""
    blocker = tmp_path / "blocker"
    blocker.write_text("a file where a folder should be")
    config["parquet_sink"] = {"uri": str(blocker / "parquet")}
    assert_one_clear_line(start_sink(config), str(blocker), "cannot be written", "parquet_sink.uri")


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--partitions=2", "--partitions: found 2, but bus.partitions is 2"),
        ("--partitions=x", "--partitions: expected numbers such as 0,1; found `x`"),
        ("--partitions=", "--partitions: expected numbers such as 0,1"),
        ("--colour=red", "colour"),
    ],
)
def test_wrong_flags(flag, words, config, start_sink):
    """A wrong flag ends the start with one line."""
    assert_one_clear_line(start_sink(config, flag), words)


@pytest.mark.parametrize(
    ("section", "settings", "words"),
    [
        ("bus", {"sinks": ["influx"]}, "bus.sinks: the sink `parquet` must be named here"),
        ("parquet_sink", {"chunk_bytes": 2**31}, "parquet_sink.chunk_bytes: at most 1073741824; found 2147483648"),
        ("nats", {"url": "nats://127.0.0.1:9"}, "NATS at nats://127.0.0.1:9 cannot be reached"),
    ],
)
def test_settings_that_cannot_work(section, settings, words, config, start_sink):
    """A setting with which nothing could be carried ends the start with one line."""
    config[section] = settings
    assert_one_clear_line(start_sink(config), words)
