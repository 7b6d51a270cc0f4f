"""A chunk to the bytes of its Parquet files. The same chunk gives the same names and the same bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from tickloom_core.sink import Chunk
from tickloom_parquet_sink.manifest import SOFTWARE, DataFile, make_name
from tickloom_parquet_sink.schemas import SCHEMAS
from tickloom_parquet_sink.tables import Part, build_parts

FOOTER_PREFIX: Final = "tickloom."


@dataclass(frozen=True, slots=True)
class EncodedFile:
    """One Parquet file that is not written yet."""

    entry: DataFile
    data: pa.Buffer


def encode_chunk(chunk: Chunk) -> list[EncodedFile]:
    """Return the files of a chunk; none when it has no rows."""
    return [_encode_part(part, chunk) for part in build_parts(chunk.batches)]


def _encode_part(part: Part, chunk: Chunk) -> EncodedFile:
    stream = pa.BufferOutputStream()
    with pq.ParquetWriter(stream, part.table.schema, **SCHEMAS[part.channel].writer_options) as writer:
        writer.write_table(part.table)
        writer.add_key_value_metadata(_describe(part, chunk))
    data = stream.getvalue()
    path = _make_path(part, chunk)
    return EncodedFile(DataFile(path, part.channel, part.exchange, part.day, part.table.num_rows, data.size), data)


def _describe(part: Part, chunk: Chunk) -> dict[str, str]:
    """Return the footer's metadata: what the rows are, where they come from, who wrote them."""
    facts = {
        "schema": f"{part.channel}/{SCHEMAS[part.channel].version}",
        "stream": chunk.stream.name,
        "stream_created": chunk.stream.created,
        "partition": str(chunk.partition),
        "first_sequence": str(chunk.first_sequence),
        "last_sequence": str(chunk.last_sequence),
        "software": SOFTWARE,
    }
    return {f"{FOOTER_PREFIX}{name}": value for name, value in facts.items()}


def _make_path(part: Part, chunk: Chunk) -> str:
    # An exchange's name comes from the bus: quoted, it can be no other folder.
    folder = f"{part.channel}/exchange={quote(part.exchange, safe='')}/dt={part.day}"
    name = make_name(chunk.stream, chunk.first_sequence, chunk.last_sequence)
    return f"{folder}/{chunk.partition:04d}-{name}.parquet"
