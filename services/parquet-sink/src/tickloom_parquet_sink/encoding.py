"""A chunk to the bytes of its files. The same chunk gives the same names and the same bytes.

A name ends with a checksum of what the file holds: two sinks that by mistake carry one partition, with other settings
or other messages left for them, never write one name, so neither changes what the other has committed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

import pyarrow as pa

from tickloom_core.manifests import DataFile, hash_stream
from tickloom_core.sink import Chunk
from tickloom_parquet_sink.footer import make_facts
from tickloom_parquet_sink.formats import PARQUET, Format
from tickloom_parquet_sink.partitioning import DEFAULT_LAYOUT, Layout
from tickloom_parquet_sink.schemas import SCHEMAS
from tickloom_parquet_sink.tables import build_parts

_CHECKSUM_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class EncodedFile:
    """One file that is not written yet."""

    entry: DataFile
    data: pa.Buffer


def encode_chunk(chunk: Chunk, layout: Layout = DEFAULT_LAYOUT, file_format: Format = PARQUET) -> Iterator[EncodedFile]:
    """Yield the files of a chunk, each encoded when it is asked for; none when the chunk has no rows."""
    for part in build_parts(chunk.batches, layout):
        data = file_format.encode(part.channel, part.table, _describe(part.channel, chunk))
        path = f"{part.folder}/{_make_name(chunk, data)}{file_format.suffix}"
        yield EncodedFile(DataFile(path, part.channel, part.exchange, part.day, part.table.num_rows, data.size), data)


def _describe(channel: str, chunk: Chunk) -> dict[str, str]:
    """Return what the rows are, where they come from and who wrote them."""
    return make_facts(
        SCHEMAS[channel],
        stream=chunk.stream.name,
        stream_created=chunk.stream.created,
        partition=chunk.partition,
        first_sequence=chunk.first_sequence,
        last_sequence=chunk.last_sequence,
    )


def _make_name(chunk: Chunk, data: pa.Buffer) -> str:
    sequences = f"{chunk.first_sequence:020d}-{chunk.last_sequence:020d}"
    checksum = blake2b(data, digest_size=_CHECKSUM_BYTES).hexdigest()
    return f"{chunk.partition:04d}-{hash_stream(chunk.stream)}-{sequences}-{checksum}"
