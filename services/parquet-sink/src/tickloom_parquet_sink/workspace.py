"""Where one process keeps its unfinished files: a folder of its own that stays locked as long as it lives.

The lock is flock(2)'s: it ends with the process however that ends, so a folder that is not locked is the leftover of a
crash, and whoever starts next may remove it. On a file system without such locks nothing is ever removed.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import weakref
from contextlib import suppress
from itertools import count
from pathlib import Path
from threading import Lock
from typing import Final
from uuid import uuid4

from tickloom_parquet_sink.durability import make_folder

_LOCK: Final = ".lock"


class Workspace:
    """Hands out names for unfinished files.

    Args:
        parent: below it the folder of this process is made, when the first name is asked for.
    """

    def __init__(self, parent: Path) -> None:
        self._parent = parent
        self._guard = Lock()
        self._numbers = count()
        self._folder: Path | None = None

    def make_path(self) -> Path:
        """Return the path of a file that is nobody else's.

        Raises:
            OSError: the folder cannot be made.
        """
        with self._guard:
            # Somebody may have cleared the place by hand.
            if self._folder is None or not (self._folder / _LOCK).exists():
                self._folder = self._claim()
            return self._folder / str(next(self._numbers))

    def _claim(self) -> Path:
        """Make a folder and lock it until this object or the process ends."""
        while True:
            folder = self._parent / uuid4().hex
            make_folder(folder)
            # Whoever clears at this very instant may take it for a leftover; then the next one is tried.
            with suppress(FileNotFoundError):
                descriptor = _open_lock(folder)
                if _lock(descriptor) is not False and (folder / _LOCK).exists():
                    weakref.finalize(self, _release, folder, descriptor)
                    return folder
                os.close(descriptor)


def clear_leftovers(parent: Path) -> None:
    """Remove the folders below `parent` whose process has ended.

    Raises:
        OSError: `parent` cannot be read.
    """
    if not parent.is_dir():
        return
    for folder in parent.iterdir():
        # What is not ours to open is not ours to clear.
        with suppress(OSError):
            descriptor = _open_lock(folder)
            try:
                if _lock(descriptor):
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)


def _open_lock(folder: Path) -> int:
    return os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)


def _lock(descriptor: int) -> bool | None:
    """Lock without waiting; return False when somebody else has, None when this file system has no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _release(folder: Path, descriptor: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    os.close(descriptor)
