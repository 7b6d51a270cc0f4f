"""`tickloom sql` and `tickloom status` over a bucket say what they say over a folder with the same files."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys

import pytest
from pyarrow import fs

from tests.support.s3 import S3_KEY
from tickloom.marketdata.v1.header_pb2 import Header
from tickloom_console.manifests import read_manifests, read_newest
from tickloom_console.query import Storage
from tickloom_console.root import LocalRoot, open_root
from tickloom_core.bus.connection import connect
from tickloom_core.bus.subjects import make_subject
from tickloom_core.bus.topology import ensure_topology
from tickloom_core.columns import BookBuffer, EventBuffer, TickerBuffer, TradeBuffer
from tickloom_core.config import BusConfig, NatsConfig, ParquetSinkConfig, SecretReference
from tickloom_core.errors import PermanentError
from tickloom_core.events import Event
from tickloom_core.wire import encode

pytestmark = pytest.mark.servers

NOON_NS = 1_795_262_400 * 10**9
"""2026-11-21T12:00:00Z."""
DAY_NS = 86_400 * 10**9
EXCHANGES = ("binance", "kraken")
KEYS = dict(zip(("S3_ACCESS", "S3_SECRET"), S3_KEY, strict=True))
URI = "s3://market/console/data"
BUS = {"partitions": 2, "max_bytes": 64 * 1024**2}
CHANNELS = ("books", "events", "tickers", "trades")


@pytest.fixture
def s3_endpoint(s3_server):
    """Where the S3 server listens."""
    return f"http://{s3_server.endpoint}"


def configure(endpoint, uri):
    return {
        "uri": uri,
        "chunk_rows": 10,
        "chunk_window_s": 1,
        "s3_endpoint": endpoint,
        "s3_access_key": {"env": "S3_ACCESS"},
        "s3_secret_key": {"env": "S3_SECRET"},
    }


def make_rows(sequence, receive_ns):
    """One buffer a channel, with nulls, text, lists and both signs of "not known"."""
    trades, tickers, books, events = TradeBuffer(), TickerBuffer(), BookBuffer(), EventBuffer()
    for row in range(3):
        for buffer in (trades, tickers, books):
            buffer.symbol_index.append(buffer.index_of(("BTC/USDT", "ETH/USDT")[row % 2]))
            buffer.exchange_time_us.append(receive_ns // 1000 - 7 if row else -(2**63))
            buffer.receive_time_ns.append(receive_ns + row)
        trades.price.append(60_000.0 + sequence if row else float("nan"))
        trades.amount.append(0.25 * (row + 1))
        trades.side.append(row)
        trades.append_id(f"{sequence}-{row}".encode())
        for name in tickers.numbers:
            getattr(tickers, name).append(float(row))
        books.sequence.append(sequence)
        books.previous_sequence.append(-(2**63))
        books.kind.append(1)
        for side in ("bid", "ask"):
            getattr(books, f"{side}_count").append(row)
            getattr(books, f"{side}_price").extend(range(row))
            getattr(books, f"{side}_amount").extend(range(row))
    events.append(Event("connect", "", "a line, with a comma", receive_ns=receive_ns))
    events.append(Event("gap", "", "lost", "BTC/USDT", "trades", 3, 1, 2, receive_ns=receive_ns))
    return trades, tickers, books, events


async def publish_all(url, sequences=range(1, 13)):
    """Make the stream and publish each channel of two venues over two days, into both partitions."""
    connection = await connect(NatsConfig(url=url), name="test")
    try:
        await ensure_topology(connection, BusConfig(**BUS))
        for sequence in sequences:
            exchange, partition = EXCHANGES[sequence % 2], sequence // 2 % 2
            for buffer in make_rows(sequence, NOON_NS + sequence % 3 // 2 * DAY_NS):
                header = Header(
                    exchange=exchange,
                    channel=buffer.channel,
                    shard=f"{exchange}.{buffer.channel}.0",
                    epoch=3,
                    writer=f"w.{buffer.channel}",
                    writer_sequence=sequence,
                    partition=partition,
                )
                subject = make_subject(partition, buffer.channel, exchange)
                await connection.store(
                    subject, encode(header, buffer), {"Nats-Msg-Id": f"{buffer.channel}-{sequence}"}, timeout_s=5
                )
    finally:
        await connection.close()


@pytest.fixture
def stored(s3_server, s3_endpoint, nats_url, write_config, monkeypatch, tmp_path, wait):
    """What the real sink stores of a real stream in the bucket, and a copy in a folder: settings, configurations."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    common = {"nats": {"url": nats_url}, "bus": BUS}
    uri = f"{URI}/{tmp_path.name}"
    settings = configure(s3_endpoint, uri)
    bucket = write_config(**common, parquet_sink=settings).rename(tmp_path / "bucket.yaml")
    asyncio.run(publish_all(nats_url))
    command = [sys.executable, "-m", "tickloom_parquet_sink", f"--config={bucket}", "--http_port=0"]
    with (tmp_path / "sink.log").open("wb") as log:
        sink = subprocess.Popen(command, stdout=log, stderr=log)
    root = open_bucket(settings)
    try:
        wait(lambda: count_rows(root) == 12 * 11, what="all rows committed")
    finally:
        sink.terminate()
        assert sink.wait(timeout=20) == 0
    copy(s3_server.open_filesystem(), uri, tmp_path / "copy")
    folder = write_config(**common, parquet_sink={"uri": str(tmp_path / "copy")}).rename(tmp_path / "folder.yaml")
    return settings, bucket, folder


def open_bucket(settings):
    keys = {key: SecretReference(**settings[key]) for key in ("s3_access_key", "s3_secret_key")}
    return open_root(settings["uri"], ParquetSinkConfig(**settings | keys))


def count_rows(root):
    return sum(sum(manifest.rows.values()) for manifest in read_manifests(root))


def copy(remote, uri, folder):
    """Copy everything below the URI with its times of modification."""
    path = uri.removeprefix("s3://")
    for info in remote.get_file_info(fs.FileSelector(path, recursive=True)):
        target = folder / info.path.removeprefix(f"{path}/")
        if info.is_file:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(remote.open_input_stream(info.path).read())
            os.utime(target, ns=(info.mtime_ns, info.mtime_ns))


QUERIES = [
    *[f"select * from {channel}" for channel in CHANNELS],  # noqa: S608 (names of our own)
    *[f"describe {channel}" for channel in CHANNELS],
    "select exchange, dt, symbol, count(*), sum(amount) from trades group by all order by all",
    "select * from trades where dt = '2026-11-22' and exchange = 'kraken' order by all",
    "select trade_id from trades where exchange_time > '2026-11-22' and symbol like 'BTC%' order by all",
    "select bid_price[1], len(ask_amount) from books where dt < '2026-11-22' order by all",
    "select e.kind, count(t.trade_id) from events e left join trades t using (symbol, dt) group by all order by all",
]


def test_answers_are_those_of_a_folder(stored):
    """Every query has the same answer over a bucket as over a folder: columns, types, days, times and order."""
    settings, _, folder = stored
    storages = [Storage(open_bucket(settings)), Storage(LocalRoot(folder.with_name("copy")))]
    for query in QUERIES:
        over_s3, local = ([answer.columns, *answer.rows] for answer in (storage.ask(query) for storage in storages))
        assert len(over_s3) > 1, query
        assert over_s3 == local, query
    for storage in storages:
        storage.close()


def test_the_command_reads_a_bucket(stored, run_tickloom, write_config):
    """`sql` reads the bucket of the configuration or of `--root`, with its keys or those that the SDK finds."""
    settings, bucket, folder = stored
    query = "select exchange, exchange_time, dt, count(*) from trades group by all order by all"
    keyless = write_config(parquet_sink={"s3_endpoint": settings["s3_endpoint"]})
    chain = {"AWS_ACCESS_KEY_ID": KEYS["S3_ACCESS"], "AWS_SECRET_ACCESS_KEY": KEYS["S3_SECRET"]}
    expected = run_tickloom("sql", f"--config={folder}", query)
    assert expected.stdout.count("\n") > 4
    for done in (
        run_tickloom("sql", f"--config={bucket}", query),
        run_tickloom("sql", f"--config={bucket}", f"--root={settings['uri']}/", query),
        run_tickloom("sql", f"--config={keyless}", f"--root={settings['uri']}", query, **chain),
    ):
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == expected.stdout


def test_status_is_that_of_a_folder(stored, run_tickloom):
    """`status` shows the same last chunks over a bucket as over a folder."""
    settings, bucket, folder = stored
    over_s3, local = (run_tickloom("status", f"--config={config}") for config in (bucket, folder))
    assert re.search(r"^1 +\d+ +\d+ ", over_s3.stdout.partition("last chunk a partition")[2], re.MULTILINE)
    forget = re.compile(r"\d+ s ago")
    assert forget.sub("", over_s3.stdout) == forget.sub("", local.stdout)
    assert over_s3.stderr == local.stderr
    assert read_newest(open_bucket(settings)) == read_newest(LocalRoot(folder.with_name("copy")))


def test_a_file_that_no_manifest_names_is_no_data(stored, s3_server):
    """What lies in the bucket without a manifest does not exist for readers; a file that is gone is an error."""
    settings, _, _ = stored
    path = settings["uri"].removeprefix("s3://")
    remote = s3_server.open_filesystem()
    files = [file.path for manifest in read_manifests(open_bucket(settings)) for file in manifest.files]
    trades = next(file for file in files if file.startswith("trades/"))
    remote.copy_file(f"{path}/{trades}", f"{path}/trades/exchange=kraken/dt=2026-11-21/unfinished.parquet")
    storage = Storage(open_bucket(settings))
    assert list(storage.ask("select count(*) from trades").rows) == [(36,)]
    remote.delete_file(f"{path}/{trades}")
    with pytest.raises(PermanentError, match=r"NO_SUCH_KEY|RESOURCE_NOT_FOUND"):
        list(storage.ask("select * from trades").rows)
    storage.close()
    with pytest.raises(PermanentError, match=f"{trades} is not there"):
        Storage(open_bucket(settings))


@pytest.mark.parametrize(
    ("changes", "environment", "message"),
    [
        ({}, {"S3_SECRET": "wrong"}, "s3://market/absent/_manifest: the credentials are refused"),
        ({}, {"S3_ACCESS": "nobody"}, "s3://market/absent/_manifest: the credentials are refused"),
        ({}, {"S3_SECRET": ""}, "S3_SECRET: this environment variable is empty or not set"),
        ({"uri": "s3://absent/p"}, {}, "s3://absent/p/_manifest: there is no such bucket"),
        ({"s3_endpoint": "http://127.0.0.1:9"}, {}, "S3 fails at the moment; check parquet_sink.s3_endpoint"),
    ],
    ids=["wrong secret", "unknown key", "no secret", "no bucket", "no server"],
)
def test_what_is_wrong_is_one_line(changes, environment, message, s3_endpoint, nats_url, write_config, run_tickloom):
    """Refused credentials, a missing bucket and a server that is away are one line each, from both commands."""
    settings = configure(s3_endpoint, "s3://market/absent") | changes
    config = write_config(nats={"url": nats_url}, bus=BUS, parquet_sink=settings)
    asyncio.run(publish_all(nats_url, sequences=()))
    for command in (["sql", f"--config={config}", "select 1"], ["status", f"--config={config}"]):
        done = run_tickloom(*command, **KEYS | environment)
        assert done.returncode in {1, 2}
        assert message in done.stderr
        assert done.stderr.count("\n") == 1


def test_an_empty_bucket_is_an_error(s3_endpoint, write_config, run_tickloom):
    """Where nothing is stored there is nothing to query."""
    config = write_config(parquet_sink=configure(s3_endpoint, "s3://market/absent"))
    done = run_tickloom("sql", f"--config={config}", "select 1", **KEYS)
    assert done.returncode in {1, 2}
    assert "nothing is stored below s3://market/absent" in done.stderr
