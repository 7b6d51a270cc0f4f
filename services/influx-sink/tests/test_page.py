"""docs/influx-sink.md says what is stored, and its queries have answers."""

from __future__ import annotations

import re
import time

import pytest

from tests.docs.pages import find_page
from tickloom_core.columns import BUFFERS, TickerBuffer
from tickloom_influx_sink.lines import gather_points

PAGE = find_page("influx-sink")


@pytest.fixture
def make_full_batches(make_batch):
    """Make a batch of each channel, of one row of which everything is known, at a time of receipt."""

    def make(receive_ns):
        common = {"symbol": "BTC/USDT", "exchange_time_us": receive_ns // 1000, "receive_time_ns": receive_ns}
        book = {"sequence": 7, "kind": 1, "previous_sequence": 6, "bid_count": 1, "ask_count": 1}
        levels = {"bid_price": [1.0], "bid_amount": [2.0], "ask_price": [3.0], "ask_amount": [4.0]}
        span = {"count": 1, "range_start_ns": 1, "range_end_ns": 2, "receive_time_ns": receive_ns}
        words = {"symbol": "BTC/USDT", "kind": "gap", "subject_channel": "trades", "detail": "a sentence"}
        return [
            make_batch("trades", [common | {"price": 1.0, "amount": 2.0, "side": 1}], ["7"]),
            make_batch("tickers", [common | dict.fromkeys(TickerBuffer.numbers, 1.0)]),
            make_batch("books", [common | book | levels]),
            make_batch("events", [span | words]),
        ]

    return make


def test_points(make_full_batches):
    """The table of points has each channel's measurement, with the tags and fields that are written."""
    points = gather_points(make_full_batches(10**18))
    written = {}
    for head, fields in zip(points.heads, points.fields, strict=True):
        measurement, *tags = re.findall(r"(?:^|,)(\w+)", head)
        written[measurement] = (tags, sorted(re.findall(r"(?:^|,)(\w+)=", fields)))
    rows = PAGE.find_rows("measurement")
    assert {name: (cells[1].split(", "), sorted(cells[2].split(", "))) for name, cells in rows.items()} == written
    assert rows.keys() == BUFFERS.keys()


@pytest.mark.servers
async def test_queries(influx, bucket, open_influx, make_full_batches, make_chunk):
    """Every query of the page finds what is stored."""
    store = await open_influx()
    await store.write(make_chunk(make_full_batches(time.time_ns() - 10**9)))
    queries = PAGE.find_blocks("sql")
    assert len(queries) == 5
    for query in queries:
        rows = influx.query(" ".join(query.split()), bucket=bucket)
        assert rows, query
        assert all(value is not None for value in rows[0].values()), query
