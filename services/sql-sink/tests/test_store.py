"""Rows and position in one transaction, on SQLite and PostgreSQL: what is stored, once, and what comes again."""

from __future__ import annotations

import asyncio
import math
from datetime import datetime, timedelta

import pytest

from tickloom_core.bus.reader import StreamIdentity
from tickloom_core.columns import MISSING_FLOAT, MISSING_INT, TickerBuffer
from tickloom_core.errors import SupersededError
from tickloom_core.rows import read_symbols, read_trade_ids
from tickloom_core.wire import decode
from tickloom_sql_sink.tables import BOOKS, CONNECTION_EVENTS, MARKET_TICKS, SINK_POSITIONS

NOON = datetime(2026, 11, 21, 12)  # noqa: DTZ001 - as both dialects are read here
NOON_US = 1_795_262_400 * 10**6
NOON_NS = NOON_US * 1000
STREAM = StreamIdentity("MARKETDATA", "2026-11-21T05:15:13.334000223Z")
REBORN = StreamIdentity("MARKETDATA", "2026-11-21T09:00:00.000000001Z")
UNKNOWN_TRADE = {
    "symbol": "ETH/USDT",
    "exchange_time_us": MISSING_INT,
    "receive_time_ns": NOON_NS + 7,
    "price": MISSING_FLOAT,
    "amount": MISSING_FLOAT,
    "side": 0,
}


def list_ids(sequences, rows=3):
    return sorted(f"{n}-{row}" for n in sequences for row in range(rows))


async def test_trades(database_url, open_store, make_message, make_chunk):
    """Every column of a trade is read back as it was; what is not known is null."""
    known = {
        "symbol": "BTC/USDT",
        "exchange_time_us": NOON_US - 1234,
        "receive_time_ns": NOON_NS + 987_654_321,
        "price": 0.1 + 0.2,
        "amount": 1e-300,
        "side": 2,
    }
    opened = await open_store(database_url)
    await opened.commit(make_chunk([make_message("trades", [known, UNKNOWN_TRADE], [b"7\xc3\xa9", b""], sequence=5)]))
    assert opened.read() == [
        {
            "exchange": "binance",
            "symbol": "BTC/USDT",
            "ts": NOON - timedelta(microseconds=1234),
            "exchange_ts_utc": NOON - timedelta(microseconds=1234),
            "ingestion_ts_utc": NOON + timedelta(microseconds=987_654),
            "receive_time_ns": NOON_NS + 987_654_321,
            "price": 0.1 + 0.2,
            "quantity": 1e-300,
            "side": "sell",
            "trade_id": "7é",
            "ordinal": 0,
        },
        {
            "exchange": "binance",
            "symbol": "ETH/USDT",
            "ts": NOON,
            "exchange_ts_utc": None,
            "ingestion_ts_utc": NOON,
            "receive_time_ns": NOON_NS + 7,
            "price": None,
            "quantity": None,
            "side": None,
            "trade_id": None,
            "ordinal": (5 << 20) + 1,
        },
    ]


async def test_tickers(database_url, open_store, make_message, make_chunk):
    """Every number of a ticker has a column; one that is not known is null."""
    numbers = {name: float(n) for n, name in enumerate(TickerBuffer.numbers)} | {"vwap": MISSING_FLOAT}
    row = {"symbol": "BTC/USDT", "exchange_time_us": MISSING_INT, "receive_time_ns": NOON_NS} | numbers
    opened = await open_store(database_url)
    await opened.commit(make_chunk([make_message("tickers", [row])]))
    (stored,) = opened.read(MARKET_TICKS)
    renamed = {"bid_amount": "bid_size", "ask_amount": "ask_size"}
    expected = {renamed.get(name, name): None if math.isnan(value) else value for name, value in numbers.items()}
    assert {name: stored[name] for name in expected} == expected
    assert (stored["exchange_ts_utc"], stored["ingestion_ts_utc"]) == (None, NOON)


async def test_books(database_url, open_store, make_message, make_chunk):
    """Levels are arrays, a snapshot has best prices and a spread, a delta has none; an empty side is an empty array."""
    common = {"symbol": "BTC/USDT", "exchange_time_us": NOON_US}
    rows = [
        common
        | {"receive_time_ns": NOON_NS, "sequence": 7, "kind": 1, "previous_sequence": MISSING_INT}
        | {"bid_count": 2, "bid_price": [99.0, 98.0], "bid_amount": [1.0, MISSING_FLOAT]}
        | {"ask_count": 1, "ask_price": [101.0], "ask_amount": [3.0]},
        common
        | {"receive_time_ns": NOON_NS + 1000, "sequence": 8, "kind": 2, "previous_sequence": 7}
        | {"bid_count": 1, "bid_price": [99.0], "bid_amount": [0.0]}
        | {"ask_count": 0, "ask_price": [], "ask_amount": []},
    ]
    opened = await open_store(database_url)
    await opened.commit(make_chunk([make_message("books", rows)]))
    snapshot, delta = opened.read(BOOKS)
    assert (snapshot["kind"], snapshot["sequence"], snapshot["previous_sequence"]) == ("snapshot", 7, None)
    assert (snapshot["best_bid"], snapshot["best_ask"], snapshot["spread_bps"]) == (99.0, 101.0, 200.0)
    assert (snapshot["bid_prices"], snapshot["bid_sizes"]) == ([99.0, 98.0], [1.0, None])
    assert (snapshot["ask_prices"], snapshot["ask_sizes"]) == ([101.0], [3.0])
    assert (delta["kind"], delta["previous_sequence"]) == ("delta", 7)
    assert (delta["best_bid"], delta["best_ask"], delta["spread_bps"]) == (None, None, None)
    assert (delta["bid_sizes"], delta["ask_prices"], delta["ask_sizes"]) == ([0.0], [], [])


async def test_events(database_url, open_store, make_message, make_chunk):
    """An event keeps its texts, count and range; empty texts and unknown numbers are null."""
    gap = {"symbol": "BTC/USDT", "kind": "gap", "subject_channel": "trades", "detail": "5 lost", "count": 5}
    gap |= {"receive_time_ns": NOON_NS, "range_start_ns": NOON_NS - 2_000_000, "range_end_ns": NOON_NS - 1_000_000}
    connect = {"symbol": "", "kind": "connect", "subject_channel": "", "detail": "", "receive_time_ns": NOON_NS + 1000}
    connect |= dict.fromkeys(("count", "range_start_ns", "range_end_ns"), MISSING_INT)
    opened = await open_store(database_url)
    await opened.commit(make_chunk([make_message("events", [gap, connect], sequence=1)]))
    first, second = opened.read(CONNECTION_EVENTS)
    assert first == {
        "ts": NOON,
        "exchange": "binance",
        "symbol": "BTC/USDT",
        "channel": "trades",
        "kind": "gap",
        "detail": "5 lost",
        "count": 5,
        "range_start": NOON - timedelta(milliseconds=2),
        "range_end": NOON - timedelta(milliseconds=1),
        "receive_time_ns": NOON_NS,
        "ordinal": 1 << 20,
    }
    unknown = ("symbol", "channel", "detail", "count", "range_start", "range_end")
    assert [second[name] for name in unknown] == [None] * len(unknown)


async def test_channels_of_one_chunk(database_url, open_store, make_message, make_trades, make_chunk):
    """A chunk of several channels and venues is one transaction into several tables."""
    event = {"symbol": "", "kind": "connect", "subject_channel": "", "detail": "x", "receive_time_ns": NOON_NS}
    event |= dict.fromkeys(("count", "range_start_ns", "range_end_ns"), MISSING_INT)
    opened = await open_store(database_url)
    await opened.commit(
        make_chunk([make_trades(1), make_message("events", [event]), make_trades(2, exchange="kraken"), make_trades(3)])
    )
    assert opened.read_ids() == list_ids(range(1, 4))
    assert len(opened.read(CONNECTION_EVENTS)) == 1
    (position,) = opened.read(SINK_POSITIONS)
    assert (position["partition"], position["last_sequence"]) == (0, 4)


async def test_a_chunk_whose_answer_was_lost(database_url, open_store, make_trades, make_chunk):
    """A chunk that comes again after it was committed changes nothing, and is no error."""
    opened = await open_store(database_url)
    chunk = make_chunk([make_trades(1), make_trades(2)])
    await opened.commit(chunk, chunk)
    assert opened.read_ids() == list_ids([1, 2])


@pytest.mark.parametrize("repeats", [1, 2])
async def test_a_trade_that_a_venue_sends_again(database_url, open_store, make_trades, make_chunk, repeats):
    """A trade of one id and time is stored once, as it was received first, also when it repeats within a chunk."""
    opened = await open_store(database_url)
    again = [make_trades(2, ids=[b"1-0", b"1-1", b"new"], delay_us=10**7, writer="w2")] * repeats
    await opened.commit(make_chunk([make_trades(1)]), make_chunk([*again, make_trades(4)], first=2))
    rows = opened.read()
    assert sorted(row["trade_id"] for row in rows) == sorted(["new", *list_ids([1, 4])])
    (first,) = [row for row in rows if row["trade_id"] == "1-0"]
    assert first["ingestion_ts_utc"] == NOON + timedelta(milliseconds=1)


async def test_a_batch_that_the_bus_holds_again(database_url, open_store, make_trades, make_chunk):
    """Rows without an id are known by writer, batch and place: what is stored once more by the bus is left out."""
    opened = await open_store(database_url)
    anonymous = make_trades(5, ids=[b"", b"", b""])
    await opened.commit(make_chunk([anonymous]), make_chunk([anonymous, make_trades(6, ids=[b""] * 3)], first=2))
    assert len(opened.read()) == 6


async def test_equal_rows_of_one_frame(database_url, open_store, make_message, make_chunk):
    """Rows without an id that are equal in everything are all kept, also when a frame is spread over two chunks."""
    opened = await open_store(database_url)
    batches = [make_message("trades", [UNKNOWN_TRADE] * 2, [b"", b""], sequence=n) for n in (1, 2)]
    await opened.commit(make_chunk(batches[:1]), make_chunk(batches[1:], first=2))
    assert len(opened.read()) == 4


async def test_superseded(database_url, open_store, make_trades, make_chunk):
    """Of two processes on one partition the slower one stores nothing, and is told where the other stands."""
    first, second = await open_store(database_url), await open_store(database_url)
    await first.commit(make_chunk([make_trades(1)]))
    await second.commit(make_chunk([make_trades(2), make_trades(3)], first=2))
    with pytest.raises(SupersededError, match=r"partition 0 stands at 3 .*, expected 1: another process writes it too"):
        await first.store.write(make_chunk([make_trades(2)], first=2))
    assert first.read_ids() == list_ids([1, 2, 3])
    assert (await first.store.open_partition(0, STREAM)).last_sequence == 3


async def test_two_processes_at_once(database_url, open_store, make_trades, make_chunk):
    """Of two that commit the same rows at the same time, in other chunks, one is superseded and no row is doubled."""
    stores = [await open_store(database_url) for _ in range(2)]
    chunks = [make_chunk([make_trades(n, 200) for n in range(1, end)]) for end in (20, 30)]
    for opened in stores:
        await opened.store.open_partition(0, STREAM)
    outcomes = await asyncio.gather(
        *(opened.store.write(chunk) for opened, chunk in zip(stores, chunks, strict=True)), return_exceptions=True
    )
    assert sorted(type(outcome) for outcome in outcomes if outcome) == [SupersededError]
    winner = chunks[outcomes.index(None)]
    assert len(stores[0].read()) == winner.row_count


async def test_partitions_side_by_side(database_url, open_store, make_trades, make_chunk):
    """Partitions are written at the same time, each with its own position."""
    opened = await open_store(database_url)
    chunks = [make_chunk([make_trades(n, symbol=f"S{n}/USDT")], partition=n) for n in range(8)]
    async with asyncio.TaskGroup() as group:
        for chunk in chunks:
            group.create_task(opened.commit(chunk))
    assert opened.read_ids() == list_ids(range(8))
    assert {row["partition"] for row in opened.read(SINK_POSITIONS)} == set(range(8))


async def test_position(database_url, open_store, make_trades, make_chunk):
    """A new owner goes on behind the last chunk, with the writers that it had seen; nothing begins at 0."""
    opened = await open_store(database_url)
    assert (await opened.store.open_partition(3, STREAM)).last_sequence == 0
    chunk = make_chunk([make_trades(1)], partition=3)
    chunk.writers.note("scattered", 2**63)
    chunk.writers.note("scattered", 5)
    await opened.commit(chunk, make_chunk([make_trades(2)], partition=4))
    committed = await (await open_store(database_url)).store.open_partition(3, STREAM)
    assert committed.last_sequence == 1
    assert committed.writers.to_ranges() == {"w": [[1, 1]], "scattered": [[2**63, 2**63], [5, 5]]}


async def test_a_chunk_without_rows(database_url, open_store, make_chunk):
    """A chunk of which nothing was readable still moves the position."""
    opened = await open_store(database_url)
    await opened.commit(make_chunk([]))
    assert (await opened.store.open_partition(0, STREAM)).last_sequence == 1


async def test_a_stream_made_again(database_url, open_store, make_trades, make_chunk):
    """A stream that counts from 1 again does not continue the old one."""
    opened = await open_store(database_url)
    await opened.commit(make_chunk([make_trades(1)]))
    assert (await opened.store.open_partition(0, REBORN)).last_sequence == 0
    await opened.commit(make_chunk([make_trades(2)], stream=REBORN))
    assert opened.read_ids() == list_ids([1, 2])


async def test_rows_that_nobody_can_hold(database_url, open_store, make_message, make_trades, make_chunk):
    """A NUL and a year beyond 9999 are set aside, each batch as a message of only these rows; the others are stored."""
    far = {**UNKNOWN_TRADE, "exchange_time_us": 2**62}
    opened = await open_store(database_url)
    mixed = make_message("trades", [UNKNOWN_TRADE, far, UNKNOWN_TRADE], [b"a", b"b", b"c\0"], sequence=2)
    await opened.commit(make_chunk([make_trades(1), mixed, make_trades(3)]))
    assert opened.read_ids() == sorted(["a", *list_ids([1, 3])])
    (rejected,) = opened.set_aside
    assert (rejected.partition, rejected.channel, rejected.exchange) == (0, "trades", "binance")
    assert rejected.row_count == 2
    assert "exchange_ts_utc is" in rejected.reason
    batch = decode(rejected.data)
    assert (read_trade_ids(batch), read_symbols(batch)) == (["b", "c\0"], ["ETH/USDT"] * 2)


async def test_refusals_that_come_again(database_url, open_store, make_message, make_chunk):
    """Refused rows have the same key whenever they come, so that they are set aside once; other rows have another."""
    opened = await open_store(database_url)
    message, other = (make_message("trades", [UNKNOWN_TRADE] * 2, ids) for ids in ([b"a\0", b"b"], [b"a", b"b\0"]))
    await opened.commit(*(make_chunk([message], stream=stream) for stream in (STREAM, REBORN)))
    await opened.commit(make_chunk([other], first=2))
    first, again, third = [rejected.key for rejected in opened.set_aside]
    assert first == again != third


async def test_times_that_cannot_be_true(database_url, open_store, make_trades, make_chunk):
    """A trade whose venue says 1970, or next week, is filed under its receipt and keeps what the venue says."""
    opened = await open_store(database_url)
    week_us = 7 * 86_400 * 10**6
    await opened.commit(
        make_chunk(
            [
                make_trades(1, 1, at_us=1000, delay_us=NOON_US),
                make_trades(2, 1, at_us=NOON_US + week_us, delay_us=-week_us),
            ]
        )
    )
    first, second = sorted(opened.read(), key=lambda row: row["trade_id"])
    assert first["ts"] == first["ingestion_ts_utc"] == NOON + timedelta(milliseconds=1)
    assert first["exchange_ts_utc"].year == 1970
    assert (second["ts"], second["exchange_ts_utc"]) == (NOON, NOON + timedelta(days=7))


async def test_rows_of_many_days(database_url, open_store, make_trades, make_chunk):
    """Rows of any day find a place, in one chunk and in any order."""
    opened = await open_store(database_url)
    day_us = 86_400 * 10**6
    days = (0, -40, 3, -4000, 1)
    await opened.commit(make_chunk([make_trades(n, 1, at_us=NOON_US + day * day_us) for n, day in enumerate(days)]))
    assert [row["ts"] for row in opened.read()] == [NOON + timedelta(days=day) for day in sorted(days)]
