"""A bounded queue on disk for messages that the bus does not take: segments, oldest first, that survive a crash.

A segment is a file of msgpack records, each preceded by its length as four little-endian bytes. A segment is deleted
when all of its messages were acknowledged; after a crash whole segments are sent again, and the duplicates are dropped
by message id and writer sequence further down the way.
"""

from __future__ import annotations

import fcntl
import struct
from collections import deque
from pathlib import Path
from typing import BinaryIO, Final

import msgspec
import structlog

from tickloom_core.errors import ConfigError

log = structlog.get_logger(__name__)

SEGMENT_MESSAGES: Final = 256
_LENGTH: Final = struct.Struct("<I")
_LOSSES: Final = "losses.msgpack"


class Outgoing(msgspec.Struct, frozen=True, array_like=True):
    """One encoded batch on its way to the bus."""

    subject: str
    message_id: str
    payload: bytes
    exchange: str
    channel: str
    rows: int
    first_ns: int
    last_ns: int
    """Receive times of the first and the last row."""


class Loss(msgspec.Struct, frozen=True, array_like=True):
    """What had to be dropped of one channel of one venue."""

    exchange: str
    channel: str
    messages: int
    rows: int
    first_ns: int
    last_ns: int

    def merge(self, other: Loss) -> Loss:
        """Return both as one."""
        return Loss(
            self.exchange,
            self.channel,
            self.messages + other.messages,
            self.rows + other.rows,
            min(self.first_ns, other.first_ns),
            max(self.last_ns, other.last_ns),
        )


class Spool:
    """Messages on disk in the order in which they came.

    Args:
        folder: a folder of this collector alone; made when it is missing.
        max_bytes: what the segments may take in sum; 0 keeps nothing.

    Raises:
        ConfigError: the folder cannot be written.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._encoder = msgspec.msgpack.Encoder()
        self._segments: deque[Path] = deque()
        self._unacknowledged: dict[Path, set[str]] = {}
        self._open: BinaryIO | None = None
        self._open_messages = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            probe = folder / ".writable"
            probe.write_bytes(b"")
            probe.unlink()
            self._lock = _lock_folder(folder)
        except BlockingIOError as error:
            raise ConfigError(
                "another collector of this name uses this spool; give each its own --name", place=str(folder)
            ) from error
        except OSError as error:
            raise ConfigError(
                f"the spool folder cannot be written ({error.strerror}); set collector.spool_dir to a folder that can",
                place=str(folder),
            ) from error
        self._segments.extend(sorted(folder.glob("*.spool")))
        self._next = int(self._segments[-1].stem) + 1 if self._segments else 0
        self.size_bytes = sum(path.stat().st_size for path in self._segments)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left to read."""
        return not self._segments

    def append(self, message: Outgoing) -> bool:
        """Write a message behind the others; return False when it does not fit."""
        record = self._encoder.encode(message)
        size_bytes = _LENGTH.size + len(record)
        if self.size_bytes + size_bytes > self._max_bytes:
            return False
        if self._open is None or self._open_messages >= SEGMENT_MESSAGES:
            self._roll()
        assert self._open is not None  # noqa: S101 - _roll has just opened it
        try:
            self._open.write(_LENGTH.pack(len(record)) + record)
            self._open.flush()
        except OSError as error:
            log.error("spool.write_failed", folder=str(self._folder), error=error.strerror)
            self._seal()
            return False
        self._open_messages += 1
        self.size_bytes += size_bytes
        return True

    def read_segment(self) -> list[Outgoing]:
        """Return the messages of the oldest segment; it stays on disk until all of them are acknowledged."""
        path = self._segments.popleft()
        if self._open is not None and not self._segments:
            self._seal()
        messages = list(_read_records(path))
        if messages:
            self._unacknowledged[path] = {message.message_id for message in messages}
        else:
            self._remove(path)
        return messages

    def acknowledge(self, message_id: str) -> None:
        """Note that a message reached the bus, and delete its segment when it was the last of it."""
        for path, missing in self._unacknowledged.items():
            if message_id in missing:
                missing.discard(message_id)
                if not missing:
                    del self._unacknowledged[path]
                    self._remove(path)
                return

    def save_losses(self, losses: list[Loss]) -> None:
        """Keep on disk what was dropped and could not be said yet."""
        path = self._folder / _LOSSES
        if losses:
            path.write_bytes(self._encoder.encode(losses))
        else:
            path.unlink(missing_ok=True)

    def load_losses(self) -> list[Loss]:
        """Return what an earlier run could not say."""
        path = self._folder / _LOSSES
        if not path.exists():
            return []
        return msgspec.msgpack.decode(path.read_bytes(), type=list[Loss])

    def close(self) -> None:
        """Close the open segment and give the folder free; everything stays on disk."""
        self._seal()
        self._lock.close()

    def _roll(self) -> None:
        self._seal()
        path = self._folder / f"{self._next:012d}.spool"
        self._next += 1
        self._open = path.open("wb")
        self._open_messages = 0
        self._segments.append(path)

    def _seal(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None

    def _remove(self, path: Path) -> None:
        self.size_bytes -= path.stat().st_size
        path.unlink()


def _lock_folder(folder: Path) -> BinaryIO:
    """Keep others out for as long as the returned file is open; the system opens the lock of a process that dies."""
    lock = (folder / ".lock").open("wb")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise
    return lock


def _read_records(path: Path) -> list[Outgoing]:
    """Return the whole records of a segment; a torn last one, from a crash while writing, ends it."""
    data = path.read_bytes()
    decoder = msgspec.msgpack.Decoder(Outgoing)
    messages: list[Outgoing] = []
    position = 0
    while position + _LENGTH.size <= len(data):
        (length,) = _LENGTH.unpack_from(data, position)
        position += _LENGTH.size
        if position + length > len(data):
            log.warning("spool.torn_record", segment=path.name, missing_bytes=position + length - len(data))
            break
        messages.append(decoder.decode(data[position : position + length]))
        position += length
    return messages
