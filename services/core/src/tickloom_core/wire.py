"""Rows to bytes and back: one `Batch` of protos/tickloom/marketdata/v1 is one message on the bus.

Both directions use the generated twin whose packed columns are `bytes`: a column is copied as one buffer, no element is
touched in Python. Arrays are little-endian on the wire; a big-endian machine is refused at import.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Final

from google.protobuf.message import DecodeError

from tickloom.marketdata.v1.batch_columns_pb2 import (
    BatchColumns,
    BooksColumns,
    EventsColumns,
    TickersColumns,
    TradesColumns,
)
from tickloom.marketdata.v1.header_pb2 import Header
from tickloom_core.columns import BUFFERS, EventBuffer, RowBuffer, TradeBuffer
from tickloom_core.errors import PoisonousMessageError

if sys.byteorder != "little":
    raise ImportError("Tickloom's wire format is little-endian, this machine is not; run it on x86_64 or aarch64")

SCHEMA_VERSION: Final = 1

Rows = TradesColumns | TickersColumns | BooksColumns | EventsColumns
_MESSAGES: Final[dict[str, type[Rows]]] = {
    "trades": TradesColumns,
    "tickers": TickersColumns,
    "books": BooksColumns,
    "events": EventsColumns,
}
_ITEM_BYTES: Final = {"I": 4, "q": 8, "d": 8, "B": 1}
_LEVEL_COLUMNS: Final = {
    "bid_price": "bid_count",
    "bid_amount": "bid_count",
    "ask_price": "ask_count",
    "ask_amount": "ask_count",
}


@dataclass(frozen=True, slots=True)
class Batch:
    """One decoded message: its header, and its rows as buffers."""

    header: Header
    rows: Rows
    row_count: int


def encode(header: Header, buffer: RowBuffer) -> bytes:
    """Return the message for `buffer`; the header must name the buffer's channel."""
    columns: dict[str, object] = {name: getattr(buffer, name).tobytes() for name in buffer.typecodes}
    if isinstance(buffer, TradeBuffer):
        columns["trade_ids"] = bytes(buffer.trade_ids)
    if isinstance(buffer, EventBuffer):
        columns.update({name: getattr(buffer, name) for name in buffer.texts})
    else:
        columns["symbols"] = buffer.symbols
    rows = _MESSAGES[buffer.channel](**columns)  # type: ignore[arg-type]  # names and types come from the schema
    header.schema_version = SCHEMA_VERSION
    return BatchColumns(header=header, **{buffer.channel: rows}).SerializeToString()  # type: ignore[arg-type]


def decode(data: bytes) -> Batch:
    """Read a message and check that its columns fit together.

    Raises:
        PoisonousMessageError: it is no `Batch`, of a newer schema, without rows, or its columns differ in length.
    """
    try:
        message = BatchColumns.FromString(data)
    except DecodeError as error:
        raise PoisonousMessageError(f"{len(data)} bytes that are no tickloom.marketdata.v1.Batch: {error}") from error
    if message.header.schema_version > SCHEMA_VERSION:
        raise PoisonousMessageError(
            f"schema version {message.header.schema_version}, this program reads up to {SCHEMA_VERSION}: update it"
        )
    channel = message.WhichOneof("rows")
    if channel is None or channel != message.header.channel:
        raise PoisonousMessageError(f"the header says channel {message.header.channel!r}, the rows are {channel!r}")
    rows: Rows = getattr(message, channel)
    return Batch(message.header, rows, _count_rows(channel, rows))


def _count_rows(channel: str, rows: Rows) -> int:
    count = len(rows.receive_time_ns) // 8
    expected = {name: count * _ITEM_BYTES[typecode] for name, typecode in BUFFERS[channel].typecodes.items()}
    if isinstance(rows, BooksColumns):
        for name, counts in _LEVEL_COLUMNS.items():
            expected[name] = 8 * sum(memoryview(getattr(rows, counts)[: count * 4]).cast("I"))
    for name, size in expected.items():
        found = len(getattr(rows, name))
        if found != size:
            raise PoisonousMessageError(f"{channel}.{name} has {found} bytes where {count} rows need {size}")
    if isinstance(rows, EventsColumns):
        _check_texts(rows, count)
        return count
    indexes = memoryview(rows.symbol_index).cast("I")
    if count and max(indexes) >= len(rows.symbols):
        raise PoisonousMessageError(f"symbol index {max(indexes)}, but the batch names {len(rows.symbols)} symbols")
    if isinstance(rows, TradesColumns) and sum(rows.trade_id_lengths) != len(rows.trade_ids):
        raise PoisonousMessageError(f"the ids of {count} trades do not add up to {len(rows.trade_ids)} bytes")
    return count


def _check_texts(rows: EventsColumns, count: int) -> None:
    for name in EventBuffer.texts:
        if len(getattr(rows, name)) != count:
            raise PoisonousMessageError(f"events.{name} has {len(getattr(rows, name))} entries for {count} rows")
