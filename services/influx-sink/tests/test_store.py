"""The store on a real InfluxDB: each row once, however often it comes, and what is refused is set aside."""

from __future__ import annotations

import time

import pytest
from prometheus_client import REGISTRY

from tickloom_core.bus.identity import StreamIdentity
from tickloom_core.columns import MISSING_FLOAT, MISSING_INT, TickerBuffer
from tickloom_core.errors import PermanentError
from tickloom_core.wire import decode

pytestmark = pytest.mark.servers

NOON_NS = 1_795_262_400 * 10**9
STREAM = StreamIdentity("MARKETDATA", "2026-11-21T05:15:13.334000223Z")
REBORN = StreamIdentity("MARKETDATA", "2026-11-21T09:00:00.000000001Z")


def list_ids(sequences, rows=3):
    return sorted(str(1000 * n + row) for n in sequences for row in range(rows))


def make_ticker(**changes):
    numbers = dict.fromkeys(TickerBuffer.numbers, MISSING_FLOAT)
    times = {"exchange_time_us": MISSING_INT, "receive_time_ns": NOON_NS}
    return {"symbol": "BTC/USDT", **times, **numbers, **changes}


def read_refused_ids(refused):
    return [batch.rows.trade_ids.decode() for batch in map(decode, (rejected.data for rejected in refused))]


async def test_every_row_once(influx, bucket, open_influx, make_trades, make_chunk):
    """A chunk's rows are there when it is written, once, also when it is written again."""
    store = await open_influx(request_lines=7)
    chunk = make_chunk([make_trades(n, 10, exchange=exchange) for n, exchange in enumerate(("binance", "kraken"), 1)])
    for _ in range(2):
        await store.write(chunk)
        assert sorted(influx.read_trade_ids(bucket=bucket)) == list_ids([1, 2], rows=10)
    rows = influx.read_rows(bucket=bucket)
    assert rows[0] == {
        "time": NOON_NS + 1000,
        "exchange": "binance",
        "symbol": "BTC/USDT",
        "side": "buy",
        "price": 60_000.0,
        "amount": 0.5,
        "trade_id": "1000",
        "receive_time_ns": NOON_NS,
    }


async def test_a_thousand_trades_of_one_millisecond(influx, bucket, open_influx, make_trades, make_chunk):
    """Trades of one millisecond stay apart, however they are cut into chunks and requests, and when they come again."""
    batches = [decode(make_trades(n, 100)) for n in range(1, 11)]
    for chunk_batches, request_lines in ((10, 5000), (3, 64), (1, 1000)):
        store = await open_influx(request_lines=request_lines)
        for start in range(0, 10, chunk_batches):
            await store.write(make_chunk(batches[start : start + chunk_batches], first=start + 1))
        assert sorted(influx.read_trade_ids(bucket=bucket)) == list_ids(range(1, 11), rows=100)


async def test_strange_names(influx, bucket, open_influx, make_message, make_chunk):
    """Symbols and ids come back as they were, whatever letters they are made of."""
    names = ["a,b", "c=d", "e f", 'g"h', r"i\j", "é✓", "BTC/USDT:USDT-261121"]
    trade = {"exchange_time_us": NOON_NS // 1000, "receive_time_ns": NOON_NS, "price": 1.0, "amount": 1.0, "side": 1}
    rows = [trade | {"symbol": name} for name in names]
    store = await open_influx()
    await store.write(make_chunk([make_message("trades", rows, names)]))
    found = influx.read_rows(bucket=bucket)
    assert {(row["symbol"], row["trade_id"]) for row in found} == {(name, name) for name in names}


async def test_nothing_committed(open_influx):
    """A partition without a position begins at 0 with an empty window."""
    store = await open_influx()
    committed = await store.open_partition(3, STREAM)
    assert (committed.last_sequence, committed.writers.to_ranges()) == (0, {})


async def test_the_last_position_counts(open_influx, make_trades, make_chunk):
    """A new owner goes on behind the newest chunk, with the writers that it had seen."""
    store = await open_influx()
    chunks = [make_chunk([make_trades(n, writer=f"w{n}")], first=n) for n in range(1, 4)]
    chunks[-1].writers.note("scattered", 2**63)
    chunks[-1].writers.note("scattered", 5)
    for chunk in chunks:
        await store.write(chunk)
    committed = await (await open_influx()).open_partition(0, STREAM)
    assert committed.last_sequence == 3
    assert committed.writers.to_ranges() == {"w3": [[3, 3]], "scattered": [[2**63, 2**63], [5, 5]]}


async def test_a_clock_that_steps_back(influx, bucket, open_influx, make_trades, make_chunk):
    """A position written by a machine whose clock is behind is still found as the newest."""
    later_ns = (time.time_ns() // 10**9 + 7200) * 10**9
    name = f"{STREAM.name}/{STREAM.created}"
    influx.write(
        f'tickloom_positions,partition=0,stream={name} last_sequence=4i,writer_window="eJyrrgUAAXUA+Q==" {later_ns}',
        bucket=bucket,
    )
    store = await open_influx()
    assert (await store.open_partition(0, STREAM)).last_sequence == 4
    await store.write(make_chunk([make_trades(5)], first=5))
    assert (await store.open_partition(0, STREAM)).last_sequence == 5


async def test_a_stream_made_again(open_influx, make_trades, make_chunk):
    """A stream that counts from 1 again does not continue the old one."""
    store = await open_influx()
    await store.write(make_chunk([make_trades(1), make_trades(2)]))
    assert (await store.open_partition(0, REBORN)).last_sequence == 0
    await store.write(make_chunk([make_trades(3)], stream=REBORN))
    assert (await store.open_partition(0, STREAM)).last_sequence == 2
    assert (await store.open_partition(0, REBORN)).last_sequence == 1


async def test_a_chunk_without_rows(open_influx, make_chunk):
    """A chunk of which nothing was readable still moves the committed position."""
    store = await open_influx()
    await store.write(make_chunk([], first=4))
    assert (await store.open_partition(0, STREAM)).last_sequence == 4


async def test_a_position_that_cannot_be_read(influx, bucket, open_influx):
    """A damaged position stops the sink: guessing would leave rows out."""
    name = f"{STREAM.name}/{STREAM.created}"
    influx.write(f'tickloom_positions,partition=0,stream={name} last_sequence=4i,writer_window="junk"', bucket=bucket)
    with pytest.raises(PermanentError, match="newest point of tickloom_positions cannot be read"):
        await open_influx()


def make_dated_trades(make_message, times_us, sequence=1):
    """Make a message of trades, one at each of these times of the venue, with the ids 0, 1, …."""
    trade = {"symbol": "X", "receive_time_ns": NOON_NS, "price": 1.0, "amount": 1.0, "side": 1}
    rows = [trade | {"exchange_time_us": time_us} for time_us in times_us]
    return make_message("trades", rows, [str(number) for number in range(len(rows))], sequence=sequence)


@pytest.fixture
def check_refusals(influx, bucket, open_influx, make_message, make_chunk):
    """Write trades at these times twice, and check that the refused ones and only they are set aside."""

    async def check(times_us, refused_ids, words, *, into=bucket):
        refused = []
        store = await open_influx(refused, bucket=into)
        good = [str(number) for number in range(len(times_us)) if str(number) not in refused_ids]
        keys = []
        for _ in range(2):
            await store.write(make_chunk([make_dated_trades(make_message, times_us)]))
            assert sorted(influx.read_trade_ids(bucket=into)) == sorted(good)
            assert sorted("".join(read_refused_ids(refused))) == sorted(refused_ids)
            assert sum(rejected.row_count for rejected in refused) == len(refused_ids)
            assert all(words in rejected.reason for rejected in refused)
            keys.append([rejected.key for rejected in refused])
            refused.clear()
        assert keys[0] == keys[1]
        assert len(set(keys[0])) == len(keys[0])
        assert (await store.open_partition(0, STREAM)).last_sequence == 1

    return check


async def test_lines_that_cannot_be_read(check_refusals):
    """Of lines that InfluxDB cannot read, for which it refuses the whole request, only these rows are set aside."""
    beyond_us = 9_300_000_000_000_000
    times_us = [NOON_NS // 1000] * 5 + [beyond_us] + [NOON_NS // 1000] * 2 + [beyond_us + 1, NOON_NS // 1000]
    await check_refusals(times_us, "58", "unable to parse")


async def test_a_field_of_another_type(influx, bucket, check_refusals):
    """Rows whose field InfluxDB knows with another type, in the shard of their time, are set aside."""
    influx.write(f'trades,exchange=other price="text" {NOON_NS}', bucket=bucket)
    fortnight_us = 14 * 86_400 * 10**6
    times_us = [NOON_NS // 1000, NOON_NS // 1000 + fortnight_us, NOON_NS // 1000, NOON_NS // 1000 - fortnight_us]
    await check_refusals(times_us, "02", "field type conflict")


async def test_rows_past_retention(influx, check_refusals):
    """Rows older than the bucket keeps are set aside, whether some of a request are or all."""
    now_us = time.time_ns() // 10**9 * 10**6
    for times_us, refused_ids in (([now_us, now_us - 7200 * 10**6, now_us], "1"), ([1, 2, 3], "012")):
        name = f"short-{refused_ids}"
        influx.make_bucket(name, retention_s=3600)
        await check_refusals(times_us, refused_ids, "etention", into=name)


async def test_a_request_that_is_refused_whole_is_not_split(influx, bucket, open_influx, make_message, make_chunk):
    """When InfluxDB says that it has dropped all lines of a request, its reason is that of all of them."""
    influx.write(f'trades,exchange=other price="text" {NOON_NS}', bucket=bucket)
    refused = []
    store = await open_influx(refused)
    before = count_requests("422")
    await store.write(make_chunk([make_dated_trades(make_message, [NOON_NS // 1000] * 9)]))
    assert count_requests("422") - before == 1
    assert [rejected.row_count for rejected in refused] == [9]


def count_requests(status):
    return REGISTRY.get_sample_value("tickloom_influx_sink_requests_total", {"status": status}) or 0


async def test_a_text_too_long(influx, bucket, open_influx, make_message, make_chunk):
    """A text of more than 1 MiB is set aside, and the events around it are stored."""
    event = {
        "receive_time_ns": NOON_NS,
        "symbol": "",
        "kind": "error",
        "subject_channel": "",
        "count": MISSING_INT,
        "range_start_ns": MISSING_INT,
        "range_end_ns": MISSING_INT,
    }
    refused = []
    store = await open_influx(refused)
    rows = [event | {"detail": text} for text in ("before", "x" * (2**20 + 1), "behind")]
    await store.write(make_chunk([make_message("events", rows)]))
    assert [row["detail"] for row in influx.read_rows("events", bucket=bucket)] == ["before", "behind"]
    (rejected,) = refused
    assert "too long" in rejected.reason
    assert [len(text) for text in decode(rejected.data).rows.detail] == [2**20 + 1]


async def test_a_row_without_fields(influx, bucket, open_influx, make_message, make_chunk):
    """A row of which nothing is known is set aside with our reason; a chunk of only such rows is committed."""
    refused = []
    store = await open_influx(refused)
    for rows in ([make_ticker()], [make_ticker(), make_ticker(last=1.0), make_ticker()]):
        refused.clear()
        await store.write(make_chunk([make_message("tickers", rows)]))
        (rejected,) = refused
        assert (rejected.channel, rejected.exchange, rejected.partition) == ("tickers", "binance", 0)
        assert "none of its fields is known" in rejected.reason
    assert rejected.row_count == decode(rejected.data).row_count == 2
    assert [row["last"] for row in influx.read_rows("tickers", bucket=bucket)] == [1.0]


async def test_infinite_numbers(influx, bucket, open_influx, make_message, make_chunk):
    """A row with an infinite number is set aside, and its neighbours are stored."""
    refused = []
    store = await open_influx(refused)
    rows = [make_ticker(last=last, receive_time_ns=NOON_NS + n) for n, last in enumerate((1.0, float("-inf"), 3.0))]
    await store.write(make_chunk([make_message("tickers", rows)]))
    assert [row["last"] for row in influx.read_rows("tickers", bucket=bucket)] == [1.0, 3.0]
    (rejected,) = refused
    assert "last=-inf" in rejected.reason


async def test_refused_rows_are_safe_before_the_commit(influx, bucket, open_influx, make_message, make_chunk):
    """When refused rows cannot be set aside the chunk is not committed."""
    store = await open_influx()
    with pytest.raises(AssertionError, match="none of its fields is known"):
        await store.write(make_chunk([make_message("tickers", [make_ticker()])]))
    assert (await store.open_partition(0, STREAM)).last_sequence == 0
