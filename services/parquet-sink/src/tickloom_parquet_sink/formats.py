"""The formats of data files, behind one contract: a table to the bytes of a file, the same table to the same bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from tickloom_core.config import ParquetSinkConfig
from tickloom_core.errors import ConfigError
from tickloom_parquet_sink.ndjson import encode_lines
from tickloom_parquet_sink.schemas import COMPRESSION, COMPRESSION_LEVEL, SCHEMAS

Compression = Literal["zstd", "snappy", "lz4"]

_NDJSON_SUFFIXES: Final[dict[Compression, str]] = {"zstd": "zst", "lz4": "lz4"}


class Format(Protocol):
    """How the rows of one file are encoded."""

    suffix: str
    """Ends the names of files, its dot included."""

    def encode(self, channel: str, table: pa.Table, facts: Mapping[str, str]) -> pa.Buffer:
        """Return the file; `facts` about it stand in it where the format has a place for them."""


class ParquetFormat:
    """Parquet with the encodings of the channel's schema, and the facts as key-value metadata of the footer."""

    suffix = ".parquet"

    def __init__(self, compression: Compression, level: int | None) -> None:
        self._compression = {"compression": compression, "compression_level": level}

    def encode(self, channel: str, table: pa.Table, facts: Mapping[str, str]) -> pa.Buffer:
        """Return the file."""
        stream = pa.BufferOutputStream()
        options = SCHEMAS[channel].writer_options | self._compression
        with pq.ParquetWriter(stream, table.schema, **options) as writer:
            writer.write_table(table)
            writer.add_key_value_metadata(dict(facts))
        return stream.getvalue()


class NdjsonFormat:
    """One JSON object a row and line, compressed as `zstd` or `lz4` reads it; the facts have no place in it."""

    def __init__(self, compression: Compression, level: int | None) -> None:
        self.suffix = f".ndjson.{_NDJSON_SUFFIXES[compression]}"
        self._codec = pa.Codec(compression, level)

    def encode(self, channel: str, table: pa.Table, facts: Mapping[str, str]) -> pa.Buffer:  # noqa: ARG002 - see Format
        """Return the file."""
        stream = pa.BufferOutputStream()
        for lines in encode_lines(table):
            stream.write(self._codec.compress(lines))
        return stream.getvalue()


PARQUET: Final = ParquetFormat(COMPRESSION, COMPRESSION_LEVEL)


def choose_format(config: ParquetSinkConfig) -> Format:
    """Return the format that the configuration names.

    Raises:
        ConfigError: compression and level, or compression and format, do not go together.
    """
    level = config.compression_level
    if level is None and config.compression == COMPRESSION:
        level = COMPRESSION_LEVEL
    elif level is not None:
        _check_level(config.compression, level)
    if config.format == "parquet":
        return ParquetFormat(config.compression, level)
    if config.compression not in _NDJSON_SUFFIXES:
        raise ConfigError(
            f"ndjson is compressed with {' or '.join(_NDJSON_SUFFIXES)}; found {config.compression}, which no common "
            "tool reads from a file",
            path="parquet_sink.compression",
        )
    return NdjsonFormat(config.compression, level)


def _check_level(compression: Compression, level: int) -> None:
    setting = "parquet_sink.compression_level"
    if not pa.Codec.supports_compression_level(compression):
        raise ConfigError(f"{compression} has no levels; found {level}, leave it out", path=setting)
    lowest, highest = pa.Codec.minimum_compression_level(compression), pa.Codec.maximum_compression_level(compression)
    if not lowest <= level <= highest:
        raise ConfigError(f"{compression} has levels {lowest} to {highest}; found {level}", path=setting)
