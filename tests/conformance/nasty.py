"""Batches of three rows whose middle one is hard to store; its neighbours are not."""

from __future__ import annotations

import random
import string
from typing import Any

from tests.support.ticks import Tape
from tickloom_core.bus.spool import Outgoing
from tickloom_core.columns import MISSING_INT, TradeBuffer

_FAR_US = 10_000 * 366 * 86_400 * 10**6
"""Behind the year 9999, and so far away that its nanoseconds do not fit 64 bits."""
_LONG = "".join(random.Random(1).choices(string.ascii_letters, k=70_000))  # noqa: S311 - must not be compressible, no secret
"""Longer than a key of InfluxDB's, and than an entry of an index of PostgreSQL's."""


def make_nasty_batches(tape: Tape) -> dict[str, Outgoing]:
    """Return the batches by what is hard about them."""
    buffers: dict[str, Any] = {}
    for name, trade_id in (("NUL in an id", b"a\0b"), ("id that is no UTF-8", b"\xff\xfe"), ("no id", b"")):
        buffer = buffers[name] = tape.fill("trades", 3)
        _replace_id(buffer, trade_id)
    buffer = buffers["infinite price"] = tape.fill("trades", 3)
    buffer.price[1] = float("inf")
    buffer = buffers["far time"] = tape.fill("trades", 3)
    buffer.exchange_time_us[1] = _FAR_US
    for channel in ("trades", "tickers"):
        buffer = buffers[f"long symbol in {channel}"] = tape.fill(channel, 3)
        buffer.symbol_index[1] = buffer.index_of(_LONG)
    buffer = buffers["empty ticker"] = tape.fill("tickers", 3)
    buffer.exchange_time_us[1] = MISSING_INT
    for number in buffer.numbers:
        getattr(buffer, number)[1] = float("nan")
    return {name: tape.pack(buffer) for name, buffer in buffers.items()}


def _replace_id(buffer: TradeBuffer, trade_id: bytes) -> None:
    lengths = buffer.trade_id_lengths
    start, end = lengths[0], lengths[0] + lengths[1]
    buffer.trade_ids[start:end] = trade_id
    lengths[1] = len(trade_id)
