"""`tickloom status`: what works and what does not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from tickloom_console.flags import StatusOptions
from tickloom_console.manifests import read_newest
from tickloom_console.root import open_root
from tickloom_console.standing import ConsumerStanding, StreamStanding, read_consumers, read_stream
from tickloom_console.tables import print_table
from tickloom_core.bus.connection import Connection, connect
from tickloom_core.bus.kv import open_bucket
from tickloom_core.bus.subjects import MEMBERS_BUCKET, OWNERS_BUCKET, PLAN_BUCKET, PLAN_KEY, make_owner_key
from tickloom_core.config import Config
from tickloom_core.config_file import load_config
from tickloom_core.errors import TickloomError, TransientError
from tickloom_core.manifests import Manifest
from tickloom_core.plan import Member, Plan

_NS_PER_S: Final = 1_000_000_000
_BEHIND_S: Final = 60.0
"""A sink that has waiting messages and has committed nothing for so long does not work."""
_FULL_SHARE: Final = 0.9
_FILES: Final = "parquet"
"""The sink whose last chunk the manifests show."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found out.

    Attributes:
        owners: the partitions of sinks that a process carries, as keys of the owners bucket.
        manifests: the one written last of each partition.
        storage_problem: why they cannot be read, empty when they can.
    """

    stream: StreamStanding | None
    consumers: list[ConsumerStanding] = field(default_factory=list)
    plan: Plan | None = None
    members: list[Member] = field(default_factory=list)
    owners: frozenset[str] = frozenset()
    manifests: dict[int, Manifest] = field(default_factory=dict)
    storage_problem: str = ""


async def print_status(options: StatusOptions) -> None:
    """Print what stands on the bus and in storage.

    Raises:
        ConfigError: the configuration is wrong.
        BusUnavailableError: NATS cannot be reached.
        TransientError: something else does not work; the message lists what.
    """
    config = load_config(options.config_path)
    connection = await connect(config.nats, name="console")
    try:
        findings = await _find_out(connection, config)
    finally:
        await connection.close()
    now_ns = time.time_ns()
    print(f"NATS {config.nats.url}: reachable")  # noqa: T201 (what status is for)
    _print_bus(findings)
    _print_control_plane(findings, now_ns)
    _print_storage(findings, now_ns)
    problems = list(find_problems(findings, config, now_ns))
    if problems:
        raise TransientError("; ".join(problems))


def find_problems(findings: Findings, config: Config, now_ns: int) -> Iterable[str]:
    """Yield what does not work, each with what to do."""
    stream = findings.stream
    if stream is None:
        yield "the stream does not exist: start the services"
        return
    if stream.size_bytes > _FULL_SHARE * stream.max_bytes:
        yield f"the stream is {stream.size_bytes / stream.max_bytes:.0%} full: see whether every sink runs"
    yield from _find_planning_problems(findings)
    yield from _find_sink_problems(findings, config, now_ns)


def _find_planning_problems(findings: Findings) -> Iterable[str]:
    if findings.plan is None:
        yield "there is no plan: start the planner"
        return
    alive = {member.collector for member in findings.members}
    for worker in findings.plan.workers:
        if worker.shards and worker.collector not in alive:
            yield f"{worker.collector} has shards and gives no sign of life: start it"


def _find_sink_problems(findings: Findings, config: Config, now_ns: int) -> Iterable[str]:
    expected = len(config.bus.sinks) * config.bus.partitions
    if len(findings.consumers) < expected:
        yield f"{expected - len(findings.consumers)} of {expected} consumers do not exist: start the sinks"
    for sink in config.bus.sinks:
        idle = [str(n) for n in range(config.bus.partitions) if make_owner_key(sink, n) not in findings.owners]
        if idle:
            yield f"nobody carries partition {', '.join(idle)} of the sink {sink}: start it"
    if findings.storage_problem:
        yield findings.storage_problem
        return
    for standing in findings.consumers:
        manifest = findings.manifests.get(standing.partition)
        age_s = _find_age_s(manifest.stored_ns, now_ns) if manifest else float("inf")
        if standing.sink == _FILES and standing.behind and age_s > _BEHIND_S:
            yield f"partition {standing.partition} has {standing.behind} messages waiting: see whether the sink runs"


async def _find_out(connection: Connection, config: Config) -> Findings:
    stream = await read_stream(connection)
    if stream is None:
        return Findings(None)
    members_bucket = await open_bucket(connection, MEMBERS_BUCKET)
    members = [await members_bucket.read(key, Member) for key in await members_bucket.list_keys()]
    has_files = _FILES in config.bus.sinks
    manifests, storage_problem = await asyncio.to_thread(_read_manifests, config) if has_files else ({}, "")
    return Findings(
        stream=stream,
        consumers=await read_consumers(connection, config.bus),
        plan=await (await open_bucket(connection, PLAN_BUCKET)).read(PLAN_KEY, Plan),
        members=[member for member in members if member is not None],
        owners=frozenset(await (await open_bucket(connection, OWNERS_BUCKET)).list_keys()),
        manifests=manifests,
        storage_problem=storage_problem,
    )


def _read_manifests(config: Config) -> tuple[dict[int, Manifest], str]:
    try:
        return read_newest(open_root(config.parquet_uri, config.parquet_sink)), ""
    except TickloomError as error:
        return {}, str(error)


def _print_bus(findings: Findings) -> None:
    stream = findings.stream
    if stream is None:
        return
    share = stream.size_bytes / stream.max_bytes
    print(f"stream: {stream.messages:,} messages, {stream.size_bytes:,} bytes ({share:.1%} of its bound)")  # noqa: T201
    rows = [(c.sink, c.partition, c.behind) for c in findings.consumers]
    print_table(("sink", "partition", "messages not stored"), rows, title="\nsinks")


def _print_control_plane(findings: Findings, now_ns: int) -> None:
    plan = findings.plan
    if plan is None:
        return
    shards = sum(len(worker.shards) for worker in plan.workers)
    print(f"\nplan: epoch {plan.epoch}, {shards} shards on {len(plan.workers)} collectors")  # noqa: T201
    for profile in plan.excluded:
        print(f"excluded: {profile.exchange}: {profile.reason}")  # noqa: T201
    rows = [
        (member.collector, member.epoch, member.shards, round(member.rows_per_s), _spell_age(member.beat_ns, now_ns))
        for member in findings.members
    ]
    print_table(("collector", "epoch", "shards", "rows/s", "heartbeat"), rows, title="\ncollectors")


def _print_storage(findings: Findings, now_ns: int) -> None:
    rows = [
        (partition, manifest.last_sequence, sum(manifest.rows.values()), _spell_age(manifest.stored_ns, now_ns))
        for partition, manifest in sorted(findings.manifests.items())
    ]
    print_table(("partition", "last sequence", "rows", "stored"), rows, title="\nlast chunk a partition")


def _find_age_s(then_ns: int, now_ns: int) -> float:
    return (now_ns - then_ns) / _NS_PER_S


def _spell_age(then_ns: int, now_ns: int) -> str:
    return f"{_find_age_s(then_ns, now_ns):.0f} s ago"
