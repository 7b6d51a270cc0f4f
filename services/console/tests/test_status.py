from __future__ import annotations

import pytest

from tickloom_console.standing import ConsumerStanding, StreamStanding
from tickloom_console.status import Findings, find_problems
from tickloom_core.bus.identity import StreamIdentity
from tickloom_core.config import BusConfig, Config
from tickloom_core.manifests import Manifest
from tickloom_core.plan import Member, Plan, Shard, WorkerLoad

NOW_NS = 1_000_000_000_000
CONFIG = Config(bus=BusConfig(partitions=1))
SHARD = Shard(id="kraken.trades.0", exchange="kraken", channel="trades", symbols=("BTC/USD",))
PLAN = Plan(
    epoch=3,
    created_ns=0,
    workers=(
        WorkerLoad(collector="collector-0", total_score=1.0, shards=(SHARD,)),
        WorkerLoad(collector="collector-1", total_score=0.0, shards=()),
    ),
    profiles=(),
)
MEMBER = Member(collector="collector-0", epoch=3, shards=1, rows_per_s=5.0, beat_ns=NOW_NS)


def make_manifest(age_s):
    return Manifest(
        stream=StreamIdentity("MARKETDATA", "2026-11-21T00:00:00Z"),
        partition=0,
        first_sequence=1,
        last_sequence=9,
        stored_ns=NOW_NS - age_s * 10**9,
        files=(),
        rows={},
        writer_window="",
        software="test",
    )


def make_findings(**changes):
    found = {
        "stream": StreamStanding(messages=5, size_bytes=10, max_bytes=1000),
        "consumers": [ConsumerStanding("parquet", 0, behind=3)],
        "plan": PLAN,
        "members": [MEMBER],
        "owners": frozenset({"parquet.0"}),
        "manifests": {0: make_manifest(age_s=5)},
    }
    return Findings(**(found | changes))


def test_a_system_that_works_has_no_problems():
    """Some messages on their way and a collector without shards are no problem."""
    assert list(find_problems(make_findings(), CONFIG, NOW_NS)) == []


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"stream": None}, "the stream does not exist"),
        ({"stream": StreamStanding(messages=5, size_bytes=950, max_bytes=1000)}, "the stream is 95% full"),
        ({"consumers": []}, "1 of 1 consumers do not exist"),
        ({"plan": None}, "there is no plan"),
        ({"members": []}, "collector-0 has shards and gives no sign of life"),
        ({"owners": frozenset()}, "nobody carries partition 0 of the sink parquet"),
        ({"manifests": {0: make_manifest(age_s=90)}}, "partition 0 has 3 messages waiting"),
        ({"manifests": {}, "storage_problem": "s3://market: there is no such bucket"}, "s3://market: there is no"),
    ],
)
def test_what_does_not_work_is_named(changes, problem):
    """Each thing that is wrong is one problem, and the only one."""
    (found,) = find_problems(make_findings(**changes), CONFIG, NOW_NS)
    assert found.startswith(problem)


def test_an_unreachable_bus_is_an_error(write_config, run_tickloom):
    """Without NATS the exit code is 1 and the line says where it was looked for."""
    done = run_tickloom("status", f"--config={write_config()}")
    assert done.returncode == 1
    assert "NATS at nats://127.0.0.1:" in done.stderr


def test_a_bus_without_a_stream_does_not_work(nats_url, write_config, run_tickloom):
    """A server on which nothing was ever made is reachable, and not enough."""
    done = run_tickloom("status", f"--config={write_config(nats={'url': nats_url})}")
    assert done.returncode == 1
    assert f"NATS {nats_url}: reachable" in done.stdout
    assert "the stream does not exist" in done.stderr
