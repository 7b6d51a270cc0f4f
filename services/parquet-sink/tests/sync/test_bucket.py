"""The sync to a real S3 server."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import signal
import time

import aiohttp
import msgspec
import pytest
from structlog.testing import capture_logs

from tests.support.bus import eventually
from tests.support.servers import find_free_port
from tickloom_core.bus.identity import StreamIdentity
from tickloom_core.config import Config, ParquetSinkConfig
from tickloom_core.errors import TransientError
from tickloom_core.lifecycle import Health
from tickloom_parquet_sink.destination import open_destination
from tickloom_parquet_sink.store import ParquetStore
from tickloom_parquet_sink.sync import upload
from tickloom_parquet_sink.sync.pace import Pace
from tickloom_parquet_sink.sync.upload import Digest, PacedBucket

pytestmark = pytest.mark.servers

STREAM = StreamIdentity("MARKETDATA", "2026-11-21T05:15:13.334000223Z")
MEGABYTE = 10**6


@pytest.fixture
async def open_bucket(s3_settings):
    """Open a paced bucket: `open_bucket(uri, bytes_per_s=…)`."""
    async with aiohttp.ClientSession() as session:

        def make(uri, bytes_per_s=None, **changes):
            config = msgspec.convert(s3_settings | changes, ParquetSinkConfig)
            return PacedBucket(uri, config, session, Pace(bytes_per_s, Health()))

        yield make


@pytest.fixture
def make_file(tmp_path):
    """Make a file of so many random bytes; return its path and digest."""

    def make(size_bytes):
        data = os.urandom(size_bytes)
        path = tmp_path / "file"
        path.write_bytes(data)
        return path, Digest(size_bytes, hashlib.md5(data, usedforsecurity=False).digest())

    return make


async def test_the_rows_of_the_sink(make_trades, make_chunk, source, bucket, carry, s3_settings, stored, s3_server):
    """What the Parquet sink has written to a folder is in the bucket, object for object, and reads the same."""
    store = ParquetStore(open_destination(Config(data_dir=str(source.path.parent))))
    await store.open_partition(0, STREAM)
    for number in range(1, 6):
        messages = [
            make_trades(number),
            make_trades(number, exchange="a b/c=d"),
            make_trades(number, exchange="kraken"),
        ]
        await store.write(make_chunk(messages, first=number * 3 - 2))
    store.close()
    await carry(bucket.folder.place, s3_settings)
    here = stored(source.path)
    there = type(here)(s3_server.open_filesystem(), bucket.folder.place.removeprefix("s3://"))
    assert there.read_objects() == here.read_objects()
    assert there.read_ids() == here.read_ids()
    assert len(there.read_ids()) == 45


async def test_confirmed_and_removed(source, bucket, carry, s3_settings):
    """An object that somebody has cut short is found and sent again before the local file goes."""
    for number in range(4):
        source.add_chunk(number, files=2)
    source.add_compaction(1, exchange="v1")
    complete = source.read_named()
    await carry(bucket.folder.place, s3_settings)
    assert bucket.read_named() == complete
    victim = bucket.find_files(min(bucket.read_manifests()))[0].path
    bucket.folder.write(victim, complete[victim][:-10])
    with capture_logs() as logs:
        await carry(bucket.folder.place, s3_settings, delete_after_s=0)
    assert bucket.read_named() == complete
    assert [line["path"] for line in logs if line["event"] == "sync.mended"] == [min(bucket.read_manifests())]
    assert len(source.read_manifests()) == 1


async def test_an_object_sent_in_parts(source, bucket, carry, s3_settings):
    """An object whose tag is not the MD5 of its content is compared by reading it back, and not sent again."""
    source.add_chunk(0, size_bytes=20 * MEGABYTE)
    source.add_chunk(1)
    (file,) = source.find_files(min(source.read_manifests()))
    with bucket.folder.open_writer(file.path) as writer:
        writer.write(source.folder.read(file.path))
    before = bucket.folder.look(file.path)
    assert "-" in before.e_tag
    await carry(bucket.folder.place, s3_settings, delete_after_s=0)
    assert bucket.folder.look(file.path) == before
    assert len(source.read_manifests()) == 1


async def test_the_bandwidth(open_bucket, make_file, bucket):
    """4 MB at 1 MB/s take 4 s; the object's tag is the MD5 of its content however large it is."""
    target = open_bucket(bucket.folder.place, bytes_per_s=MEGABYTE)
    path, digest = make_file(4 * MEGABYTE)
    start_s = time.monotonic()
    await target.send(path, "x/y=%2F z", digest)
    assert 3.5 < time.monotonic() - start_s < 6
    found = bucket.folder.look("x/y=%2F z")
    assert (found.size_bytes, found.e_tag) == (digest.size_bytes, digest.md5.hex())


async def test_a_slow_line(open_bucket, make_file, bucket, monkeypatch):
    """An upload may take longer than the server may be silent."""
    monkeypatch.setattr(upload, "_STALL_S", 0.5)
    monkeypatch.setattr(upload, "_TIMEOUT", aiohttp.ClientTimeout(total=None, sock_read=0.5))
    path, digest = make_file(2 * MEGABYTE)
    await open_bucket(bucket.folder.place, bytes_per_s=MEGABYTE).send(path, "x", digest)
    assert bucket.folder.look("x").size_bytes == digest.size_bytes


async def test_a_file_larger_than_a_request(open_bucket, make_file, bucket, monkeypatch):
    """What S3 does not take in one request is sent in parts."""
    monkeypatch.setattr(upload, "_MAX_REQUEST_BYTES", MEGABYTE)
    path, digest = make_file(20 * MEGABYTE)
    await open_bucket(bucket.folder.place).send(path, "x", digest)
    assert "-" in bucket.folder.look("x").e_tag
    assert bucket.folder.read("x") == path.read_bytes()


async def test_damage_on_the_way(open_bucket, make_file, bucket):
    """The server refuses a body that is not what was announced, and nothing is there."""
    path, digest = make_file(MEGABYTE)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(TransientError, match=r"x: S3 fails at the moment \(BadDigest"):
        await open_bucket(bucket.folder.place).send(path, "x", digest)
    assert bucket.folder.look("x") is None


async def test_a_server_that_takes_nothing(open_bucket, make_file, bucket, monkeypatch):
    """An upload of which nothing is taken any more ends as something that can pass."""
    monkeypatch.setattr(upload, "_STALL_S", 0.5)
    taken = asyncio.Event()

    async def hold(reader, writer):
        writer.transport.pause_reading()
        await taken.wait()
        writer.close()

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    path, digest = make_file(20 * MEGABYTE)
    with pytest.raises(TransientError, match=r"S3 has taken nothing for 0\.5 s"):
        await open_bucket(bucket.folder.place, s3_endpoint=f"http://127.0.0.1:{port}").send(path, "x", digest)
    taken.set()
    server.close()
    await server.wait_closed()


async def test_killed_many_times(source, bucket, start_sync, s3_settings):
    """After kill -9 in the middle of uploads every record is there once with equal files, and none before its files."""
    for number in range(30):
        source.add_chunk(number, files=2, size_bytes=30_000)
        source.add_chunk(number, partition=1, size_bytes=120_000)
    source.add_compaction(20, size_bytes=MEGABYTE)
    complete = source.read_named()
    settings = {"uri": bucket.folder.place, "bandwidth_bytes_per_s": 2_500_000, "delete_after_s": 0}
    for _ in range(6):
        sync = start_sync(settings, "--once", parquet_sink=s3_settings)
        before = sync.log.count("sync.started")
        await eventually(lambda sync=sync, n=before: sync.log.count("sync.started") > n, what="the start")
        await asyncio.sleep(random.uniform(0.1, 0.6))  # noqa: S311 - a moment, not a secret
        sync.end(signal.SIGKILL)
        assert bucket.read_named().items() <= complete.items()
        source.read_named()
    assert start_sync(settings, "--once", parquet_sink=s3_settings).wait() == 0
    assert bucket.read_named() == complete
    assert len(source.read_manifests()) == 2


async def relay(target, port):
    """Let a server be reached on another port, too."""
    host, far_port = target.split(":")

    async def copy(reader, writer):
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async def serve(reader, writer):
        far_reader, far_writer = await asyncio.open_connection(host, int(far_port))
        await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer), return_exceptions=True)

    return await asyncio.start_server(serve, "127.0.0.1", port)


async def test_s3_is_away_at_first(source, bucket, start_sync, s3_settings, s3_server):
    """A server that is away is waited for, and said so; when it is there everything is sent."""
    source.add_chunk(0)
    port = find_free_port()
    s3 = s3_settings | {"s3_endpoint": f"http://127.0.0.1:{port}"}
    sync = start_sync({"uri": bucket.folder.place}, parquet_sink=s3)
    await eventually(lambda: sync.read_events("sync.delayed"), what="a round that fails")
    server = await relay(s3_server.endpoint, port)
    await eventually(lambda: bucket.read_named() == source.read_named(), what="everything sent")
    assert await asyncio.to_thread(sync.end) == 0
    server.close()


async def test_end_while_s3_is_silent(source, bucket, start_sync, s3_settings):
    """SIGTERM ends the sync with 0, within 60 s, while S3 takes requests and does not answer."""
    source.add_chunk(0)
    asked = asyncio.Event()

    async def swallow(reader, writer):
        asked.set()
        while await reader.read(65536):
            pass
        writer.close()

    server = await asyncio.start_server(swallow, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    s3 = s3_settings | {"s3_endpoint": f"http://127.0.0.1:{port}"}
    sync = start_sync({"uri": bucket.folder.place}, parquet_sink=s3)
    await asyncio.wait_for(asked.wait(), 20)
    assert await asyncio.to_thread(sync.end) == 0
    server.close()


@pytest.mark.parametrize(
    ("place", "environment", "words"),
    [
        ("s3://market/x", {"S3_SECRET": "wrong"}, "the credentials are refused"),
        ("s3://market/x", {"S3_ACCESS": "reader", "S3_SECRET": "reader-secret"}, "the credentials are refused"),
        ("s3://absent/x", {}, "there is no such bucket; create it, or correct sync.uri"),
    ],
    ids=["wrong secret", "read-only key", "no bucket"],
)
def test_what_stays_wrong(place, environment, words, source, start_sync, s3_settings):
    """Refused credentials and a missing bucket end the sync with one line and exit code 2."""
    source.add_chunk(0)
    sync = start_sync({"uri": place}, environment=environment, parquet_sink=s3_settings)
    assert sync.wait() == 2
    (line,) = [line for line in sync.log.splitlines() if line.startswith("error: ")]
    assert place in line
    assert words in line
