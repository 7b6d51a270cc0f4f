"""The store on a real S3 server: the same objects as on a disk, and errors that say whether to try again."""

from __future__ import annotations

import json
import os
from uuid import uuid4

import pytest

from tickloom_core.bus.identity import StreamIdentity
from tickloom_core.config import Config, ParquetSinkConfig, SecretReference
from tickloom_core.errors import ConfigError, PermanentError, TransientError
from tickloom_parquet_sink.bucket import Bucket
from tickloom_parquet_sink.destination import open_destination
from tickloom_parquet_sink.store import ParquetStore

pytestmark = pytest.mark.servers

STREAM = StreamIdentity("MARKETDATA", "2026-11-21T05:15:13.334000223Z")
ACCESS = SecretReference(env="S3_ACCESS")
SECRET = SecretReference(env="S3_SECRET")


@pytest.fixture
def credentials(monkeypatch):
    """Set the credentials that the configuration refers to."""

    def use(*pair):
        for name, value in zip(("S3_ACCESS", "S3_SECRET"), pair, strict=True):
            monkeypatch.setenv(name, value)

    use("tickloom", "tickloom-secret")
    return use


@pytest.fixture
def open_store():
    """Open stores; their threads end with the test."""
    stores = []

    def make(endpoint, uri):
        config = ParquetSinkConfig(uri=uri, s3_endpoint=endpoint, s3_access_key=ACCESS, s3_secret_key=SECRET)
        stores.append(ParquetStore(open_destination(Config(parquet_sink=config))))
        return stores[-1]

    yield make
    for store in stores:
        store.close()


async def test_the_same_objects_as_on_a_disk(
    credentials, open_store, s3_server, make_trades, make_chunk, stored, tmp_path
):
    """A chunk becomes the same objects in a bucket as in a folder, and is found again by a new owner."""
    prefix = f"market/{uuid4().hex}"
    chunks = [make_chunk([make_trades(n), make_trades(n, exchange="kraken")], first=n * 2 - 1) for n in (1, 2)]
    local = ParquetStore(open_destination(Config(data_dir=str(tmp_path))))
    for store in (open_store(f"http://{s3_server.endpoint}", f"s3://{prefix}/"), local):
        await store.probe()
        for chunk in chunks:
            await store.open_partition(0, STREAM)
            await store.write(chunk)
    local.close()
    bucket = type(stored(tmp_path))(s3_server.open_filesystem(), prefix)
    assert bucket.read_objects() == stored(tmp_path / "parquet").read_objects()
    assert bucket.count_rows() == 12
    committed = await open_store(f"http://{s3_server.endpoint}", f"s3://{prefix}").open_partition(0, STREAM)
    assert committed.last_sequence == 4


async def test_many_manifests(credentials, open_store, s3_server):
    """The last manifest is found although a listing has several pages, and days of older streams are not looked at."""
    prefix = f"market/{uuid4().hex}"
    filesystem = s3_server.open_filesystem()
    manifest = {
        "stream": {"name": STREAM.name, "created": STREAM.created},
        "partition": 0,
        "first_sequence": 1,
        "last_sequence": 1,
        "stored_ns": 0,
        "files": [],
        "rows": {},
        "writer_window": "eJyrrgUAAXUA+Q==",
        "software": "tickloom-parquet-sink 0.1",
    }
    for n in range(1, 1102):
        name = f"{prefix}/_manifest/0000/2026-11-21/826b8201-{n:020d}-{n:020d}.json"
        with filesystem.open_output_stream(name) as stream:
            stream.write(json.dumps(manifest | {"last_sequence": n}).encode())
    with filesystem.open_output_stream(f"{prefix}/_manifest/0000/2026-11-20/826b8201-none.json") as stream:
        stream.write(b"older than the stream")
    store = open_store(f"http://{s3_server.endpoint}", f"s3://{prefix}")
    assert (await store.open_partition(0, STREAM)).last_sequence == 1101


@pytest.mark.parametrize(
    ("key", "uri", "words"),
    [
        (("nobody", "x"), "s3://market/p", "credentials are refused"),
        (("tickloom", "wrong"), "s3://market/p", "credentials are refused"),
        (("reader", "reader-secret"), "s3://market/p", "credentials are refused"),
        (("tickloom", "tickloom-secret"), "s3://absent/p", "no such bucket"),
    ],
    ids=["unknown key", "wrong secret", "read-only key", "no bucket"],
)
async def test_what_stays_wrong_is_permanent(key, uri, words, credentials, open_store, s3_server):
    """Refused credentials and a missing bucket are found by the probe and named with the place."""
    credentials(*key)
    with pytest.raises(PermanentError, match=f"{uri}.*{words}"):
        await open_store(f"http://{s3_server.endpoint}", uri).probe()


async def test_no_credentials(monkeypatch, s3_server):
    """Without keys, and on a machine that is given none, the error says how to come by some."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")
    config = ParquetSinkConfig(uri="s3://market/p", s3_endpoint=f"http://{s3_server.endpoint}")
    with pytest.raises(TransientError, match=r"no credentials are found; set parquet_sink\.s3_access_key"):
        open_destination(Config(parquet_sink=config)).probe()


async def test_keys_of_the_environment(monkeypatch, s3_server):
    """Without keys in the configuration those of the environment are taken."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tickloom")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "tickloom-secret")
    config = ParquetSinkConfig(uri=f"s3://market/{uuid4().hex}", s3_endpoint=f"http://{s3_server.endpoint}")
    open_destination(Config(parquet_sink=config)).probe()


async def test_a_server_that_is_away_is_transient(credentials, open_store):
    """A server that does not answer can come back."""
    with pytest.raises(TransientError, match="S3 fails at the moment"):
        await open_store("http://127.0.0.1:9", "s3://market/p").probe()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"s3_endpoint": "127.0.0.1:8333"}, r"parquet_sink.s3_endpoint: expected http\(s\)://host:port"),
        ({"s3_endpoint": "http://h/path"}, r"parquet_sink.s3_endpoint: expected http\(s\)://host:port"),
        ({"uri": "s3://"}, "parquet_sink.uri: expected s3://bucket/prefix"),
        ({"uri": "gs://bucket"}, "parquet_sink.uri: expected a folder or s3://bucket/prefix"),
        ({"s3_secret_key": None}, "given together or not at all"),
        ({"s3_secret_key": SecretReference(env="S3_ABSENT")}, "S3_ABSENT"),
    ],
)
def test_settings_that_cannot_work(changes, words, credentials):
    """A destination that cannot be understood is refused with the setting's name."""
    settings = {"uri": "s3://market", "s3_endpoint": None, "s3_access_key": ACCESS, "s3_secret_key": SECRET}
    with pytest.raises(ConfigError, match=words):
        open_destination(Config(parquet_sink=ParquetSinkConfig(**settings | changes)))


def test_https_and_the_standard_chain():
    """Without endpoint and keys the destination is Amazon's, with its standard chain of credentials."""
    destination = open_destination(Config(parquet_sink=ParquetSinkConfig(uri="s3://market/a/b/")))
    assert destination.place == "s3://market/a/b"
    assert isinstance(destination, Bucket)
