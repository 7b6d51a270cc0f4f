"""Manifests: what is committed. A Parquet file that no manifest names is no data, whatever it holds.

One JSON object a chunk, written after all files of the chunk, never changed, under

    <root>/_manifest/<partition:04d>/<day>/<stream:8>-<first_sequence:020d>-<last_sequence:020d>.json

`day` is the UTC date on which JetStream stored the chunk's first message (never earlier than the day of the manifest
before); `stream` is the start of the SHA-256 of "<stream name>/<stream created>": a stream that was deleted and made
again counts from 1 again, and must overwrite nothing. Fields:

    format          1; a reader refuses what is above the one it knows
    stream          {"name", "created"}: which stream the sequences belong to
    partition       partition of the stream
    first_sequence  the stream sequence behind the last one of the chunk before
    last_sequence   that of the chunk's last message; sequences of other partitions lie between
    stored_ns       when JetStream stored the chunk's first message, ns since 1970
    files           [{"path", "channel", "exchange", "dt", "rows", "bytes"}]; path is relative to the root; empty when
                    the chunk held no readable rows
    rows            {channel: rows}
    writer_window   the sink's own: which batches of which writers it has seen (base64 of zlib of JSON)
    software        what wrote the chunk

Chunks of one stream and partition follow each other without a gap: `first_sequence` is the `last_sequence` before, plus
one. The newest manifest says where a sink goes on.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Final

import msgspec
import pyarrow as pa

from tickloom_core.bus.reader import StreamIdentity
from tickloom_core.errors import PermanentError
from tickloom_core.sink import Chunk
from tickloom_core.writers import WriterWindow
from tickloom_parquet_sink.destination import Destination

FORMAT: Final = 1
SOFTWARE: Final = f"tickloom-parquet-sink {version('tickloom-parquet-sink')}"

_FOLDER: Final = "_manifest"
_NS_PER_S: Final = 1_000_000_000
_Ranges = dict[str, list[list[int]]]


class DataFile(msgspec.Struct, frozen=True):
    """One Parquet file of a chunk."""

    path: str
    channel: str
    exchange: str
    dt: str
    rows: int
    bytes: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What one chunk made durable; the fields are described at the top of the module."""

    format: int = FORMAT
    stream: StreamIdentity
    partition: int
    first_sequence: int
    last_sequence: int
    stored_ns: int
    files: tuple[DataFile, ...]
    rows: dict[str, int]
    writer_window: str
    software: str = SOFTWARE

    @property
    def writers(self) -> WriterWindow:
        """Return the window of writers after the chunk."""
        return _unpack_window(self.writer_window)


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
        writer_window=_pack_window(chunk.writers),
    )


def write_manifest(destination: Destination, manifest: Manifest, day: str) -> None:
    """Commit a chunk; `day` names the folder.

    Raises:
        TransientError: nothing is committed, try again.
        PermanentError: the destination cannot be used.
    """
    name = make_name(manifest.stream, manifest.first_sequence, manifest.last_sequence)
    path = f"{_FOLDER}/{manifest.partition:04d}/{day}/{name}.json"
    text = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
    destination.write(manifest.partition, path, pa.py_buffer(text))


def find_last(destination: Destination, partition: int, stream: StreamIdentity) -> tuple[Manifest, str] | None:
    """Return the newest manifest of this very stream with the day of its folder, or None when there is none.

    Lists the folder of days, and then days from the newest until one has a manifest of the stream.

    Raises:
        TransientError: the destination does not answer.
        PermanentError: the manifest cannot be read.
    """
    folder = f"{_FOLDER}/{partition:04d}"
    prefix = f"{make_stream_hash(stream)}-"
    for day in sorted(destination.list_names(folder), reverse=True):
        if day < find_first_day(stream):
            return None
        names = [name for name in destination.list_names(f"{folder}/{day}") if name.startswith(prefix)]
        if names:
            path = f"{folder}/{day}/{max(names)}"
            return _decode_manifest(destination.read(path), f"{destination.place}/{path}", stream), day
    return None


def make_stream_hash(stream: StreamIdentity) -> str:
    """Return the eight letters that stand for a stream in names."""
    return hashlib.sha256(f"{stream.name}/{stream.created}".encode()).hexdigest()[:8]


def make_name(stream: StreamIdentity, first_sequence: int, last_sequence: int) -> str:
    """Return the name of a chunk; names of one stream sort as its sequences do."""
    return f"{make_stream_hash(stream)}-{first_sequence:020d}-{last_sequence:020d}"


def find_first_day(stream: StreamIdentity) -> str:
    """Return the day before which a stream has no manifests."""
    return stream.created[:10]


def find_day(stored_ns: int) -> str:
    """Return the UTC date of a time in ns since 1970."""
    return datetime.fromtimestamp(stored_ns // _NS_PER_S, UTC).date().isoformat()


def _decode_manifest(data: bytes, place: str, stream: StreamIdentity) -> Manifest:
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except msgspec.DecodeError as error:
        raise PermanentError(f"{place} is no manifest: {error}; restore it from a backup") from error
    if manifest.format > FORMAT:
        raise PermanentError(f"{place} has format {manifest.format}, this program reads up to {FORMAT}: update it")
    if manifest.stream != stream:
        raise PermanentError(f"{place} is of another stream, created {manifest.stream.created}: move it away")
    return manifest


def _pack_window(window: WriterWindow) -> str:
    """Return the window as text.

    A writer's batches are spread over the partitions, so its sequences in one of them have gaps everywhere: as plain
    ranges 4,096 of them took 38 kB in every manifest, as packed differences they take 3.6 kB.
    """
    differences: dict[str, list[int]] = {}
    for writer, ranges in window.to_ranges().items():
        flat = differences[writer] = []
        end = 0
        for first, last in ranges:
            flat += (first - end, last - first)
            end = last
    return base64.b64encode(zlib.compress(msgspec.json.encode(differences))).decode()


def _unpack_window(text: str) -> WriterWindow:
    differences = msgspec.json.decode(zlib.decompress(base64.b64decode(text)), type=dict[str, list[int]])
    ranges: _Ranges = {}
    for writer, flat in differences.items():
        spans = ranges[writer] = []
        end = 0
        for gap, length in zip(flat[::2], flat[1::2], strict=True):
            spans.append([end + gap, end + gap + length])
            end += gap + length
    return WriterWindow.from_ranges(ranges)
