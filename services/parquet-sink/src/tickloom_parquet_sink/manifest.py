"""The manifest of a chunk, as the sink writes and finds it; what it says stands in tickloom_core.manifests.

A chunk is committed by creating its manifest under a name that follows from the chunk before: the sequence behind that
one's last, in the folder of the day of that one. So whatever else two processes disagree about, only one of them can
continue a chain.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from tickloom_core.bus.identity import StreamIdentity
from tickloom_core.errors import PermanentError, SupersededError
from tickloom_core.manifests import (
    MANIFEST_FOLDER,
    DataFile,
    Manifest,
    decode_manifest,
    hash_stream,
    make_manifest_path,
)
from tickloom_core.sink import Chunk
from tickloom_parquet_sink.destination import Destination
from tickloom_parquet_sink.footer import SOFTWARE

_NS_PER_S: Final = 1_000_000_000


def describe_chunk(chunk: Chunk, files: Sequence[DataFile]) -> Manifest:
    """Return the manifest of a chunk whose files are written."""
    rows: Counter[str] = Counter()
    for file in files:
        rows[file.channel] += file.rows
    return Manifest(
        stream=chunk.stream,
        partition=chunk.partition,
        first_sequence=chunk.first_sequence,
        last_sequence=chunk.last_sequence,
        stored_ns=chunk.stored_ns,
        files=tuple(files),
        rows=dict(sorted(rows.items())),
        writer_window=chunk.writers.pack(),
        software=SOFTWARE,
    )


def write_manifest(destination: Destination, manifest: Manifest, day: str) -> None:
    """Commit a chunk; `day` names the folder. A manifest that says the same already is as good.

    Raises:
        SupersededError: another process has committed another chunk in its place.
        TransientError: it is not known to be committed, try again.
        PermanentError: the destination cannot be used.
    """
    path = make_manifest_path(manifest, day)
    data = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
    if not destination.create(path, data) and destination.read(path) != data:
        raise SupersededError(
            f"another sink has carried partition {manifest.partition} on from {manifest.first_sequence - 1} "
            f"({destination.place}/{path} is its manifest); nothing is stored twice, but let only one have a partition"
        )


def find_last(destination: Destination, partition: int, stream: StreamIdentity) -> tuple[Manifest, str] | None:
    """Return the newest manifest of this very stream with the day of its folder, or None when there is none.

    Lists the folder of days, and then days from the newest until one has a manifest of the stream.

    Raises:
        TransientError: the destination does not answer.
        PermanentError: the manifest cannot be read.
    """
    folder = f"{MANIFEST_FOLDER}/{partition:04d}"
    prefix = f"{hash_stream(stream)}-"
    for day in sorted(destination.list_names(folder), reverse=True):
        if day < find_first_day(stream):
            return None
        # Those of earlier versions have the last sequence behind the first; both sort by the first.
        names = [name for name in destination.list_names(f"{folder}/{day}") if name.startswith(prefix)]
        if names:
            path = f"{folder}/{day}/{max(names)}"
            return _check_stream(destination.read(path), f"{destination.place}/{path}", stream), day
    return None


def find_first_day(stream: StreamIdentity) -> str:
    """Return the day in whose folder the first manifest of a stream stands."""
    return stream.created[:10]


def find_next_day(stored_ns: int, day: str) -> str:
    """Return the day in whose folder the manifest behind one of this time and day stands.

    It is that of the time, which is in ns since 1970; a server's clock may step back, a chain of folders must not.
    """
    return max(datetime.fromtimestamp(stored_ns // _NS_PER_S, UTC).date().isoformat(), day)


def _check_stream(data: bytes, place: str, stream: StreamIdentity) -> Manifest:
    manifest = decode_manifest(data, place)
    if manifest.stream != stream:
        raise PermanentError(f"{place} is of another stream, created {manifest.stream.created}: move it away")
    return manifest
