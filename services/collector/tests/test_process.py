"""The whole collector as a process, between the simulator and a real nats-server."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.servers import find_free_port
from tickloom_core.bus.connection import Connection, connect
from tickloom_core.bus.kv import open_bucket
from tickloom_core.bus.reader import PartitionReader
from tickloom_core.bus.subjects import MEMBERS_BUCKET, PLAN_BUCKET, make_assignment_key
from tickloom_core.bus.topology import ensure_topology
from tickloom_core.config import BusConfig, NatsConfig
from tickloom_core.plan import Assignment, Member, Shard
from tickloom_core.wire import Batch, decode

from .conftest import Simulator, eventually
from .recorder import list_batch_keys

AGENT = "tickloom-collector"
QUOTES = {"binance": "USDT", "kraken": "USD", "coinbase": "USD"}
PARTITIONS = 4


def write_config(folder: Path, nats_url: str, venues: dict[str, str], *, feed: str = "auto") -> Path:
    lines = [f"data_dir: {folder}/data", f"nats: {{url: {nats_url}}}", f"bus: {{partitions: {PARTITIONS}}}"]
    lines += ["log: {format: console}", "venues:" if venues else "venues: {}"]
    for venue, endpoint in venues.items():
        lines += [f"  {venue}:", f"    endpoint: {endpoint}", f"    feed: {feed}"]
        lines += ["    channels: {trades: {}, tickers: {}, books: {}}"]
    path = folder / "tickloom.yaml"
    path.write_text("\n".join(lines) + "\n")
    return path


def make_shards(venues: dict[str, str]) -> tuple[Shard, ...]:
    return tuple(
        Shard(
            id=f"{venue}.{channel}.0",
            exchange=venue,
            channel=channel,
            symbols=tuple(f"{base}/{QUOTES[venue]}" for base in ("BTC", "ETH", "SOL", "XRP")),
            depth=20 if channel == "books" else 0,
        )
        for venue in venues
        for channel in ("trades", "tickers", "books")
    )


async def assign(connection: Connection, *shards: Shard, epoch: int = 1) -> None:
    bucket = await open_bucket(connection, PLAN_BUCKET)
    await bucket.write(
        make_assignment_key("collector-0"), Assignment(collector="collector-0", epoch=epoch, shards=shards)
    )


async def read_all(connection: Connection) -> list[Batch]:
    """Return everything in the stream, in order within each partition."""
    batches = []
    for partition in range(PARTITIONS):
        reader = PartitionReader(connection, "parquet", partition)
        await reader.start_after(0)
        while (delivery := await reader.read(1.0)) is not None:
            batches.append(decode(delivery.data))
        await reader.close()
    return batches


def list_keys(batches: list[Batch], channel: str) -> dict[tuple[str, str], list[Any]]:
    """Return the keys of all rows by venue and symbol, as the simulator's truth names them."""
    keys: dict[tuple[str, str], list[Any]] = {}
    for batch in batches:
        if batch.header.channel == channel:
            rows: Any = batch.rows
            symbols = [rows.symbols[index] for index in memoryview(rows.symbol_index).cast("I")]
            for symbol, key in zip(symbols, list_batch_keys(batch), strict=True):
                keys.setdefault((batch.header.exchange, symbol), []).append(key)
    return keys


def list_events(batches: list[Batch]) -> list[tuple[str, str]]:
    events = [batch for batch in batches if batch.header.channel == "events"]
    return [(batch.header.exchange, kind) for batch in events for kind in batch.rows.kind]


class Process:
    """The collector as a process."""

    def __init__(self, process: asyncio.subprocess.Process, http_port: int) -> None:
        self.process = process
        self.http_port = http_port

    async def is_ready(self) -> bool:
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://127.0.0.1:{self.http_port}/readyz") as answer,
            ):
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    async def count_rows(self) -> int:
        """Return how many rows of data are in batches, by the collector's own metrics."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{self.http_port}/metrics") as answer,
        ):
            lines = (await answer.text()).splitlines()
        rows = [line for line in lines if line.startswith("tickloom_collected_rows_total{") and "events" not in line]
        return sum(int(float(line.rpartition(" ")[2])) for line in rows)

    async def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            return await self.process.wait()


@pytest.fixture
async def start_collector() -> AsyncIterator[Callable[[Path], Awaitable[Process]]]:
    """Start collectors; what a failed test leaves running is killed."""
    started: list[Process] = []

    async def start(config: Path) -> Process:
        port = find_free_port()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tickloom_collector", f"--config={config}", f"--http_port={port}"
        )
        started.append(Process(process, port))
        return started[-1]

    yield start
    for collector in started:
        if collector.process.returncode is None:
            collector.process.kill()
            await collector.process.wait()


@pytest.fixture
async def bus(nats_server):
    connection = await connect(NatsConfig(url=nats_server.url), name="test")
    await ensure_topology(connection, BusConfig(partitions=PARTITIONS))
    yield connection
    await connection.close()


async def settle(simulator: Simulator, venues: dict[str, str]) -> dict[tuple[str, str], dict[str, list[Any]]]:
    """Stop the simulator and return what it has sent, by venue and channel."""
    await simulator.call("POST", "/pause")
    return {
        (venue, channel): await simulator.read_keys(venue, channel, AGENT)
        for venue in venues
        for channel in ("trades", "tickers", "books")
    }


@pytest.mark.parametrize("feed", ["auto", "ccxt"])
async def test_every_row_of_three_venues_is_acknowledged_when_the_process_has_ended(
    simulator, nats_server, bus, start_collector, tmp_path, feed
) -> None:
    """Trades, tickers and books: what the venues sent is in the stream, each row once, after SIGTERM and exit 0."""
    config = write_config(tmp_path, nats_server.url, simulator.venues, feed=feed)
    collector = await start_collector(config)
    await assign(bus, *make_shards(simulator.venues))
    await eventually(collector.is_ready, what="the collector is ready")

    async def has_data() -> bool:
        rows = await simulator.call("GET", f"/truth?agent={AGENT}")
        return len(rows) == 36 and all(row["sent"] for row in rows)

    await eventually(has_data, what="the venues have sent something of every channel and symbol")
    truth = await settle(simulator, simulator.venues)
    total = sum(len(keys) for sent in truth.values() for keys in sent.values())

    async def has_read_all() -> bool:
        return await collector.count_rows() >= total

    await eventually(has_read_all, what=f"{total} rows are in batches")
    members = await open_bucket(bus, MEMBERS_BUCKET)

    async def has_told() -> bool:
        member = await members.read("collector-0", Member)
        return member is not None and member.shards == 9 and member.epoch == 1

    await eventually(has_told, what="a heartbeat with nine shards")
    assert await collector.stop() == 0

    batches = await read_all(bus)
    for (venue, channel), sent in truth.items():
        stored = list_keys(batches, channel)
        assert len(sent) == 4, (venue, channel, sent.keys())
        for symbol, keys in sent.items():
            found = Counter(stored.get((venue, symbol), []))
            assert found == Counter(keys), (venue, channel, symbol, len(keys), sum(found.values()))
    assert {("binance", "connect"), ("kraken", "connect"), ("coinbase", "connect")} <= set(list_events(batches))
    sequences = sorted(batch.header.writer_sequence for batch in batches)
    assert sequences == list(range(1, len(sequences) + 1))


async def test_ended_in_full_flow_it_leaves_nothing_half_done(
    simulator, nats_server, bus, start_collector, tmp_path
) -> None:
    """Stopped while trades flow, every batch that it numbered is in the stream, and no trade is missing between."""
    venues = {"binance": simulator.venues["binance"]}
    collector = await start_collector(write_config(tmp_path, nats_server.url, venues, feed="auto"))
    await simulator.call("POST", "/rates", {"trades_per_s": 5000})
    await assign(bus, *[shard for shard in make_shards(venues) if shard.channel == "trades"])
    await eventually(collector.is_ready, what="the collector is ready")

    async def has_rows() -> bool:
        return await collector.count_rows() > 5000

    await eventually(has_rows, what="5,000 rows")
    assert await collector.stop() == 0
    batches = await read_all(bus)
    sequences = sorted(batch.header.writer_sequence for batch in batches)
    assert sequences == list(range(1, len(sequences) + 1))
    for keys in list_keys(batches, "trades").values():
        assert [int(key) for key in keys] == list(range(int(keys[0]), int(keys[0]) + len(keys)))


async def list_sent(simulator: Simulator) -> set[tuple[str, str]]:
    """Return the venues and symbols of which something was sent."""
    rows = await simulator.call("GET", f"/truth?agent={AGENT}")
    return {(row["venue"], row["symbol"]) for row in rows if row["sent"]}


async def test_a_new_assignment_changes_only_what_it_changes(
    simulator, nats_server, bus, start_collector, tmp_path
) -> None:
    """Shards come and go by assignment without touching the others; an older epoch is ignored."""
    venues = {venue: simulator.venues[venue] for venue in ("kraken", "coinbase")}
    collector = await start_collector(write_config(tmp_path, nats_server.url, venues))
    kraken, coinbase = (
        Shard(id=f"{venue}.trades.0", exchange=venue, channel="trades", symbols=("BTC/USD",)) for venue in venues
    )
    more = Shard(id="kraken.trades.1", exchange="kraken", channel="trades", symbols=("ETH/USD",))

    async def expect(*expected: tuple[str, str]) -> None:
        await simulator.call("DELETE", "/truth")

        async def is_so() -> bool:
            return set(expected) <= await list_sent(simulator)

        await eventually(is_so, what=f"{expected} are sent")

    await assign(bus, kraken, coinbase, epoch=5)
    await expect(("kraken", "BTC/USD"), ("coinbase", "BTC/USD"))
    await assign(bus, kraken, more, epoch=6)
    await expect(("kraken", "BTC/USD"), ("kraken", "ETH/USD"))

    async def has_left() -> bool:
        await simulator.call("DELETE", "/truth")
        await asyncio.sleep(0.2)  # the time in which a venue that is still subscribed would have sent something
        return ("coinbase", "BTC/USD") not in await list_sent(simulator)

    await eventually(has_left, what="coinbase is left")
    await assign(bus, coinbase, epoch=4)
    await expect(("kraken", "BTC/USD"), ("kraken", "ETH/USD"))
    assert await collector.stop() == 0
    batches = await read_all(bus)
    assert {batch.header.epoch for batch in batches} == {5, 6}
    assert list_events(batches).count(("kraken", "connect")) == 1
    assert list_events(batches).count(("coinbase", "connect")) == 1
    ids = [int(key) for key in list_keys(batches, "trades")["kraken", "BTC/USD"]]
    assert ids == list(range(ids[0], ids[0] + len(ids)))


async def run_to_end(config: Path, *flags: str) -> tuple[int, list[str]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tickloom_collector", f"--config={config}", *flags, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(30):
        _, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, err.decode().splitlines()


async def test_an_unreachable_bus_ends_in_one_clear_line_and_exit_code_1(tmp_path) -> None:
    """Without NATS the collector says where it looked and ends."""
    config = write_config(tmp_path, f"nats://127.0.0.1:{find_free_port()}", {})
    code, lines = await run_to_end(config)
    assert code == 1
    assert lines[-1].startswith("error: NATS at nats://127.0.0.1:")
    assert not any("Traceback" in line for line in lines)


@pytest.mark.parametrize(
    ("venue", "feed", "flags", "text"),
    [
        ("kraken", "native", [], "there is no native feed for kraken/trades"),
        ("kraken", "ccxt", ["--no_such_flag"], "no_such_flag"),
        ("kraken", "quick", [], "expected one of auto, native, ccxt"),
    ],
)
async def test_a_wrong_configuration_is_one_line_and_exit_code_2(tmp_path, venue, feed, flags, text) -> None:
    """A wrong setting or flag is said in one line before anything is connected."""
    config = write_config(tmp_path, "nats://127.0.0.1:1", {venue: "http://127.0.0.1:1"}, feed=feed)
    code, lines = await run_to_end(config, *flags)
    assert code == 2
    assert len(lines) == 1, lines
    assert text in lines[0]
