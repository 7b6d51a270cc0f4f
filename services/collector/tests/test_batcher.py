"""When batches are closed, and what stands in them."""

from __future__ import annotations

import asyncio
import time

import pytest

from tickloom_collector.batcher import Batcher, Lane, make_writer
from tickloom_core.bus.subjects import find_partition
from tickloom_core.columns import BookBuffer, TradeBuffer
from tickloom_core.config import CollectorConfig

from .recorder import Recorder


def add_trade(lane: Lane[TradeBuffer], symbol: str = "BTC/USDT", *, receive_ns: int = 1) -> None:
    buffer = lane.buffer
    buffer.symbol_index.append(buffer.index_of(symbol))
    buffer.exchange_time_us.append(1)
    buffer.receive_time_ns.append(receive_ns)
    buffer.price.append(1.0)
    buffer.amount.append(1.0)
    buffer.side.append(1)
    buffer.append_id(b"1")
    lane.commit()


def add_book(lane: Lane[BookBuffer], levels: int) -> None:
    buffer = lane.buffer
    buffer.symbol_index.append(buffer.index_of("BTC/USDT"))
    for column in (buffer.exchange_time_us, buffer.receive_time_ns, buffer.sequence, buffer.previous_sequence):
        column.append(1)
    buffer.kind.append(1)
    buffer.bid_count.append(levels)
    buffer.ask_count.append(levels)
    for column in (buffer.bid_price, buffer.bid_amount, buffer.ask_price, buffer.ask_amount):
        column.extend([1.0] * levels)
    lane.commit()


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


async def test_a_batch_is_closed_by_rows(recorder) -> None:
    """The row that fills a batch closes it."""
    batcher = Batcher("w", 4, CollectorConfig(batch_rows=10, batch_ms=60_000), recorder.submit)
    lane = batcher.find_lane(TradeBuffer, "binance", "BTC/USDT")
    for _ in range(25):
        add_trade(lane)
    assert [batch.row_count for batch in recorder.batches] == [10, 10]
    batcher.flush()
    assert [batch.row_count for batch in recorder.batches] == [10, 10, 5]
    assert batcher.rows == 25


@pytest.mark.parametrize("levels", [1, 20, 1000])
async def test_a_batch_is_closed_by_bytes(recorder, levels) -> None:
    """However large rows are, and although they are measured only now and then, no batch grows past its bytes."""
    limit = 256 * 1024
    limits = CollectorConfig(batch_rows=100_000, batch_ms=60_000, batch_bytes=limit)
    batcher = Batcher("w", 4, limits, recorder.submit)
    lane = batcher.find_lane(BookBuffer, "binance", "BTC/USDT")
    add_book(lane, 1)  # a small row first: the next ones are larger than it leads to expect
    while len(recorder.messages) < 3:
        add_book(lane, levels)
    row_bytes = 70 + 32 * levels
    for message in recorder.messages:
        assert limit - row_bytes <= len(message.payload) <= limit + row_bytes + 200


async def test_a_batch_is_closed_by_age(recorder) -> None:
    """A row that comes alone leaves after batch_ms."""
    batcher = Batcher("w", 4, CollectorConfig(batch_ms=30), recorder.submit)
    add_trade(batcher.find_lane(TradeBuffer, "binance", "BTC/USDT"))
    assert not recorder.batches
    start_s = time.monotonic()
    while not recorder.batches:
        assert time.monotonic() - start_s < 5
        await asyncio.sleep(0.005)
    assert time.monotonic() - start_s >= 0.025


async def test_batches_are_numbered_without_a_gap_over_all_lanes(recorder) -> None:
    """Writer and sequence name a batch for ever; the message id is made of both."""
    batcher = Batcher("w", 4, CollectorConfig(batch_rows=1), recorder.submit)
    batcher.epoch = 7
    symbols = ["BTC/USDT", "ETH/USDT", "SOL/USDT", "XRP/USDT"]
    for index in range(20):
        symbol = symbols[index % 4]
        add_trade(batcher.find_lane(TradeBuffer, "binance", symbol), symbol, receive_ns=index)
    assert [batch.header.writer_sequence for batch in recorder.batches] == list(range(1, 21))
    assert [message.message_id for message in recorder.messages] == [f"w-{number}" for number in range(1, 21)]
    for message, batch in zip(recorder.messages, recorder.batches, strict=True):
        partition = find_partition("binance", batch.rows.symbols[0], 4)
        assert (batch.header.partition, batch.header.epoch, batch.header.shard) == (partition, 7, "")
        assert message.subject == f"md.{partition}.trades.binance"
        assert message.rows == 1


def test_writers_are_unique_and_in_order_of_time() -> None:
    """Two starts never share a name, and a later one sorts behind."""
    writers = [make_writer("collector-0") for _ in range(1000)]
    assert len(set(writers)) == 1000
    assert [writer[:24] for writer in writers] == sorted(writer[:24] for writer in writers)
