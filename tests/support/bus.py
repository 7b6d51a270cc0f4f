"""Batches and waiting, for the tests of the bus."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from tickloom.marketdata.v1.header_pb2 import Header
from tickloom_core.bus.spool import Outgoing
from tickloom_core.bus.subjects import make_subject
from tickloom_core.columns import TradeBuffer
from tickloom_core.wire import encode


async def eventually(condition: Callable[[], bool], *, within_s: float = 20.0, what: str) -> None:
    """Wait until `condition` holds, and fail with `what` when it does not in time."""
    end_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end_s, f"not within {within_s} s: {what}"
        await asyncio.sleep(0.02)


def make_batch(sequence: int, *, writer: str = "w", rows: int = 2, partition: int = 0, price: float = 1.0) -> Outgoing:
    """Return a batch of trades whose ids are `<sequence>-<row>`."""
    buffer = TradeBuffer()
    for row in range(rows):
        buffer.symbol_index.append(buffer.index_of("BTC/USDT"))
        buffer.exchange_time_us.append(sequence)
        buffer.receive_time_ns.append(sequence * 1000 + row)
        buffer.price.append(price)
        buffer.amount.append(1.0)
        buffer.side.append(1)
        buffer.append_id(f"{sequence}-{row}".encode())
    header = Header(exchange="binance", channel="trades", writer=writer, writer_sequence=sequence, partition=partition)
    first_ns, last_ns = buffer.receive_time_ns[0], buffer.receive_time_ns[-1]
    subject = make_subject(partition, "trades", "binance")
    data = encode(header, buffer)
    return Outgoing(subject, f"{writer}-{sequence}", data, "binance", "trades", rows, first_ns, last_ns)
