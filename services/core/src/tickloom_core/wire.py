"""Rows to bytes and back: one `Batch` of protos/tickloom/marketdata/v1 is one message on the bus.

Both directions use the generated twin whose packed columns are `bytes`: a column is copied as one buffer, no element is
touched in Python. Arrays are little-endian on the wire; a big-endian machine is refused at import.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Final

from google.protobuf.message import DecodeError

from tickloom.marketdata.v1.batch_columns_pb2 import (
    BatchColumns,
    BooksColumns,
    EventsColumns,
    TickersColumns,
    TradesColumns,
)
from tickloom.marketdata.v1.header_pb2 import Header
from tickloom_core.columns import (
    BUFFERS,
    F64,
    I64,
    LEVEL_COUNTS,
    U8,
    U32,
    BookBuffer,
    EventBuffer,
    RowBuffer,
    TradeBuffer,
)
from tickloom_core.errors import PoisonousMessageError

if sys.byteorder != "little":
    raise ImportError("Tickloom's wire format is little-endian, this machine is not; run it on x86_64 or aarch64")

SCHEMA_VERSION: Final = 1

_SIZES: Final = {typecode: array(typecode).itemsize for typecode in (U8, U32, I64, F64)}
_MESSAGES: Final[dict[str, Any]] = {
    "trades": TradesColumns,
    "tickers": TickersColumns,
    "books": BooksColumns,
    "events": EventsColumns,
}
_ITEM_BYTES: Final = {
    channel: tuple(
        (name, _SIZES[typecode])
        for name, typecode in buffer.typecodes.items()
        # A ticker has columns of the same names as the levels of a book, one entry a row.
        if buffer is not BookBuffer or name not in LEVEL_COUNTS
    )
    for channel, buffer in BUFFERS.items()
}
_BYTE_VALUES: Final = 256
_FIELDS: Final = {
    channel: tuple(field.name for field in message.DESCRIPTOR.fields) for channel, message in _MESSAGES.items()
}


@dataclass(frozen=True, slots=True)
class Batch:
    """One decoded message.

    Attributes:
        rows: one attribute a field of the channel's message in batch.proto: packed columns and ids as `bytes`,
            `symbols` and the texts of events as sequences of `str`.
    """

    header: Header
    rows: SimpleNamespace
    row_count: int


def encode(header: Header, buffer: RowBuffer) -> bytes:
    """Return the message for `buffer`; the header must name the buffer's channel."""
    columns: dict[str, Any] = {name: getattr(buffer, name).tobytes() for name in buffer.typecodes}
    if isinstance(buffer, TradeBuffer):
        columns["trade_ids"] = bytes(buffer.trade_ids)
    if isinstance(buffer, EventBuffer):
        columns.update({name: getattr(buffer, name) for name in buffer.texts})
    else:
        columns["symbols"] = buffer.symbols
    header.schema_version = SCHEMA_VERSION
    message = BatchColumns(header=header)
    getattr(message, buffer.channel).MergeFrom(_MESSAGES[buffer.channel](**columns))
    return message.SerializeToString()


def decode(data: bytes) -> Batch:
    """Read a message and check that its columns fit together.

    Raises:
        PoisonousMessageError: it is no `Batch`, of a newer schema, without rows, or its columns differ in length.
    """
    try:
        message = BatchColumns.FromString(data)
    except DecodeError as error:
        raise PoisonousMessageError(f"{len(data)} bytes that are no tickloom.marketdata.v1.Batch: {error}") from error
    header = message.header
    if header.schema_version > SCHEMA_VERSION:
        raise PoisonousMessageError(
            f"schema version {header.schema_version}, this program reads up to {SCHEMA_VERSION}: update it"
        )
    channel = message.WhichOneof("rows")
    if channel is None or channel != header.channel:
        raise PoisonousMessageError(f"the header says channel {header.channel!r}, the rows are {channel!r}")
    found = getattr(message, channel)
    # Every access to a field of a message copies it: each is read once, here.
    columns = {name: getattr(found, name) for name in _FIELDS[channel]}
    return Batch(header, SimpleNamespace(**columns), _count_rows(channel, columns))


def _count_rows(channel: str, columns: Mapping[str, Any]) -> int:
    count = len(columns["receive_time_ns"]) // 8
    for name, item_bytes in _ITEM_BYTES[channel]:
        _check_size(f"{channel}.{name}", columns[name], count * item_bytes, count)
    if channel == "events":
        for name in EventBuffer.texts:
            _check_size(f"{channel}.{name}", columns[name], count, count)
        return count
    if channel == "trades":
        _check_size("trades.trade_ids", columns["trade_ids"], sum(columns["trade_id_lengths"]), count)
    if channel == "books":
        for name, counts in LEVEL_COUNTS.items():
            _check_size(f"books.{name}", columns[name], 8 * sum(memoryview(columns[counts]).cast("I")), count)
    _check_indexes(columns["symbol_index"], len(columns["symbols"]))
    return count


def _check_size(name: str, column: bytes, size: int, count: int) -> None:
    if len(column) != size:
        raise PoisonousMessageError(f"{name} has {len(column)} entries or bytes where {count} rows need {size}")


def _check_indexes(indexes: bytes, symbols: int) -> None:
    # Up to 256 symbols an index is its lowest byte: said of all of them at once, much faster than by looking at each.
    if symbols <= _BYTE_VALUES and not any(indexes[place::4].strip(b"\0") for place in (1, 2, 3)):
        unknown = indexes[::4].translate(None, bytes(range(symbols)))
        if not unknown:
            return
    highest = max(memoryview(indexes).cast("I"), default=-1)
    if highest >= symbols:
        raise PoisonousMessageError(f"symbol index {highest}, but the batch names {symbols} symbols")
