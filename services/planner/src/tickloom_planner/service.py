"""Profile, pack, publish; then keep the lead until asked to end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import structlog

from tickloom_core.bus.connection import connect
from tickloom_core.config import Config
from tickloom_core.errors import TransientError
from tickloom_core.http import serve_health
from tickloom_core.lifecycle import Health, Stop
from tickloom_core.plan import Plan, VenueProfile
from tickloom_planner.document import encode_plan, write_plan
from tickloom_planner.flags import Options
from tickloom_planner.pack import make_shards, name_collectors, pack_shards
from tickloom_planner.profile import Profiler, VenueStudy
from tickloom_planner.publish import PlanBoard
from tickloom_planner.selection import Selection, select_venues

log = structlog.get_logger(__name__)


async def serve(options: Options, config: Config, stop: Stop) -> None:
    """Run the planner until it is done (`--dry_run`, `--once`) or asked to end.

    Raises:
        ConfigError: the configuration asks for a venue, channel or symbol that does not exist.
        BusUnavailableError: NATS cannot be reached.
        TransientError: every venue is excluded at the moment.
        PermanentError: another planner has taken over.
    """
    selection = select_venues(
        config.venues,
        exchanges=options.exchanges,
        exchanges_exclude=options.exchanges_exclude,
        place=options.common.config_path,
    )
    if options.dry_run:
        await _unless_stopped(stop, _rehearse(options, config, selection))
        return
    connection = await connect(config.nats, name=options.common.name)
    try:
        health = Health()
        health.require("bus", lambda: connection.is_connected)
        board = PlanBoard(connection, config.bus, health, planner=options.common.name)
        health.require("plan", lambda: board.has_published)
        async with serve_health(health, host=options.common.http_host, port=options.common.http_port):
            await _unless_stopped(stop, _lead(options, config, selection, board))
    finally:
        await connection.close()


async def _rehearse(options: Options, config: Config, selection: Selection) -> None:
    studies = await _make_profiler(options, config, {}).study_all(selection.wanted)
    workers = config.planner.workers
    plan = make_plan(config, studies, selection, name_collectors(1 if workers == "auto" else workers))
    print(encode_plan(plan))  # noqa: T201 (what --dry_run is for)
    _require_venues(plan)


async def _lead(options: Options, config: Config, selection: Selection, board: PlanBoard) -> None:
    await board.lead()
    async with asyncio.TaskGroup() as group:
        keeper = group.create_task(board.keep())
        known = {} if options.fresh_profiles else await board.read_profiles(selection.wanted)
        studies = await _make_profiler(options, config, known).study_all(selection.wanted)
        await board.write_profiles(study.profile for study in studies if not study.profile.excluded)
        plan = make_plan(config, studies, selection, await _find_collectors(config, board), epoch=board.epoch)
        write_plan(plan, Path(config.data_dir) / "plan.json")
        await board.announce_excluded(plan.excluded)
        _require_venues(plan)
        await board.publish(plan)
        totals = {worker.collector: round(worker.total_score, 1) for worker in plan.workers}
        log.info("plan.published", epoch=plan.epoch, totals=totals)
        if options.once:
            keeper.cancel()


def _make_profiler(options: Options, config: Config, known: Mapping[str, VenueProfile]) -> Profiler:
    agent = f"tickloom-planner/{version('tickloom-planner')}"
    return Profiler(config, place=options.common.config_path, agent=agent, known=known)


async def _find_collectors(config: Config, board: PlanBoard) -> list[str]:
    if config.planner.workers != "auto":
        return name_collectors(config.planner.workers)
    return await board.wait_for_members(config.planner.member_wait_s) or name_collectors(1)


def make_plan(
    config: Config,
    studies: list[VenueStudy],
    selection: Selection,
    collectors: list[str],
    *,
    epoch: int = 0,
) -> Plan:
    """Pack what was studied onto the collectors."""
    usable = [study for study in studies if not study.profile.excluded]
    failed = [study.profile for study in studies if study.profile.excluded]
    shards = [
        shard
        for study in usable
        for shard in make_shards(
            study, config.venues[study.profile.exchange], shard_symbols=config.planner.shard_symbols
        )
    ]
    return Plan(
        epoch=epoch,
        created_ns=time.time_ns(),
        workers=pack_shards(shards, collectors),
        profiles=tuple(study.profile for study in usable),
        excluded=tuple(sorted([*selection.excluded, *failed], key=lambda profile: profile.exchange)),
    )


def _require_venues(plan: Plan) -> None:
    if not plan.profiles:
        reasons = "; ".join(f"{profile.exchange}: {profile.reason}" for profile in plan.excluded)
        raise TransientError(f"every venue is excluded, there is nothing to plan: {reasons}")


async def _unless_stopped(stop: Stop, work: Coroutine[Any, Any, None]) -> None:
    """Run the work to its end, or until asked to end, whichever is first."""
    async with asyncio.TaskGroup() as group:
        working = group.create_task(work)
        stopping = group.create_task(stop.wait())
        await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
        working.cancel()
        stopping.cancel()
