"""The compaction: closed days to one file each, then away with what is replaced and what crashes have left behind.

A job: it runs once and ends. It may be killed at any point and started again, also beside another one.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import structlog

from tickloom_core.config import Config
from tickloom_core.errors import ConfigError
from tickloom_core.http import serve_health
from tickloom_core.lifecycle import Health, Stop
from tickloom_core.s3 import S3_SCHEME
from tickloom_parquet_sink.compaction.catalog import Catalog, CatalogReader
from tickloom_parquet_sink.compaction.days import Day, check_days, extend_reach, plan_days
from tickloom_parquet_sink.compaction.flags import Options
from tickloom_parquet_sink.compaction.listing import print_plan
from tickloom_parquet_sink.compaction.reading import DamagedDayError
from tickloom_parquet_sink.compaction.retirement import (
    check_successors,
    find_orphans,
    find_replaced,
    remove_all,
)
from tickloom_parquet_sink.compaction.rewriting import Rewriter, StopRequestedError
from tickloom_parquet_sink.compaction.spill import Spill
from tickloom_parquet_sink.destination import Destination, ObjectInfo, open_destination
from tickloom_parquet_sink.schemas import SCHEMAS

log = structlog.get_logger(__name__)

_SPILL_FOLDER: Final = "tickloom-compaction"


async def serve(options: Options, config: Config, stop: Stop) -> None:
    """Compact what is closed; when asked to stop, leave the rest for the next time.

    Raises:
        PermanentError: the configuration or the destination cannot be used, or a day's files are damaged.
        TransientError: the destination does not answer, or another compaction is at work.
    """
    _check_sync(config)
    check_days(options.days, config.compaction, time.time_ns())
    job = Job(open_destination(config), config, options, lambda: stop.is_set)
    async with serve_health(Health(), host=options.common.http_host, port=options.common.http_port):
        await asyncio.to_thread(job.run)


class Job:
    """One run over one root.

    Args:
        destination: the root.
        config: the rules.
        options: which days, and whether anything may be changed.
        is_stopping: whether the program is to end.
    """

    def __init__(
        self, destination: Destination, config: Config, options: Options, is_stopping: Callable[[], bool]
    ) -> None:
        self._destination = destination
        self._rules = config.compaction
        self._data_dir = config.data_dir
        self._options = options
        self._is_stopping = is_stopping
        self._reader = CatalogReader(destination)

    def run(self) -> None:
        """Do all of it, or say what would be done.

        Raises:
            PermanentError: as `serve`; other days are compacted nevertheless when only the files of one are damaged.
            TransientError: as `serve`.
        """
        # Listed before the records are read: a file that comes later, and the record that names it, are not concerned.
        objects = [found for channel in SCHEMAS for found in self._destination.list_objects(channel)]
        catalog = self._reader.read()
        days = self._choose(plan_days(catalog, self._rules, time.time_ns()))
        if self._options.is_dry_run:
            now_ns = time.time_ns()
            replaced = list(find_replaced(catalog, self._rules, now_ns))
            orphans = list(find_orphans(objects, catalog, self._rules, now_ns))
            print_plan(days, replaced, orphans, self._rules)
            return
        self._destination.clear_unfinished()
        try:
            damage = self._replace_all(days, catalog)
            self._clean(objects)
        except StopRequestedError:
            log.info("compaction.stopped")
        else:
            if damage:
                raise damage[0]

    def _choose(self, days: Sequence[Day]) -> list[Day]:
        wanted = self._options
        return [
            day
            for day in days
            if (not wanted.days or day.key[2] in wanted.days) and (not wanted.channels or day.key[0] in wanted.channels)
        ]

    def _replace_all(self, days: Sequence[Day], catalog: Catalog) -> list[DamagedDayError]:
        """Replace the files of each day, and return what is wrong with those that stay as they are."""
        spill = Spill(Path(os.environ.get("TMPDIR") or self._data_dir) / _SPILL_FOLDER)
        rewriter = Rewriter(self._destination, self._rules, spill, self._is_stopping)
        damage: list[DamagedDayError] = []
        for day in days:
            if self._is_stopping():
                raise StopRequestedError
            try:
                self._replace(day, catalog, rewriter)
            except DamagedDayError as error:
                log.error("compaction.day_damaged", error=str(error))
                damage.append(error)
        return damage

    def _replace(self, day: Day, catalog: Catalog, rewriter: Rewriter) -> None:
        facts = dict(zip(("channel", "exchange", "dt"), day.key, strict=True), generation=day.generation)
        through = extend_reach(catalog, day.current)
        start_s = time.monotonic()
        if day.fate == "leave":
            log.warning("compaction.left", **facts, reason="not all of its files are Parquet")
            return
        done = rewriter.expire(day, through) if day.fate == "expire" else rewriter.rewrite(day, through)
        if done is None:
            log.warning("compaction.overtaken", **facts, reason="another compaction has committed this generation")
            return
        log.info(
            "compaction.committed",
            **facts,
            files=len(day.files),
            rows_read=done.rows_read,
            rows=done.rows,
            repeated=done.repeated,
            bytes_read=sum(file.bytes for file in day.files),
            bytes=sum(file.bytes for file in done.files),
            seconds=round(time.monotonic() - start_s, 1),
        )

    def _clean(self, objects: Sequence[ObjectInfo]) -> None:
        catalog = self._reader.read()
        now_ns = time.time_ns()
        replaced = list(find_replaced(catalog, self._rules, now_ns))
        check_successors(self._destination, catalog, replaced)
        remove_all(self._destination, [record.paths for record in replaced], self._is_stopping)
        orphans = list(find_orphans(objects, catalog, self._rules, now_ns))
        remove_all(self._destination, [[found.path] for found in orphans], self._is_stopping)
        for found in orphans:
            log.warning("compaction.orphan_removed", path=found.path, bytes=found.size_bytes)
        log.info(
            "compaction.cleaned",
            records=len(replaced),
            files=sum(len(record.files) for record in replaced),
            orphans=len(orphans),
        )


def _check_sync(config: Config) -> None:
    """Refuse a folder from which a sync takes chunks away: what replaces them would cover rows that it never read.

    Raises:
        ConfigError: it is one.
    """
    if (
        config.sync.uri is not None
        and config.sync.delete_after_s is not None
        and not config.parquet_uri.startswith(S3_SCHEME)
    ):
        raise ConfigError(
            f"a sync removes files from {config.parquet_uri}, so that a day may not be whole there; compact where it "
            f"brings them, with a configuration whose parquet_sink.uri is {config.sync.uri}",
            path="sync.delete_after_s",
        )
