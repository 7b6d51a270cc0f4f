"""The records that say which files are data: manifests of chunks, and compactions that replace what they name.

A file that neither names is no data, whatever it holds. Both are JSON objects, created exclusively and never changed.

A chunk's manifest, `_manifest/<partition:04d>/<day>/<stream:8>-<first_sequence:020d>.json`, is written after all of its
files. `day` is the UTC date on which JetStream stored the first message of the chunk before (never earlier than the day
of that one; for the first chunk, the date on which the stream was made); `stream` is the start of the SHA-256 of
"<stream name>/<stream created>": a stream that was deleted and made again counts from 1, and must overwrite nothing.
Since the name follows from the chunk before, and only one object of a name can be created, the chunks of a partition
are one chain, however many processes write it.

A compaction, `_compaction/<channel>/exchange=<exchange>/dt=<day>/<generation:06d>.json`, replaces the files of one
channel, venue and day: those of lower generations, and those of chunks up to a sequence of each partition.

Whoever reads them reads the manifests first and lists the compactions afterwards: a manifest is removed only when a
compaction that covers all of its files has been there for a while.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

import msgspec

from tickloom_core.bus.identity import StreamIdentity
from tickloom_core.errors import PermanentError

MANIFEST_FORMAT: Final = 1
COMPACTION_FORMAT: Final = 1
MANIFEST_FOLDER: Final = "_manifest"
COMPACTION_FOLDER: Final = "_compaction"
RECORD_SUFFIX: Final = ".json"

DayKey = tuple[str, str, str]
"""Channel, exchange and UTC date: what one compaction is about."""
ChainKey = tuple[int, str]
"""Partition and hash of the stream: what one chain of chunks is of."""


class DataFile(msgspec.Struct, frozen=True):
    """One file of rows: of one channel, venue and UTC day of receipt; `path` is relative to the root."""

    path: str
    channel: str
    exchange: str
    dt: str
    rows: int
    bytes: int

    @property
    def day_key(self) -> DayKey:
        """Return channel, exchange and day."""
        return self.channel, self.exchange, self.dt


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What one chunk made durable.

    Attributes:
        first_sequence: the stream sequence behind the last one of the chunk before.
        last_sequence: that of the chunk's last message; sequences of other partitions lie between.
        stored_ns: when JetStream stored the chunk's first message, ns since 1970.
        files: empty when the chunk held no readable rows.
        rows: rows by channel.
        writer_window: the sink's own: which batches of which writers it has seen.
    """

    format: int = MANIFEST_FORMAT
    stream: StreamIdentity
    partition: int
    first_sequence: int
    last_sequence: int
    stored_ns: int
    files: tuple[DataFile, ...]
    rows: dict[str, int]
    writer_window: str
    software: str

    @property
    def chain_key(self) -> ChainKey:
        """Return partition and stream."""
        return self.partition, hash_stream(self.stream)


class Reach(msgspec.Struct, frozen=True):
    """How far a compaction covers one chain: all chunks whose last sequence is not above this one."""

    partition: int
    stream: str
    last_sequence: int


class Compaction(msgspec.Struct, frozen=True, kw_only=True):
    """What replaces the files of one channel, venue and day.

    Attributes:
        generation: counts from 1; the highest one of a day counts.
        files: what holds the rows now; empty when they were removed because of their age.
        through: which chunks are covered.
        rows_read: rows in the files that it replaces.
        rows: rows in `files`.
        repeated: trades left out because one with their id was received before.
        committed_ns: when it was written, ns since 1970.
    """

    format: int = COMPACTION_FORMAT
    channel: str
    exchange: str
    dt: str
    generation: int
    files: tuple[DataFile, ...]
    through: tuple[Reach, ...]
    rows_read: int
    rows: int
    repeated: int
    committed_ns: int
    software: str

    @property
    def day_key(self) -> DayKey:
        """Return channel, exchange and day."""
        return self.channel, self.exchange, self.dt

    def covers(self, manifest: Manifest) -> bool:
        """Say whether the files of this channel, venue and day that the manifest names are replaced."""
        partition, stream = manifest.chain_key
        return any(
            (reach.partition, reach.stream) == (partition, stream) and manifest.last_sequence <= reach.last_sequence
            for reach in self.through
        )


def hash_stream(stream: StreamIdentity) -> str:
    """Return the eight letters that stand for a stream in names."""
    return hashlib.sha256(f"{stream.name}/{stream.created}".encode()).hexdigest()[:8]


def make_manifest_path(manifest: Manifest, day: str) -> str:
    """Return where a chunk's manifest stands; those of one stream sort as its sequences do."""
    name = f"{hash_stream(manifest.stream)}-{manifest.first_sequence:020d}{RECORD_SUFFIX}"
    return f"{MANIFEST_FOLDER}/{manifest.partition:04d}/{day}/{name}"


def make_compaction_folder(day_key: DayKey) -> str:
    """Return the folder of the compactions of one channel, venue and day."""
    channel, exchange, day = day_key
    # An exchange's name comes from the bus: quoted, it can be no other folder.
    return f"{COMPACTION_FOLDER}/{channel}/exchange={quote(exchange, safe='')}/dt={day}"


def make_compaction_path(compaction: Compaction) -> str:
    """Return where a compaction stands."""
    return f"{make_compaction_folder(compaction.day_key)}/{compaction.generation:06d}{RECORD_SUFFIX}"


def decode_manifest(data: bytes, place: str) -> Manifest:
    """Read a manifest; `place` names it in errors.

    Raises:
        PermanentError: it cannot be read, or is of a later format than this program knows.
    """
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except msgspec.DecodeError as error:
        raise PermanentError(f"{place} is no manifest: {error}; restore it from a backup") from error
    _check_format(manifest.format, MANIFEST_FORMAT, place)
    return manifest


def decode_compaction(data: bytes, place: str) -> Compaction:
    """Read a compaction; `place` names it in errors.

    Raises:
        PermanentError: it cannot be read, or is of a later format than this program knows.
    """
    try:
        compaction = msgspec.json.decode(data, type=Compaction)
    except msgspec.DecodeError as error:
        raise PermanentError(f"{place} is no compaction: {error}; restore it from a backup") from error
    _check_format(compaction.format, COMPACTION_FORMAT, place)
    return compaction


def find_current(compactions: Iterable[Compaction]) -> dict[DayKey, Compaction]:
    """Return the compaction that counts for each channel, venue and day: the highest generation."""
    current: dict[DayKey, Compaction] = {}
    for compaction in compactions:
        known = current.get(compaction.day_key)
        if known is None or compaction.generation > known.generation:
            current[compaction.day_key] = compaction
    return current


def resolve_files(manifests: Iterable[Manifest], compactions: Iterable[Compaction]) -> list[DataFile]:
    """Return the files that are data; the compactions must have been listed after the manifests were read."""
    current = find_current(compactions)
    files = [
        file
        for manifest in manifests
        for file in manifest.files
        if file.day_key not in current or not current[file.day_key].covers(manifest)
    ]
    return [*files, *(file for compaction in current.values() for file in compaction.files)]


def _check_format(found: int, known: int, place: str) -> None:
    if found > known:
        raise PermanentError(f"{place} has format {found}, this program reads up to {known}: update it")
