"""A disk so small that a test can fill it."""

from __future__ import annotations

import errno
import subprocess
from pathlib import Path
from typing import Self

_BLOCK_BYTES = 4096


class SmallDisk:
    """A file system in memory, mounted while the block runs.

    Args:
        path: the folder on which it is mounted.
        size_bytes: how much it holds.
    """

    def __init__(self, path: Path, size_bytes: int) -> None:
        self.path = path
        self._size_bytes = size_bytes
        self._ballast = path / "ballast"

    def __enter__(self) -> Self:
        self.path.mkdir(parents=True)
        options = f"size={self._size_bytes},mode=0777"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", self.path], check=True, capture_output=True)  # noqa: S607 - wherever the system keeps it
        return self

    def __exit__(self, *_: object) -> None:
        # Lazily: a server that has files open there ends after it.
        subprocess.run(["umount", "--lazy", self.path], check=True)  # noqa: S607 - likewise

    def fill(self) -> None:
        """Take all room that is left."""
        with self._ballast.open("ab", buffering=0) as ballast:
            try:
                while True:
                    ballast.write(b"\0" * _BLOCK_BYTES)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise

    def free(self) -> None:
        """Give the room back."""
        self._ballast.unlink()
