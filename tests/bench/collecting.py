"""How fast frames become acknowledged rows: ccxt's own loop, the tapped feed, the native feed, against one sender."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.bench.report import Row, at_least, at_most
from tests.support.servers import NatsServer, find_free_port
from tests.support.stack import wait_until
from tickloom_core.bus.connection import connect
from tickloom_core.bus.kv import open_bucket
from tickloom_core.bus.subjects import PLAN_BUCKET, make_assignment_key
from tickloom_core.bus.topology import ensure_topology
from tickloom_core.config import BusConfig, NatsConfig
from tickloom_core.plan import Assignment, Shard

LOOP_TRADES = 60_000
CCXT_TRADES = 150_000
NATIVE_TRADES = 1_500_000
LATENCY_TRADES = 100_000
LATENCY_RATE = 10_000
PACED_RATE = 2_000
ROUNDS = 3
_CPU_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Run:
    """One run: trades sent, trades that arrived, and what it took."""

    sent: int
    arrived: int
    seconds: float
    cpu_seconds: float

    @property
    def per_second(self) -> float:
        """Trades that arrived, a second of wall time."""
        return self.arrived / self.seconds

    @property
    def cpu_us(self) -> float:
        """Microseconds of processor time for each trade sent."""
        return 1e6 * self.cpu_seconds / self.sent


class Program:
    """A child process that is spoken to by lines."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def read(self) -> str:
        """Return the next line."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def tell(self, line: str) -> None:
        """Send a line."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def ask(self, line: str) -> str:
        """Send a line and return the answer."""
        self.tell(line)
        return self.read()


@contextmanager
def running(*arguments: str) -> Iterator[Program]:
    """Run a program while the block runs."""
    program = Program(*arguments)
    try:
        yield program
    finally:
        program.process.kill()
        program.process.communicate()


def read_cpu_seconds(pid: int) -> float:
    """Return the processor time of a process (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _CPU_TICKS


def read_metrics(port: int) -> str:
    """Return a service's metrics."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        return str(answer.read().decode())


def read_published_trades(port: int) -> int:
    """Return how many trades a collector has had acknowledged."""
    found = re.search(r'tickloom_published_rows_total\{channel="trades"\} (\S+)', read_metrics(port))
    return int(float(found.group(1))) if found else 0


class LoopBench:
    """ccxt's own loop on a sender."""

    def __init__(self, resources: ExitStack) -> None:
        self.blaster = resources.enter_context(running("tests.bench.blaster"))
        endpoint = f"127.0.0.1:{self.blaster.read()}"
        self.loop = resources.enter_context(running("tests.bench.watch_loop", endpoint))
        assert self.loop.read() == "ready"
        wait_until(lambda: self.blaster.ask("subscribers") == "1", within_s=20, what="the loop has subscribed")

    def measure(self, count: int, rate: float = 0) -> Run:
        """Send trades, flooding when there is no rate, and wait until the loop is given no more."""
        pid = self.loop.process.pid
        given_before = int(self.loop.ask("count").split()[0])
        send = prepare(self.blaster, count, rate)
        cpu_s = read_cpu_seconds(pid)
        start_s = time.perf_counter()
        self.blaster.tell(send)
        quiet_s, given = 0.0, 0
        while quiet_s < 1.0 or not given:
            time.sleep(0.1)
            text, since_last = self.loop.ask("count").split()
            given, quiet_s = int(text) - given_before, float(since_last)
        seconds = time.perf_counter() - start_s - quiet_s
        self.blaster.read()
        return Run(count, given, seconds, read_cpu_seconds(pid) - cpu_s)


def prepare(blaster: Program, count: int, rate: float) -> str:
    """Have frames made where they are to come as a flood, and return the command that sends them."""
    if rate:
        return f"pace {count} {rate}"
    blaster.ask(f"prepare {count}")
    return "flood"


async def assign(url: str, shard: Shard) -> None:
    """Give collector-0 one shard."""
    connection = await connect(NatsConfig(url=url), name="bench")
    await ensure_topology(connection, BusConfig())
    bucket = await open_bucket(connection, PLAN_BUCKET)
    await bucket.write(
        make_assignment_key("collector-0"), Assignment(collector="collector-0", epoch=1, shards=(shard,))
    )
    await connection.close()


class CollectorBench:
    """A collector on a sender, with a bus of its own."""

    def __init__(self, feed: str, resources: ExitStack) -> None:
        folder = Path(resources.enter_context(tempfile.TemporaryDirectory()))
        self.blaster = resources.enter_context(running("tests.bench.blaster"))
        endpoint = f"http://127.0.0.1:{self.blaster.read()}"
        nats = NatsServer(folder)
        nats.start()
        resources.callback(nats.stop)
        asyncio.run(
            assign(nats.url, Shard(id="binance.trades.0", exchange="binance", channel="trades", symbols=("BTC/USDT",)))
        )
        config = {
            "data_dir": str(folder),
            "nats": {"url": nats.url},
            "venues": {
                "binance": {"endpoint": endpoint, "feed": feed, "channels": {"trades": {"symbols": ["BTC/USDT"]}}}
            },
        }
        path = folder / "tickloom.yaml"
        path.write_text(yaml.safe_dump(config))
        self.port = find_free_port()
        arguments = ("tickloom_collector", f"--config={path}", f"--http_port={self.port}", "--log_level=warning")
        self.collector = resources.enter_context(running(*arguments))
        wait_until(lambda: self.blaster.ask("subscribers") == "1", within_s=60, what="the collector has subscribed")

    def measure(self, count: int, rate: float = 0) -> Run:
        """Send trades and wait until they are acknowledged."""
        before = read_published_trades(self.port)
        pid = self.collector.process.pid
        send = prepare(self.blaster, count, rate)
        cpu_s = read_cpu_seconds(pid)
        start_s = time.perf_counter()
        self.blaster.tell(send)
        arrived, last_s = 0, start_s
        while arrived < count and time.perf_counter() - last_s < 10:
            time.sleep(0.02)
            now = read_published_trades(self.port) - before
            if now != arrived:
                arrived, last_s = now, time.perf_counter()
        self.blaster.read()
        return Run(count, arrived, last_s - start_s, read_cpu_seconds(pid) - cpu_s)


def measure_flood(feed: str, count: int) -> Run:
    """Flood ccxt's loop ("loop") or a collector with this feed."""
    with ExitStack() as resources:
        bench = LoopBench(resources) if feed == "loop" else CollectorBench(feed, resources)
        return bench.measure(count)


def measure_paced(feed: str) -> Run:
    """Send a steady, modest stream, which ccxt's loop takes whole."""
    with ExitStack() as resources:
        bench = LoopBench(resources) if feed == "loop" else CollectorBench(feed, resources)
        bench.measure(PACED_RATE)
        return bench.measure(PACED_RATE * 5, PACED_RATE)


def measure_latency() -> tuple[float, float]:
    """Return p50 and p99 in ms from a received frame to the acknowledgement, native feed, 10,000 ticks/s."""
    with ExitStack() as resources:
        bench = CollectorBench("native", resources)
        bench.measure(LATENCY_TRADES, LATENCY_RATE)
        return read_quantile(read_metrics(bench.port), 0.5), read_quantile(read_metrics(bench.port), 0.99)


def read_quantile(metrics: str, quantile: float) -> float:
    """Return a quantile in ms of the frame-to-acknowledgement histogram, linear inside a bucket."""
    pairs = re.findall(r'tickloom_frame_to_ack_seconds_bucket\{le="([^"]+)"\} (\S+)', metrics)
    buckets = [(float(bound), float(count)) for bound, count in pairs]
    wanted = quantile * buckets[-1][1]
    lower, below = 0.0, 0.0
    for bound, count in buckets:
        if count >= wanted:
            return 1000 * (lower + (bound - lower) * (wanted - below) / max(1.0, count - below))
        lower, below = bound, count
    return float("inf")


def measure() -> list[Row]:
    """Return the rows of this part; the best of three floods of each, taken in turn."""
    loops, tapped, native = [], [], []
    for _ in range(ROUNDS):
        loops.append(measure_flood("loop", LOOP_TRADES))
        tapped.append(measure_flood("ccxt", CCXT_TRADES))
        native.append(measure_flood("native", NATIVE_TRADES))
    loop, tap, own = (max(runs, key=lambda run: run.per_second) for runs in (loops, tapped, native))
    paced = {feed: measure_paced(feed) for feed in ("loop", "ccxt", "native")}
    p50_ms, p99_ms = measure_latency()
    return [
        Row("flood: plain watch_trades() loop, handed out", loop.per_second, "trades/s"),
        Row("flood: plain loop loses", 100 * (1 - loop.arrived / loop.sent), "%"),
        Row("flood: tapped ccxt feed, frame to ack", tap.per_second, "trades/s"),
        Row("flood: native feed, frame to ack", own.per_second, "trades/s"),
        at_least("flood: tapped feed / loop", tap.per_second / loop.per_second, "x", 3),
        at_least("flood: native feed / loop", own.per_second / loop.per_second, "x", 40),
        at_most("flood: tapped feed loses", sum(run.sent - run.arrived for run in tapped), "trades", 0),
        at_most("flood: native feed loses", sum(run.sent - run.arrived for run in native), "trades", 0),
        Row("flood: tapped feed, collector CPU", tap.cpu_us, "us/trade"),
        Row("flood: native feed, collector CPU", own.cpu_us, "us/trade"),
        *(Row(f"{PACED_RATE:,}/s: {feed}, CPU", run.cpu_us, "us/trade") for feed, run in paced.items()),
        Row("native flood CPU / loop CPU at a pace it takes whole", paced["loop"].cpu_us / own.cpu_us, "x"),
        Row("frame to ack at 10,000 ticks/s, p50", p50_ms, "ms"),
        Row("frame to ack at 10,000 ticks/s, p99", p99_ms, "ms"),
    ]
