"""What leaves the local root: what is old enough, and has just been compared with the target once more.

Of each chain the newest chunk stays, since the sink goes on behind it. A compaction stays as long as anything is here
that it replaces: without it readers would see those rows again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

from tickloom_core.lifecycle import Stop
from tickloom_core.manifests import MANIFEST_FOLDER, ChainKey
from tickloom_parquet_sink.sync.chains import Link, make_partition_folder, read_links, read_partitions
from tickloom_parquet_sink.sync.metrics import DELETED_FILES
from tickloom_parquet_sink.sync.removal import Removal
from tickloom_parquet_sink.sync.source import ChunkCommit, Commit, DayCommit, Source, is_older
from tickloom_parquet_sink.sync.transfer import Transfer, finish_all

_BATCH: Final = 64
"""Records that leave together, for the price of one list on the disk."""


class Departure:
    """Removes what is confirmed in the target from the source.

    Args:
        source: the local root.
        transfer: confirms.
        removal: removes.
        age_s: how old a record must be.
    """

    def __init__(self, source: Source, transfer: Transfer, removal: Removal, age_s: float) -> None:
        self._source = source
        self._transfer = transfer
        self._removal = removal
        self._age_s = age_s

    async def run(self, stop: Stop, within_s: float) -> None:
        """Remove what may go; begin nothing new after `stop`, or after so many seconds.

        Raises:
            TransientError: the disk or the target fails at the moment.
            PermanentError: the copies differ, and somebody must look which is right; both stay.
        """
        end_s = time.monotonic() + within_s
        chunks = self.find_due_chunks()
        while batch := list(islice(chunks, _BATCH)):
            if stop.is_set or time.monotonic() > end_s:
                return
            await self._remove(await finish_all(self._confirm_chunk(link) for link in batch))
        for generations in self.find_due_compactions():
            if stop.is_set or time.monotonic() > end_s:
                return
            if await self._transfer.confirm_compaction(generations[-1]):
                await self._remove(generations)

    def find_due_chunks(self) -> Iterator[Link]:
        """Yield the chunks that are old enough, the newest of each chain left out; each chain in its order."""
        for partition in read_partitions(self._source.list_names(MANIFEST_FOLDER)):
            waiting: dict[ChainKey, Link] = {}
            for day in self._list_days(partition):
                due = {info.path for info in self._source.list_objects(day) if is_older(info, self._age_s)}
                for link in read_links(day, self._source.list_names(day)):
                    # That another one follows shows that it is not the newest.
                    if link.chain in waiting:
                        yield waiting.pop(link.chain)
                    if link.path in due:
                        waiting[link.chain] = link
                if not due:
                    break

    def find_due_compactions(self) -> Iterator[list[DayCommit]]:
        """Yield the compactions that are old enough and replace nothing that is here, all generations of a day at once.

        The lowest comes first: readers would see its files again if a higher one went before it.
        """
        for infos in self._source.list_compactions().values():
            if is_older(infos[-1], self._age_s):
                found = [self._source.read_day(info.path) for info in infos]
                generations = [day for day in found if day is not None]
                if generations and not self._is_needed(generations[-1]):
                    yield generations

    def _is_needed(self, day: DayCommit) -> bool:
        """Say whether a chunk is here that the compaction replaces."""
        reaches = {(reach.partition, reach.stream): reach.last_sequence for reach in day.compaction.through}
        for partition in {partition for partition, _ in reaches}:
            for folder in self._list_days(partition):
                for link in read_links(folder, self._source.list_names(folder)):
                    if link.first_sequence > reaches.get(link.chain, -1):
                        continue
                    chunk = self._source.read_chunk(link.path)
                    if chunk is not None and any(file.day_key == day.compaction.day_key for file in chunk.files):
                        return True
        return False

    def _list_days(self, partition: int) -> list[str]:
        folder = make_partition_folder(partition)
        return [f"{folder}/{day}" for day in self._source.list_names(folder)]

    async def _confirm_chunk(self, link: Link) -> ChunkCommit | None:
        commit = self._source.read_chunk(link.path)
        if commit is not None:
            await self._transfer.confirm_chunk(commit)
        return commit

    async def _remove(self, commits: Iterable[Commit | None]) -> None:
        present = [commit for commit in commits if commit is not None]
        if present:
            DELETED_FILES.inc(await asyncio.to_thread(self._removal.remove, present))
