"""What is committed here and not in the target yet.

The chunks of a chain go in their order, so the newest one in the target says how far the chain has come: also when a
compaction there has removed what lies before it. That order is no matter of taste: a compaction in the target covers a
chain up to a sequence, and what came late below it would never be seen.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from tickloom_core.errors import PermanentError
from tickloom_core.manifests import COMPACTION_FOLDER, MANIFEST_FOLDER, ChainKey
from tickloom_parquet_sink.sync.chains import Link, make_partition_folder, read_links, read_partitions
from tickloom_parquet_sink.sync.source import ChunkCommit, Source
from tickloom_parquet_sink.sync.target import Target


@dataclass(frozen=True, slots=True)
class Backlog:
    """What remains to be carried.

    Attributes:
        chunks: manifests by partition, each chain in its order.
        compactions: paths, only the newest of each channel, venue and day.
    """

    chunks: dict[int, list[Link]] = field(default_factory=dict)
    compactions: list[str] = field(default_factory=list)

    @property
    def record_count(self) -> int:
        """How many manifests and compactions these are."""
        return sum(map(len, self.chunks.values())) + len(self.compactions)


@dataclass(frozen=True, slots=True)
class _Position:
    """The sequences of the newest chunk of a chain that is in the target."""

    first_sequence: int
    last_sequence: int


_NOWHERE: Final = _Position(-1, -1)


class Survey:
    """Compares the source with the target, and remembers what it has found.

    Args:
        source: the local root.
        target: where its data goes.
    """

    def __init__(self, source: Source, target: Target) -> None:
        self._source = source
        self._target = target
        self._positions: dict[ChainKey, _Position] = {}
        self._settled: dict[str, int] = {}
        self._compactions: set[str] | None = None

    async def find_backlog(self) -> Backlog:
        """Return what is not in the target yet.

        Raises:
            TransientError: the disk or the target fails at the moment.
            PermanentError: the target cannot be used or has another chain, or something here is no manifest.
        """
        backlog = Backlog()
        for partition in read_partitions(self._source.list_names(MANIFEST_FOLDER)):
            backlog.chunks[partition] = await self._find_chunks(partition)
        # Compactions behind manifests: what has been retired meanwhile is in one that is found now.
        backlog.compactions.extend(await self._find_compactions())
        return backlog

    def note_chunk(self, chunk: ChunkCommit) -> None:
        """Note that a chunk is in the target, or is not needed there any more."""
        manifest = chunk.manifest
        self._positions[manifest.chain_key] = _Position(manifest.first_sequence, manifest.last_sequence)

    def note_compaction(self, path: str) -> None:
        """Note likewise of a compaction."""
        if self._compactions is not None:
            self._compactions.add(path)

    async def _find_chunks(self, partition: int) -> list[Link]:
        chunks: list[Link] = []
        folders = [f"{make_partition_folder(partition)}/{day}" for day in self._list_days(partition)]
        newest = _NewestThere(self._target, folders)
        for folder in folders:
            mark = self._source.find_mark(folder)
            if mark is not None and self._settled.get(folder) == mark:
                continue
            links = self._read_links(folder)
            for chain in {link.chain for link in links} - self._positions.keys():
                self._positions[chain] = await self._find_position(await newest.find(chain), folders)
            remaining = [link for link in links if self._is_behind(link)]
            if not remaining and mark is not None:
                self._settled[folder] = mark
            chunks += remaining
        return chunks

    async def _find_compactions(self) -> list[str]:
        days = self._source.list_compactions()
        if self._compactions is None and days:
            self._compactions = await self._target.list_paths(COMPACTION_FOLDER)
        known = self._compactions or set()
        return [found[-1].path for found in days.values() if found[-1].path not in known]

    def _list_days(self, partition: int) -> list[str]:
        return self._source.list_names(make_partition_folder(partition))

    def _read_links(self, folder: str) -> list[Link]:
        return read_links(folder, self._source.list_names(folder))

    def _is_behind(self, link: Link) -> bool:
        position = self._positions[link.chain]
        if position.first_sequence < link.first_sequence <= position.last_sequence:
            raise self._explain_fork(link.path)
        return link.first_sequence > position.first_sequence

    async def _find_position(self, there: Link | None, folders: Iterable[str]) -> _Position:
        """Return how far a chain has come, once it is clear that what is here is a part of it."""
        if there is None:
            return _NOWHERE
        manifest = await self._target.read_chunk(there.path)
        here = self._find_at_or_before(there, folders)
        if here is not None and here.path == there.path:
            await self._target.is_there(here)
        elif here is not None and here.manifest.last_sequence >= there.first_sequence:
            raise self._explain_fork(here.path)
        return _Position(manifest.first_sequence, manifest.last_sequence)

    def _find_at_or_before(self, there: Link, folders: Iterable[str]) -> ChunkCommit | None:
        """Return the newest chunk here that does not begin behind the target's newest one."""
        for folder in sorted(folders, reverse=True):
            for link in reversed(self._read_links(folder)):
                if link.chain == there.chain and link.first_sequence <= there.first_sequence:
                    return self._source.read_chunk(link.path)
        return None

    def _explain_fork(self, path: str) -> PermanentError:
        return PermanentError(
            f"{self._source.place}/{path} overlaps with what another sink has brought to {self._target.place}; nothing "
            "is sent or removed; give each folder a sync.uri of its own"
        )


class _NewestThere:
    """The newest chunks in the target; each day is listed once, from the newest on.

    Args:
        target: where to look.
        folders: the days of one partition that are here: what lies before them in the target is of no concern.
    """

    def __init__(self, target: Target, folders: Iterable[str]) -> None:
        self._target = target
        self._unread = list(folders)
        self._newest: dict[ChainKey, Link] = {}

    async def find(self, chain: ChainKey) -> Link | None:
        """Return the newest chunk of a chain; None when there is none."""
        while chain not in self._newest and self._unread:
            folder = self._unread.pop()
            for link in reversed(read_links(folder, await self._target.list_names(folder))):
                self._newest.setdefault(link.chain, link)
        return self._newest.get(chain)
