"""A folder as a destination: an object is written under `_active/`, synced to the disk, then named."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

import pyarrow as pa

from tickloom_core.errors import PermanentError, TransientError
from tickloom_parquet_sink.durability import make_folder, sync_folder
from tickloom_parquet_sink.objects import Destination, ObjectAbsentError, ObjectInfo
from tickloom_parquet_sink.workspace import Workspace, clear_leftovers

_ACTIVE: Final = "_active"

_LASTING_ERRNOS: Final = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG}
)
_LINKLESS_ERRNOS: Final = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP})


class LocalFolder(Destination):
    """A folder of this machine.

    Args:
        root: the folder; it is made when something is written.
        setting: the setting that names it, for messages.
    """

    def __init__(self, root: Path, setting: str = "parquet_sink.uri") -> None:
        super().__init__(str(root))
        self._root = root
        self._setting = setting
        self._workspace = Workspace(root / _ACTIVE)

    def write(self, path: str, data: pa.Buffer | bytes) -> None:
        """Write under `_active/`, sync, rename."""
        with self.open_writer(path) as file:
            file.write(data)

    def create(self, path: str, data: pa.Buffer | bytes) -> bool:
        """Write under `_active/`, sync, link: a link never takes an existing name."""
        with self._translate_errors(path), self._stage() as active:
            with active.open("wb") as file:
                file.write(data)
                _sync(file)
            ready = self._root / path
            make_folder(ready.parent)
            try:
                os.link(active, ready)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno in _LINKLESS_ERRNOS:
                    raise self._explain_missing_links() from error
                raise
            sync_folder(ready.parent)
        return True

    @contextmanager
    def open_writer(self, path: str) -> Iterator[BinaryIO]:
        """Write under `_active/`; sync and rename when the block ends."""
        with self._translate_errors(path), self._stage() as active:
            with active.open("wb") as file:
                yield file
                _sync(file)
            ready = self._root / path
            make_folder(ready.parent)
            active.replace(ready)
            sync_folder(ready.parent)

    @contextmanager
    def open_reader(self, path: str) -> Iterator[BinaryIO]:
        """Open the file."""
        with self._translate_errors(path), (self._root / path).open("rb") as file:
            yield file

    def read(self, path: str) -> bytes:
        """Read the file."""
        with self._translate_errors(path):
            return (self._root / path).read_bytes()

    def look(self, path: str) -> ObjectInfo | None:
        """Ask the file system."""
        with self._translate_errors(path):
            try:
                return _describe(path, (self._root / path).stat())
            except FileNotFoundError:
                return None

    def list_names(self, folder: str) -> list[str]:
        """List the folder."""
        with self._translate_errors(folder):
            try:
                return [entry.name for entry in (self._root / folder).iterdir()]
            except FileNotFoundError:
                return []

    def list_objects(self, folder: str) -> Iterator[ObjectInfo]:
        """Walk through the folder; what is under `_active/` is no object yet."""
        folders = [folder]
        with self._translate_errors(folder):
            while folders:
                current = folders.pop()
                for entry in self._scan(current):
                    path = f"{current}/{entry.name}" if current else entry.name
                    if not entry.is_dir():
                        # What goes while it is listed is not there.
                        with suppress(FileNotFoundError):
                            yield _describe(path, entry.stat())
                    elif path != _ACTIVE:
                        folders.append(path)

    def delete(self, path: str) -> None:
        """Delete the file, and the folders that are empty then."""
        file = self._root / path
        # Another thread or process may be removing the same, or the folder that it leaves empty.
        with self._translate_errors(path), suppress(FileNotFoundError):
            file.unlink()
            sync_folder(file.parent)
        for parent in file.relative_to(self._root).parents[:-1]:
            try:
                (self._root / parent).rmdir()
            except OSError:
                return

    def clear_unfinished(self) -> None:
        """Remove what crashed processes left under `_active/`."""
        with self._translate_errors(_ACTIVE):
            clear_leftovers(self._root / _ACTIVE)

    @contextmanager
    def _stage(self) -> Iterator[Path]:
        """Yield the path of an unfinished file; nothing is left there behind the block."""
        active = self._workspace.make_path()
        try:
            yield active
        finally:
            active.unlink(missing_ok=True)

    def _scan(self, folder: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(self._root / folder) as entries:
                return list(entries)
        except FileNotFoundError:
            return []

    @property
    def _errors(self) -> tuple[type[Exception], ...]:
        return (OSError,)

    def _explain(self, error: Exception, where: str) -> TransientError | PermanentError:
        if isinstance(error, FileNotFoundError):
            return ObjectAbsentError(f"{where} is not there, or not any more")
        number, reason = (error.errno, error.strerror) if isinstance(error, OSError) else (None, None)
        reason = reason or str(error)
        if number in _LASTING_ERRNOS:
            return PermanentError(
                f"{where} cannot be written: {reason}; give this user write permission there, "
                f"or name another place in {self._setting}"
            )
        hint = "; free some space" if number in {errno.ENOSPC, errno.EDQUOT} else ""
        return TransientError(f"{where} cannot be written at the moment: {reason}{hint}")

    def _explain_missing_links(self) -> PermanentError:
        return PermanentError(
            f"{self.place} lies on a file system without hard links (FAT, exFAT, some network shares), on which "
            f"nothing can be committed safely; let {self._setting} name a folder on another one, or a bucket"
        )


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _describe(path: str, status: os.stat_result) -> ObjectInfo:
    return ObjectInfo(path, status.st_size, status.st_mtime_ns, None)
