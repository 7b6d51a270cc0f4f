"""The columns of a decoded batch as Python sequences, for stores that write rows; nothing is copied twice."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any, Final

from tickloom.marketdata.v1.header_pb2 import Header
from tickloom_core.columns import BUFFERS, LEVEL_COUNTS, BookBuffer, EventBuffer, RowBuffer, TradeBuffer
from tickloom_core.wire import Batch, encode

SIDE_NAMES: Final = ("", "buy", "sell")
"""By the wire's code; 0 is not known."""
BOOK_KIND_NAMES: Final = ("", "snapshot", "delta")
"""By the wire's code."""


def read_column(batch: Batch, name: str) -> memoryview[Any]:
    """Return a packed column, one item a row (levels: one a level); `tolist` is the fastest way to Python numbers."""
    column: bytes = getattr(batch.rows, name)
    typecode: Any = BUFFERS[batch.header.channel].typecodes[name]
    return memoryview(column).cast(typecode)


def read_symbols(batch: Batch) -> Sequence[str]:
    """Return the symbol of each row; in events it is empty where the whole venue is concerned."""
    if batch.header.channel == EventBuffer.channel:
        return list(batch.rows.symbol)
    symbols = list(batch.rows.symbols)
    return [symbols[index] for index in read_column(batch, "symbol_index")]


def read_trade_ids(batch: Batch) -> list[str]:
    """Return the id of each trade, empty where the venue gives none; what is not UTF-8 in it is replaced."""
    ids: bytes = batch.rows.trade_ids
    ends = accumulate(batch.rows.trade_id_lengths, initial=0)
    if ids.isascii():
        text = ids.decode()
        return [text[start:end] for start, end in pairwise(ends)]
    return [ids[start:end].decode(errors="replace") for start, end in pairwise(ends)]


def read_levels(batch: Batch, name: str) -> list[list[float]]:
    """Return one column of the levels of each order book, such as "bid_price", best first where it is a snapshot."""
    levels: list[float] = read_column(batch, name).tolist()  # type: ignore[assignment]  # typeshed knows only integers
    ends = accumulate(read_column(batch, LEVEL_COUNTS[name]), initial=0)
    return [levels[start:end] for start, end in pairwise(ends)]


def pick_rows(batch: Batch, indices: Sequence[int]) -> bytes:
    """Return a message of only the given rows of a batch, in their order; the header stays as it is."""
    channel = batch.header.channel
    buffer = BUFFERS[channel]()
    is_book = isinstance(buffer, BookBuffer)
    for name in buffer.typecodes:
        # A ticker has columns of the same names as the levels of a book, one entry a row.
        if name != "symbol_index" and not (is_book and name in LEVEL_COUNTS):
            column = read_column(batch, name)
            getattr(buffer, name).extend(column[index] for index in indices)
    if is_book:
        for name in LEVEL_COUNTS:
            levels = read_levels(batch, name)
            getattr(buffer, name).extend(level for index in indices for level in levels[index])
    if isinstance(buffer, EventBuffer):
        for name in buffer.texts:
            texts = getattr(batch.rows, name)
            getattr(buffer, name).extend(texts[index] for index in indices)
    else:
        _pick_symbols(batch, buffer, indices)
    if isinstance(buffer, TradeBuffer):
        ends = [*accumulate(batch.rows.trade_id_lengths, initial=0)]
        for index in indices:
            buffer.trade_ids += batch.rows.trade_ids[ends[index] : ends[index + 1]]
    header = Header()
    header.CopyFrom(batch.header)
    return encode(header, buffer)


def _pick_symbols(batch: Batch, buffer: RowBuffer, indices: Sequence[int]) -> None:
    symbols = read_symbols(batch)
    column = getattr(buffer, "symbol_index")  # noqa: B009 - every buffer but that of events has it
    column.extend(buffer.index_of(symbols[index]) for index in indices)
