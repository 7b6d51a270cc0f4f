"""The sync: in rounds, what is committed in a local folder goes to the target, and leaves here when it is confirmed."""

from __future__ import annotations

import asyncio
import random
import time
from math import inf
from pathlib import Path
from typing import Final

import structlog

from tickloom_core.config import Config
from tickloom_core.errors import ConfigError, TransientError
from tickloom_core.http import serve_health
from tickloom_core.lifecycle import Health, Stop
from tickloom_core.s3 import S3_SCHEME
from tickloom_parquet_sink.sync.departure import Departure
from tickloom_parquet_sink.sync.flags import Options
from tickloom_parquet_sink.sync.listing import print_backlog
from tickloom_parquet_sink.sync.metrics import BEHIND_FILES, BYTES, DELETED_FILES, FAILURES, FILES, LOOP, read_value
from tickloom_parquet_sink.sync.removal import Removal
from tickloom_parquet_sink.sync.source import Source
from tickloom_parquet_sink.sync.survey import Survey
from tickloom_parquet_sink.sync.target import Target, open_target
from tickloom_parquet_sink.sync.transfer import Transfer

log = structlog.get_logger(__name__)

_DRAIN_S: Final = 10.0
"""Time for the files in hand when the process is to end; what takes longer is sent anew next time."""
_REMOVING_S: Final = 30.0
"""New data must not wait until everything old is removed."""
_BEAT_S: Final = 5.0
_RETRY_BASE_S: Final = 1.0
_RETRY_MAX_S: Final = 60.0


async def serve(options: Options, config: Config, stop: Stop) -> None:
    """Carry rounds until `stop`, or one when that is asked for.

    Raises:
        PermanentError: the configuration, the folder or the target cannot be used, or the two contradict each other.
        TransientError: the only round has failed.
    """
    root, uri = _find_roots(config)
    health = Health()
    common = options.common
    async with (
        serve_health(health, host=common.http_host, port=common.http_port),
        open_target(uri, config, health) as target,
    ):
        sync = Sync(Source(root), target, config.sync.delete_after_s, health)
        log.info("sync.started", source=str(root), target=target.place)
        if not root.is_dir():
            log.warning("sync.source_absent", reason=f"no sink has written to {root} yet, or parquet_sink.uri is wrong")
        if options.dry_run:
            await sync.describe()
        elif options.once:
            await sync.run_round(stop)
        else:
            await sync.run(config.sync.interval_s, stop)


class Sync:
    """Rounds between one source and one target.

    Args:
        source: the local root.
        target: where its data goes.
        delete_after_s: age at which what is confirmed leaves the source; None: never.
        health: told that the loop turns, and whether the target was reached last time.
    """

    def __init__(self, source: Source, target: Target, delete_after_s: float | None, health: Health) -> None:
        self._source = source
        self._removal = Removal(source)
        self._survey = Survey(source, target)
        self._transfer = Transfer(source, target, self._survey, self._removal)
        self._departure: Departure | None = None
        if delete_after_s is not None:
            self._departure = Departure(source, self._transfer, self._removal, delete_after_s)
        self._health = health
        self._is_reached = False
        health.require("target reached", lambda: self._is_reached)

    async def run(self, interval_s: float, stop: Stop) -> None:
        """Carry rounds until `stop`; a target that is away is waited for.

        Raises:
            PermanentError: somebody must mend something.
        """
        retry_s = _RETRY_BASE_S
        while not stop.is_set:
            try:
                await self.run_round(stop, _REMOVING_S)
            except TransientError as error:
                delay_s = max(retry_s * random.uniform(0.5, 1.0), error.retry_after_s or 0.0)  # noqa: S311 - jitter, not a secret
                log.warning("sync.delayed", error=str(error), retry_s=round(delay_s, 1))
                await self._rest(delay_s, stop)
                retry_s = min(_RETRY_MAX_S, retry_s * 2)
            else:
                await self._rest(interval_s, stop)
                retry_s = _RETRY_BASE_S

    async def run_round(self, stop: Stop, removing_s: float = inf) -> None:
        """Carry what is committed now, then remove what may go; `stop` leaves some time to finish the files in hand.

        Args:
            stop: asks to end.
            removing_s: how long removing may take; what is left then has to wait for the next round.

        Raises:
            TransientError: the disk or the target fails at the moment.
            PermanentError: somebody must mend something.
        """
        work = asyncio.create_task(self._work(stop, removing_s))
        ending = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({work, ending}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({work}, timeout=_DRAIN_S)
        finally:
            work.cancel()
            ending.cancel()
            await asyncio.wait({work, ending})
        if work.cancelled():
            log.warning("sync.dropped", reason=f"the files in hand took longer than {_DRAIN_S:g} s")
            return
        if (error := work.exception()) is not None:
            FAILURES.inc()
            self._is_reached = False
            if not stop.is_set or not isinstance(error, TransientError):
                raise error

    async def describe(self) -> None:
        """Print what a round would do.

        Raises:
            TransientError: as `run_round`.
            PermanentError: as `run_round`.
        """
        print_backlog(self._source, await self._survey.find_backlog(), self._departure)

    async def _work(self, stop: Stop, removing_s: float) -> None:
        start_s, files, size_bytes, deleted = time.monotonic(), *map(read_value, (FILES, BYTES, DELETED_FILES))
        DELETED_FILES.inc(await asyncio.to_thread(self._removal.finish))
        backlog = await self._survey.find_backlog()
        self._is_reached = True
        await self._transfer.carry(backlog, stop)
        if self._departure is not None:
            await self._departure.run(stop, removing_s)
        log.info(
            "sync.round",
            sent_files=read_value(FILES) - files,
            sent_mb=round((read_value(BYTES) - size_bytes) / 1e6, 3),
            deleted_files=read_value(DELETED_FILES) - deleted,
            behind_files=read_value(BEHIND_FILES),
            seconds=round(time.monotonic() - start_s, 1),
        )

    async def _rest(self, delay_s: float, stop: Stop) -> None:
        end_s = time.monotonic() + delay_s
        while not stop.is_set and (left_s := end_s - time.monotonic()) > 0:
            self._health.beat(LOOP)
            await stop.wait(min(left_s, _BEAT_S))


def _find_roots(config: Config) -> tuple[Path, str]:
    """Return the folder and the target's URI.

    Raises:
        ConfigError: one of the two is none, or one lies in the other.
    """
    if config.sync.uri is None:
        raise ConfigError("name where files are moved to: s3://bucket/prefix, or another folder", path="sync.uri")
    if config.parquet_uri.startswith(S3_SCHEME):
        raise ConfigError(
            f"files are moved from a local folder, and here is `{config.parquet_uri}`: nothing remains to be moved",
            path="parquet_sink.uri",
        )
    root = Path(config.parquet_uri).resolve()
    if not config.sync.uri.startswith(S3_SCHEME):
        target = Path(config.sync.uri).resolve()
        if root.is_relative_to(target) or target.is_relative_to(root):
            raise ConfigError(f"{target} and {root} lie in each other; name another folder", path="sync.uri")
    return root, config.sync.uri
