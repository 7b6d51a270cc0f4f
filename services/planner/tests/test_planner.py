from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tickloom_core.bus.connection import connect
from tickloom_core.bus.kv import open_bucket
from tickloom_core.bus.subjects import PLAN_BUCKET, PLAN_KEY, PROFILES_BUCKET, make_assignment_key
from tickloom_core.config import NatsConfig
from tickloom_core.plan import Assignment, Plan, VenueProfile

CHANNELS = {"trades": {"symbols": "all"}, "tickers": {"symbols": "all"}, "books": {"symbols": "all", "depth": 25}}


def make_venues(simulator, *names):
    return {name: {"endpoint": simulator.venues[name], "channels": CHANNELS} for name in names}


def run_planner(config: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tickloom_planner", f"--config={config}", *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)


def post(url: str, body: dict[str, object]) -> None:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})  # noqa: S310
    urllib.request.urlopen(request, timeout=10).close()  # noqa: S310 (both: the simulator's own address)


async def read(nats_url, bucket, key, kind):
    connection = await connect(NatsConfig(url=nats_url), name="test")
    try:
        return await (await open_bucket(connection, bucket)).read(key, kind)
    finally:
        await connection.close()


def test_a_dry_run_prints_every_score_and_needs_no_bus(simulator, write_config):
    """Three venues are measured and packed; the JSON has scores that follow from what was counted, and the totals."""
    config = write_config(venues=make_venues(simulator, "binance", "coinbase", "kraken"))
    done = run_planner(config, "--dry_run")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert [profile["exchange"] for profile in plan["profiles"]] == ["binance", "coinbase", "kraken"]
    for profile in plan["profiles"]:
        assert profile["mode"] == "watch_tickers"
        assert len(profile["symbols"]) == 4
        assert profile["ticks"] > 0
        assert profile["reconnects"] == 0
        assert profile["bytes_per_sec"] == pytest.approx(profile["bytes_total"] / profile["seconds"])
        assert profile["score"] == pytest.approx(profile["bytes_per_sec"])
    shards = [shard for worker in plan["workers"] for shard in worker["shards"]]
    assert len(shards) == 3 * 3 * 2
    assert {shard["depth"] for shard in shards if shard["channel"] == "books"} == {25}
    for worker in plan["workers"]:
        assert worker["total_score"] == pytest.approx(sum(shard["score"] for shard in worker["shards"]))
    assert sum(worker["total_score"] for worker in plan["workers"]) == pytest.approx(
        sum(profile["score"] for profile in plan["profiles"])
    )
    assert not (config.parent / "data" / "plan.json").exists()


def test_a_refusing_venue_is_excluded_with_its_error(simulator, write_config):
    """A venue that answers 503 has score 0.0 and its error's name in the plan; the others are planned."""
    post(f"{simulator.control}/faults", {"kind": "refuse", "venue": "kraken", "seconds": 60})
    venues = make_venues(simulator, "binance", "kraken")
    done = run_planner(write_config(venues=venues), "--dry_run")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert [profile["exchange"] for profile in plan["profiles"]] == ["binance"]
    (excluded,) = plan["excluded"]
    assert (excluded["exchange"], excluded["score"], excluded["excluded"]) == ("kraken", 0.0, True)
    assert "ExchangeNotAvailable" in excluded["reason"]
    assert {shard["exchange"] for worker in plan["workers"] for shard in worker["shards"]} == {"binance"}


async def test_a_connection_that_breaks_while_watched_counts_as_a_reconnect(simulator, write_config):
    """Sockets that the venue closes are opened again, and each weighs 2000 a minute in the score."""
    config = write_config(venues=make_venues(simulator, "kraken"))
    async with start_planner(config, "--dry_run", "--profile_seconds=5") as planner:
        async with asyncio.timeout(60):
            while not await asyncio.to_thread(has_sent, simulator, "tickloom-planner"):
                await asyncio.sleep(0.05)
        close = {"kind": "close", "venue": "kraken", "mode": "abort"}
        await asyncio.to_thread(post, f"{simulator.control}/faults", close)
        output, errors = await asyncio.wait_for(planner.communicate(), 60)
    assert planner.returncode == 0, errors.decode()
    (profile,) = json.loads(output)["profiles"]
    assert profile["reconnects"] >= 1
    assert profile["score"] == pytest.approx(profile["bytes_per_sec"] + 2000 * profile["reconnects_per_min"])


def has_sent(simulator, agent: str) -> bool:
    with urllib.request.urlopen(f"{simulator.control}/truth?agent={agent}", timeout=10) as answer:  # noqa: S310
        return any(row["sent"] for row in json.load(answer))


@asynccontextmanager
async def start_planner(config: Path, *flags: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A planner that is killed in the end, should it still run."""
    command = [sys.executable, "-m", "tickloom_planner", f"--config={config}", *flags]
    pipe = asyncio.subprocess.PIPE
    planner = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
    try:
        yield planner
    finally:
        if planner.returncode is None:
            planner.kill()
            await planner.communicate()


def test_an_unknown_symbol_is_an_error_of_the_configuration(simulator, write_config):
    """One line names file, key and the nearest symbols; exit code 2."""
    venues = make_venues(simulator, "kraken")
    venues["kraken"]["channels"] = {"trades": {"symbols": ["BTC/UDS"]}}
    done = run_planner(write_config(venues=venues), "--dry_run")
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "tickloom.yaml: venues.kraken.channels.trades.symbols: " in line
    assert "BTC/USD" in line


def test_when_every_venue_is_excluded_the_planner_fails(write_config):
    """A plan without a venue is an error that says why each is excluded."""
    venues = {"kraken": {"endpoint": "http://127.0.0.1:9", "channels": CHANNELS}}
    done = run_planner(write_config(venues=venues), "--dry_run")
    assert done.returncode == 1
    assert "every venue is excluded" in done.stderr.splitlines()[-1]
    assert "kraken: ExchangeNotAvailable" in done.stderr.splitlines()[-1]


def test_an_unreachable_bus_is_one_clear_line(write_config):
    """Without NATS the planner ends with code 1 and a last line that says what to do."""
    venues = {"kraken": {"channels": CHANNELS}}
    nats = {"url": "nats://127.0.0.1:9", "connect_timeout_s": 1}
    done = run_planner(write_config(venues=venues, nats=nats), "--once")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: NATS at nats://127.0.0.1:9 cannot be reached")


async def test_once_publishes_plan_assignments_and_profiles(simulator, nats_url, write_config):
    """Each collector finds its shards under the plan's epoch; the plan is in the data folder, the profiles are kept."""
    config = write_config(venues=make_venues(simulator, "binance", "kraken"), nats={"url": nats_url})
    done = await asyncio.to_thread(run_planner, config, "--once")
    assert done.returncode == 0, done.stderr
    plan = await read(nats_url, PLAN_BUCKET, PLAN_KEY, Plan)
    assert [worker.collector for worker in plan.workers] == ["collector-0", "collector-1"]
    for worker in plan.workers:
        assignment = await read(nats_url, PLAN_BUCKET, make_assignment_key(worker.collector), Assignment)
        assert assignment == Assignment(collector=worker.collector, epoch=plan.epoch, shards=worker.shards)
    document = json.loads((config.parent / "data" / "plan.json").read_text())
    assert document["epoch"] == plan.epoch
    assert document["profiles"][0]["ticks_per_sec"] > 0
    assert (await read(nats_url, PROFILES_BUCKET, "kraken", VenueProfile)) == plan.profiles[1]


async def test_a_restart_reuses_young_profiles_of_the_same_symbols(simulator, nats_url, write_config):
    """A second planner uses what the first has measured, unless told to measure afresh."""
    config = write_config(venues=make_venues(simulator, "kraken"), nats={"url": nats_url})

    async def plan_once(*flags: str) -> Plan:
        done = await asyncio.to_thread(run_planner, config, "--once", *flags)
        assert done.returncode == 0, done.stderr
        return await read(nats_url, PLAN_BUCKET, PLAN_KEY, Plan)

    first, second = await plan_once(), await plan_once()
    assert second.profiles == first.profiles
    assert second.epoch > first.epoch
    fresh = await plan_once("--fresh_profiles")
    assert fresh.profiles[0].profiled_ns > second.profiles[0].profiled_ns


async def test_sigterm_ends_the_planner_while_it_keeps_the_lead_and_while_it_profiles(
    simulator, nats_url, write_config
):
    """A planner that is asked to end does so at once with code 0, whatever it is doing."""
    config = write_config(venues=make_venues(simulator, "kraken"), nats={"url": nats_url})
    for seconds, ready in ((1, "plan.published"), (600, "profile.watching")):
        flags = ("--fresh_profiles", f"--profile_seconds={seconds}", "--log_format=json")
        async with start_planner(config, *flags) as planner, asyncio.timeout(60):
            assert planner.stderr is not None
            while ready not in (line := (await planner.stderr.readline()).decode()):
                assert line, "the planner ended early"
            planner.send_signal(signal.SIGTERM)
            _, errors = await planner.communicate()
        assert planner.returncode == 0, errors.decode()
