"""The local root, as the Parquet sink and the compaction write it: what is committed in it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tickloom_core.manifests import (
    COMPACTION_FOLDER,
    RECORD_SUFFIX,
    Compaction,
    DataFile,
    Manifest,
    decode_compaction,
    decode_manifest,
)
from tickloom_parquet_sink.folder import LocalFolder
from tickloom_parquet_sink.objects import ObjectAbsentError, ObjectInfo

_NS_PER_S: Final = 10**9
_SETTLED_NS: Final = 2 * _NS_PER_S


@dataclass(frozen=True, slots=True)
class Commit:
    """A record that makes files data.

    Attributes:
        path: of the record, relative to the root.
        data: the record as it stands there.
        files: what it names.
    """

    path: str
    data: bytes
    files: tuple[DataFile, ...]


@dataclass(frozen=True, slots=True)
class ChunkCommit(Commit):
    """A chunk's manifest."""

    manifest: Manifest


@dataclass(frozen=True, slots=True)
class DayCommit(Commit):
    """A compaction."""

    compaction: Compaction


class Source:
    """A folder with committed data.

    Its methods raise TransientError when the disk fails, PermanentError when it may not be read.

    Args:
        root: the folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = LocalFolder(root)

    @property
    def place(self) -> str:
        """The root as a person would name it."""
        return self.folder.place

    def list_names(self, folder: str) -> list[str]:
        """Return the sorted names in a folder; none when it is not there."""
        return sorted(self.folder.list_names(folder))

    def list_objects(self, folder: str) -> Iterable[ObjectInfo]:
        """Return what lies in a folder, by path."""
        return sorted(self.folder.list_objects(folder), key=lambda info: info.path)

    def find_mark(self, folder: str) -> int | None:
        """Return a number that changes when names come to a folder or go; None while it may not have changed yet.

        It is the folder's time, whose steps are coarse: two names may come within one.
        """
        info = self.folder.look(folder)
        if info is None or time.time_ns() - info.modified_ns < _SETTLED_NS:
            return None
        return info.modified_ns

    def find_size(self, path: str) -> int | None:
        """Return the bytes of a file; None when it is not there."""
        info = self.folder.look(path)
        return None if info is None else info.size_bytes

    def list_compactions(self) -> dict[str, list[ObjectInfo]]:
        """Return the compactions by folder: those of one channel, venue and day together, by generation."""
        days: dict[str, list[ObjectInfo]] = {}
        for info in self.list_objects(COMPACTION_FOLDER):
            if info.path.endswith(RECORD_SUFFIX):
                days.setdefault(info.path.rpartition("/")[0], []).append(info)
        return days

    def read_chunk(self, path: str) -> ChunkCommit | None:
        """Return a chunk's manifest; None when a compaction has retired it meanwhile.

        Raises:
            PermanentError: it cannot be understood.
        """
        data = self._read(path)
        if data is None:
            return None
        manifest = decode_manifest(data, f"{self.place}/{path}")
        return ChunkCommit(path, data, manifest.files, manifest)

    def read_day(self, path: str) -> DayCommit | None:
        """Return a compaction; None when a later one has retired it meanwhile.

        Raises:
            PermanentError: it cannot be understood.
        """
        data = self._read(path)
        if data is None:
            return None
        compaction = decode_compaction(data, f"{self.place}/{path}")
        return DayCommit(path, data, compaction.files, compaction)

    def _read(self, path: str) -> bytes | None:
        try:
            return self.folder.read(path)
        except ObjectAbsentError:
            return None


def is_older(info: ObjectInfo, age_s: float) -> bool:
    """Say whether an object was written longer ago than that."""
    return info.modified_ns <= time.time_ns() - int(age_s * _NS_PER_S)
