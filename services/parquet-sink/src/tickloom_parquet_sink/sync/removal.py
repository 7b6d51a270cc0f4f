"""How committed data leaves the local root: readers lose a record before its files, and no crash leaves half of it.

What is to go is written down first, under `_sync/leaving/`; after a crash the list is worked off before anything else.
Under `_sync/moved/` stays an empty file for each channel, venue and day of which something has gone: a compaction that
is made here afterwards does not have the whole day.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Final
from uuid import uuid4

import msgspec

from tickloom_core.errors import PermanentError, TransientError
from tickloom_core.manifests import COMPACTION_FOLDER, DayKey, make_compaction_folder
from tickloom_parquet_sink.durability import sync_folder
from tickloom_parquet_sink.sync.source import Commit, Source

_LEAVING: Final = "_sync/leaving"
_MOVED: Final = "_sync/moved"


class _Leaving(msgspec.Struct, frozen=True):
    """What is to go, in this order; paths are relative to the root."""

    records: list[str]
    files: list[str]


class Removal:
    """Removes commits from a source.

    Its methods raise TransientError when the disk fails, PermanentError when it may not be written.

    Args:
        source: the local root.
    """

    def __init__(self, source: Source) -> None:
        self._source = source

    def is_moved(self, day_key: DayKey) -> bool:
        """Say whether rows of this channel, venue and day have been removed here."""
        return self._source.find_size(_make_moved_path(day_key)) is not None

    def remove(self, commits: Sequence[Commit]) -> int:
        """Take the records from readers, then remove their files; return how many files that are."""
        for day_key in sorted({file.day_key for commit in commits for file in commit.files}):
            if not self.is_moved(day_key):
                self._source.folder.write(_make_moved_path(day_key), b"")
        leaving = _Leaving(
            [commit.path for commit in commits],
            [file.path for commit in commits for file in commit.files],
        )
        path = f"{_LEAVING}/{uuid4().hex}.json"
        self._source.folder.write(path, msgspec.json.encode(leaving))
        return self._work_off(path, leaving)

    def finish(self) -> int:
        """Remove what a crash has left of earlier removals; return how many files were to go."""
        count = 0
        for name in self._source.list_names(_LEAVING):
            path = f"{_LEAVING}/{name}"
            try:
                leaving = msgspec.json.decode(self._source.folder.read(path), type=_Leaving)
            except msgspec.DecodeError as error:
                raise PermanentError(f"{self._source.place}/{path} cannot be read: {error}; remove it") from error
            count += self._work_off(path, leaving)
        return count

    def _work_off(self, path: str, leaving: _Leaving) -> int:
        paths = [self._source.root / name for name in (*leaving.records, *leaving.files)]
        try:
            for file in paths:
                file.unlink(missing_ok=True)
            self._settle({file.parent for file in paths})
        except PermissionError as error:
            raise PermanentError(
                f"{error.filename} cannot be removed: {error.strerror}; give this user write permission there"
            ) from error
        except OSError as error:
            raise TransientError(f"{error.filename} cannot be removed at the moment: {error.strerror}") from error
        # Only now: were the list gone first, a power cut could bring back a record without its files.
        self._source.folder.delete(path)
        return len(paths)

    def _settle(self, folders: Iterable[Path]) -> None:
        """Make removals durable, and remove the folders that are empty now."""
        for folder in folders:
            with suppress(FileNotFoundError):
                sync_folder(folder)
        for folder in folders:
            self._prune(folder)

    def _prune(self, folder: Path) -> None:
        while folder != self._source.root:
            try:
                folder.rmdir()
            except OSError:
                return
            folder = folder.parent


def _make_moved_path(day_key: DayKey) -> str:
    place = PurePosixPath(make_compaction_folder(day_key)).relative_to(COMPACTION_FOLDER)
    return f"{_MOVED}/{place}"
