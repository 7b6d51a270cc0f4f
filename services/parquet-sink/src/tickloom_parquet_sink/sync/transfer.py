"""Carries commits to the target: the files of a record, then the record, so that the target is a valid root always."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

import structlog

from tickloom_core.errors import PermanentError, TransientError
from tickloom_core.lifecycle import Stop, find_root_cause
from tickloom_core.manifests import Compaction, DataFile
from tickloom_parquet_sink.sync.chains import Link
from tickloom_parquet_sink.sync.metrics import BEHIND_FILES
from tickloom_parquet_sink.sync.removal import Removal
from tickloom_parquet_sink.sync.source import ChunkCommit, Commit, DayCommit, Source
from tickloom_parquet_sink.sync.survey import Backlog, Survey
from tickloom_parquet_sink.sync.target import Target

log = structlog.get_logger(__name__)

_T = TypeVar("_T")


class Transfer:
    """Brings a backlog to the target.

    Args:
        source: the local root.
        target: where its data goes.
        survey: told what has arrived.
        removal: knows the days that are not whole here any more.
    """

    def __init__(self, source: Source, target: Target, survey: Survey, removal: Removal) -> None:
        self._source = source
        self._target = target
        self._survey = survey
        self._removal = removal
        self._left: set[str] = set()

    async def carry(self, backlog: Backlog, stop: Stop) -> None:
        """Carry all of it, partitions side by side; begin nothing new after `stop`.

        Raises:
            TransientError: the disk or the target fails at the moment; the other partitions have been carried.
            PermanentError: somebody must mend something; likewise.
        """
        BEHIND_FILES.set(backlog.record_count)
        await finish_all(self._carry_chunks(links, stop) for links in backlog.chunks.values())
        for path in backlog.compactions:
            if stop.is_set:
                return
            await self._carry_compaction(path)

    async def confirm_chunk(self, commit: ChunkCommit) -> None:
        """Make sure that a chunk is in the target with the content that it has here; what is missing is sent again.

        Raises:
            TransientError: the disk or the target fails at the moment.
            PermanentError: somebody must mend something.
        """
        if await self._target.is_there(commit):
            await self._mend(commit)
        elif not await self._is_compacted_there(commit):
            log.warning("sync.mended", path=commit.path, reason="the manifest was gone from the target")
            await self._carry(commit)

    async def confirm_compaction(self, commit: DayCommit) -> bool:
        """Say whether a compaction is in the target; if so, make sure that its files are.

        Raises:
            TransientError: the disk or the target fails at the moment.
            PermanentError: somebody must mend something.
        """
        is_there = await self._target.is_there(commit)
        if is_there:
            await self._mend(commit)
        return is_there

    async def _mend(self, commit: Commit) -> None:
        if await self._deliver(commit):
            log.warning("sync.mended", path=commit.path, reason="a file of it was gone from the target or cut short")

    async def _is_compacted_there(self, commit: ChunkCommit) -> bool:
        """Say whether compactions that were made in the target have taken all rows of a chunk over.

        Raises:
            TransientError: they have, but what they made is not there.
        """
        for day_key in {file.day_key for file in commit.files}:
            compaction = await self._target.find_compaction(day_key)
            if compaction is None or not compaction.covers(commit.manifest):
                return False
            for file in compaction.files:
                if await self._target.find_size(file.path) != file.bytes:
                    # It may have been replaced in this moment by the next generation.
                    raise TransientError(
                        f"{self._target.place}/{file.path} is not there or cut short, but a compaction there names it; "
                        "restore it: the chunks from which it was made stay here until then"
                    )
        return True

    async def _carry_chunks(self, links: Iterable[Link], stop: Stop) -> None:
        for link in links:
            if stop.is_set:
                return
            chunk = self._source.read_chunk(link.path)
            if chunk is not None:
                await self._carry(chunk)
                self._survey.note_chunk(chunk)
            BEHIND_FILES.dec()

    async def _carry_compaction(self, path: str) -> None:
        day = self._source.read_day(path)
        if day is None:
            BEHIND_FILES.dec()
            return
        reason = await self._find_objection(day.compaction)
        if reason is not None:
            if path not in self._left:
                log.warning("sync.compaction_left", path=f"{self._source.place}/{path}", reason=reason)
            self._left.add(path)
            return
        await self._carry(day)
        self._survey.note_compaction(path)
        BEHIND_FILES.dec()

    async def _find_objection(self, compaction: Compaction) -> str | None:
        """Say why a compaction would hide rows in the target that it has not read; None when it has read them all."""
        if self._removal.is_moved(compaction.day_key):
            return "a part of its day had been moved away before; the target has that day as chunks"
        there = await self._target.find_compaction(compaction.day_key)
        if there is not None and not _reaches_as_far(compaction, there):
            return "its day has been compacted in the target too; compact in one of the two only"
        return None

    async def _carry(self, commit: Commit) -> None:
        await self._deliver(commit)
        # A record that has been retired meanwhile is not brought back: a compaction that is carried later has its rows.
        if self._source.find_size(commit.path) is not None:
            await self._target.create(commit)
            log.debug("sync.carried", path=commit.path, files=len(commit.files))

    async def _deliver(self, commit: Commit) -> bool:
        """Deliver the files of a record, as long as it is not retired; return whether any had to be sent."""
        try:
            return any(await finish_all(self._deliver_file(file, commit) for file in commit.files))
        except FileNotFoundError as error:
            if self._source.find_size(commit.path) is None:
                return False
            raise PermanentError(
                f"{error.filename} is not there, but {commit.path} names it; restore it from a backup, or move that "
                "record away to do without its rows"
            ) from error
        except OSError as error:
            raise TransientError(f"{error.filename} cannot be read at the moment: {error.strerror}") from error

    async def _deliver_file(self, file: DataFile, commit: Commit) -> bool:
        size_bytes = self._source.find_size(file.path)
        if size_bytes is not None and size_bytes != file.bytes:
            raise PermanentError(
                f"{self._source.place}/{file.path} has {size_bytes} bytes, but {commit.path} says {file.bytes}: it is "
                "damaged; restore it from a backup, or move that record away to do without its rows"
            )
        return await self._target.deliver(self._source.root / file.path, file.path, commit)


async def finish_all(works: Iterable[Coroutine[Any, Any, _T]]) -> list[_T]:
    """Run works side by side and return their results; wait for all of them also when one fails.

    Raises:
        BaseException: of those that failed the one that says most.
    """
    outcomes = await asyncio.gather(*works, return_exceptions=True)
    errors = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    if errors:
        raise find_root_cause(BaseExceptionGroup("several works failed", errors))
    return [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]


def _reaches_as_far(compaction: Compaction, other: Compaction) -> bool:
    """Say whether a compaction covers all chunks that the other one covers."""
    reached = {(reach.partition, reach.stream): reach.last_sequence for reach in compaction.through}
    return all(reached.get((reach.partition, reach.stream), -1) >= reach.last_sequence for reach in other.through)
