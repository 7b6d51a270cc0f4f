"""The columns of the Parquet files, one schema a channel, and how each column is encoded.

How a schema may grow, so that files of all years can be read together:

- A column may be added, at the end, nullable; the version of the channel's schema goes up by one. Readers see null in
  older files.
- A column is never renamed, removed, retyped or given another meaning or unit. What turns out to be wrong gets a new
  column beside the old one.
- Encodings and compression may change at any time: they are no part of the schema.

`exchange` stands in every file although it also stands in the path: a file that is copied elsewhere still says whose
rows it holds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa

from tickloom_core.columns import LEVEL_COUNTS, TickerBuffer

COMPRESSION: Final = "zstd"
COMPRESSION_LEVEL: Final = 3

SIDES: Final = ("buy", "sell")
"""Values 1 and 2 of the wire."""
BOOK_KINDS: Final = ("snapshot", "delta")
"""Values 1 and 2 of the wire."""

_NAME: Final = pa.dictionary(pa.int32(), pa.string())
_TIME: Final = pa.timestamp("us", tz="UTC")
LEVELS: Final = pa.list_(pa.field("element", pa.float64()))
"""Prices or amounts of one side of a book, best first where the row is a snapshot."""

_FILTERED: Final = frozenset({"symbol", "exchange_time", "receive_time_ns"})
"""Columns by which readers skip files; statistics of the others would be half of a small file's footer."""

_DELTA_NUMBERS: Final = "DELTA_BINARY_PACKED"
_DELTA_TEXTS: Final = "DELTA_BYTE_ARRAY"


@dataclass(frozen=True, slots=True)
class ChannelSchema:
    """The files of one channel.

    Attributes:
        version: raised when a column is added; stands in the footer of every file.
        schema: columns in order.
        encodings: Parquet encodings by column path; every column that is not named here is dictionary-encoded.
    """

    channel: str
    version: int
    schema: pa.Schema
    encodings: dict[str, str] = field(default_factory=dict)

    @property
    def writer_options(self) -> dict[str, Any]:
        """Return the keyword arguments of `pyarrow.parquet.ParquetWriter`."""
        return {
            "compression": COMPRESSION,
            "compression_level": COMPRESSION_LEVEL,
            "use_dictionary": [path for path in self._list_paths() if path not in self.encodings],
            "column_encoding": self.encodings,
            "write_statistics": [path for path in self._list_paths() if path in _FILTERED],
            "version": "2.6",
        }

    def _list_paths(self) -> list[str]:
        return [
            f"{column.name}.list.element" if pa.types.is_list(column.type) else column.name for column in self.schema
        ]


def _begin(*, symbol_is_required: bool = True) -> list[pa.Field[Any]]:
    return [
        pa.field("exchange", _NAME, nullable=False),
        pa.field("symbol", _NAME, nullable=not symbol_is_required),
    ]


_CLOCKS: Final = [pa.field("exchange_time", _TIME), pa.field("receive_time_ns", pa.int64(), nullable=False)]
_CLOCK_ENCODINGS: Final = {"exchange_time": _DELTA_NUMBERS, "receive_time_ns": _DELTA_NUMBERS}
_PROVENANCE: Final = [
    pa.field("writer", _NAME, nullable=False),
    pa.field("shard", _NAME, nullable=False),
    pa.field("epoch", pa.uint64(), nullable=False),
]

TRADES: Final = ChannelSchema(
    channel="trades",
    version=1,
    schema=pa.schema(
        [
            *_begin(),
            *_CLOCKS,
            pa.field("price", pa.float64()),
            pa.field("amount", pa.float64()),
            pa.field("side", _NAME),
            pa.field("trade_id", pa.string()),
            *_PROVENANCE,
        ]
    ),
    encodings={**_CLOCK_ENCODINGS, "trade_id": _DELTA_TEXTS},
)

TICKERS: Final = ChannelSchema(
    channel="tickers",
    version=1,
    schema=pa.schema(
        [*_begin(), *_CLOCKS, *[pa.field(name, pa.float64()) for name in TickerBuffer.numbers], *_PROVENANCE]
    ),
    encodings=_CLOCK_ENCODINGS,
)

BOOKS: Final = ChannelSchema(
    channel="books",
    version=1,
    schema=pa.schema(
        [
            *_begin(),
            *_CLOCKS,
            pa.field("kind", _NAME),
            pa.field("sequence", pa.int64()),
            pa.field("previous_sequence", pa.int64()),
            *[pa.field(name, LEVELS, nullable=False) for name in LEVEL_COUNTS],
            *_PROVENANCE,
        ]
    ),
    encodings={**_CLOCK_ENCODINGS, "sequence": _DELTA_NUMBERS, "previous_sequence": _DELTA_NUMBERS},
)

EVENTS: Final = ChannelSchema(
    channel="events",
    version=1,
    schema=pa.schema(
        [
            *_begin(symbol_is_required=False),
            pa.field("receive_time_ns", pa.int64(), nullable=False),
            pa.field("kind", _NAME),
            pa.field("subject_channel", _NAME),
            pa.field("detail", pa.string()),
            pa.field("count", pa.int64()),
            pa.field("range_start_ns", pa.int64()),
            pa.field("range_end_ns", pa.int64()),
            *_PROVENANCE,
        ]
    ),
    encodings={"receive_time_ns": _DELTA_NUMBERS},
)

SCHEMAS: Final = {schema.channel: schema for schema in (TRADES, TICKERS, BOOKS, EVENTS)}
