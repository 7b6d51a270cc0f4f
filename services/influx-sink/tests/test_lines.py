"""Rows of the bus as lines, channel by channel."""

from __future__ import annotations

import pytest

from tickloom_core.columns import MISSING_FLOAT, MISSING_INT, TickerBuffer
from tickloom_influx_sink.lines import gather_points

NOON_NS = 1_795_262_400 * 10**9
NOON_US = NOON_NS // 1000


def spell(*batches):
    points = gather_points(batches)
    return points.spell_lines(points.find_rows()).splitlines()


def make_trade(**changes):
    trade = {
        "symbol": "BTC/USDT",
        "exchange_time_us": NOON_US,
        "receive_time_ns": NOON_NS + 5,
        "price": 60_000.5,
        "amount": 0.25,
        "side": 1,
    }
    return trade | changes


def make_ticker(**changes):
    numbers = dict.fromkeys(TickerBuffer.numbers, MISSING_FLOAT)
    times = {"exchange_time_us": MISSING_INT, "receive_time_ns": NOON_NS}
    return {"symbol": "BTC/USDT", **times, **numbers, **changes}


def make_book(**changes):
    book = {
        "symbol": "BTC/USDT",
        "exchange_time_us": NOON_US,
        "receive_time_ns": NOON_NS,
        "sequence": 77,
        "kind": 1,
        "bid_count": 2,
        "bid_price": [99.0, 98.0],
        "bid_amount": [1.5, 2.0],
        "ask_count": 1,
        "ask_price": [101.0],
        "ask_amount": [4.0],
        "previous_sequence": MISSING_INT,
    }
    return book | changes


def make_event(**changes):
    event = {
        "receive_time_ns": NOON_NS,
        "symbol": "",
        "kind": "gap",
        "subject_channel": "",
        "detail": "",
        "count": MISSING_INT,
        "range_start_ns": MISSING_INT,
        "range_end_ns": MISSING_INT,
    }
    return event | changes


@pytest.mark.parametrize(
    ("changes", "trade_id", "line"),
    [
        (
            {},
            "123456789",
            (
                "trades,exchange=binance,side=buy,symbol=BTC/USDT "
                f'price=60000.5,amount=0.25,trade_id="123456789",receive_time_ns={NOON_NS + 5}i {NOON_NS + 456_789}'
            ),
        ),
        (
            {"side": 0, "exchange_time_us": NOON_US + 7},
            "123456789",
            (
                "trades,exchange=binance,symbol=BTC/USDT "
                f'price=60000.5,amount=0.25,trade_id="123456789",receive_time_ns={NOON_NS + 5}i {NOON_NS + 7_789}'
            ),
        ),
        (
            {"side": 9, "amount": MISSING_FLOAT},
            'a"1',
            (
                "trades,exchange=binance,symbol=BTC/USDT "
                rf'price=60000.5,trade_id="a\"1",receive_time_ns={NOON_NS + 5}i {NOON_NS + 427_743}'
            ),
        ),
        (
            {"exchange_time_us": MISSING_INT, "receive_time_ns": NOON_NS + 123_456},
            "42",
            (
                "trades,exchange=binance,side=buy,symbol=BTC/USDT "
                f'price=60000.5,amount=0.25,trade_id="42",receive_time_ns={NOON_NS + 123_456}i {NOON_NS + 123_042}'
            ),
        ),
    ],
    ids=["all known", "no side, microseconds", "unknown side, no amount, id that is no number", "no time of the venue"],
)
def test_trades(changes, trade_id, line, make_batch):
    """A trade stands at the venue's time, or where the venue gives none at its receipt; what is missing is left out."""
    assert spell(make_batch("trades", [make_trade(**changes)], [trade_id])) == [line]


def test_a_trade_without_an_id(make_batch):
    """Without an id a trade has no field trade_id, and stands where its price, amount and side put it."""
    (line,) = spell(make_batch("trades", [make_trade()], [""]))
    assert "trade_id" not in line
    assert line == spell(make_batch("trades", [make_trade(receive_time_ns=NOON_NS + 6)], [""]))[0].replace(
        f"={NOON_NS + 6}i", f"={NOON_NS + 5}i"
    )


def test_tickers(make_batch):
    """A ticker stands at its receipt, with the numbers that are known."""
    rows = [make_ticker(last=2.5, bid=2.0, exchange_time_us=NOON_US), make_ticker(symbol="A B/C", vwap=-0.125)]
    assert spell(make_batch("tickers", rows, exchange="kraken")) == [
        f"tickers,exchange=kraken,symbol=BTC/USDT last=2.5,bid=2.0,exchange_time_us={NOON_US}i {NOON_NS}",
        rf"tickers,exchange=kraken,symbol=A\ B/C vwap=-0.125 {NOON_NS}",
    ]


def test_rows_without_fields(make_batch):
    """A ticker of which nothing is known is no point, alone or among others."""
    empty, known = make_ticker(), make_ticker(last=1.0)
    for rows, points in (([empty], []), ([empty, known, empty], [1])):
        gathered = gather_points([make_batch("tickers", rows)])
        assert list(gathered.find_rows()) == points
        assert set(gathered.find_empty_rows()) == set(range(len(rows))) - set(points)


def test_books(make_batch):
    """A book is its best levels, and sums and counts over all that are kept; a side without levels has no best."""
    one_sided = make_book(
        symbol="X", bid_count=0, bid_price=[], bid_amount=[], sequence=MISSING_INT, exchange_time_us=MISSING_INT
    )
    assert spell(make_batch("books", [make_book(), one_sided])) == [
        (
            "books,exchange=binance,symbol=BTC/USDT bid=99.0,bid_amount=1.5,bid_depth=3.5,bid_levels=2i,"
            "ask=101.0,ask_amount=4.0,ask_depth=4.0,ask_levels=1i,spread_bps=200.0,"
            f"sequence=77i,exchange_time_us={NOON_US}i {NOON_NS}"
        ),
        (
            "books,exchange=binance,symbol=X bid_depth=0,bid_levels=0i,"
            f"ask=101.0,ask_amount=4.0,ask_depth=4.0,ask_levels=1i {NOON_NS}"
        ),
    ]


def test_deltas_of_books(make_batch):
    """Of a delta only its number is written: it says nothing of the top of the book."""
    (line,) = spell(make_batch("books", [make_book(kind=2, exchange_time_us=MISSING_INT)]))
    assert line == f"books,exchange=binance,symbol=BTC/USDT sequence=77i {NOON_NS}"


def test_events(make_batch):
    """An event has its facts as fields; of the whole venue, it has no symbol."""
    whole = make_event(detail='it said "no"')
    part = make_event(symbol="BTC/USDT", subject_channel="trades", count=3, range_start_ns=1, range_end_ns=2)
    assert spell(make_batch("events", [whole, part])) == [
        rf'events,exchange=binance,kind=gap detail="it said \"no\"" {NOON_NS}',
        (
            "events,channel=trades,exchange=binance,kind=gap,symbol=BTC/USDT "
            f"count=3i,range_start_ns=1i,range_end_ns=2i {NOON_NS}"
        ),
    ]


def test_rows_that_would_be_one_point(make_batch):
    """Of different rows with one series and nanosecond, over the whole chunk, the later ones get a tag `twin`."""
    first = make_batch("tickers", [make_ticker(last=1.0), make_ticker(last=2.0), make_ticker(symbol="X", last=3.0)])
    second = make_batch("tickers", [make_ticker(last=4.0)])
    assert spell(first, second) == [
        f"tickers,exchange=binance,symbol=BTC/USDT last=1.0 {NOON_NS}",
        f"tickers,exchange=binance,symbol=BTC/USDT,twin=1 last=2.0 {NOON_NS}",
        f"tickers,exchange=binance,symbol=X last=3.0 {NOON_NS}",
        f"tickers,exchange=binance,symbol=BTC/USDT,twin=2 last=4.0 {NOON_NS}",
    ]


def test_a_trade_that_came_twice(make_batch):
    """A trade that two collectors sent is one point: it has one id."""
    lines = spell(*[make_batch("trades", [make_trade(receive_time_ns=NOON_NS + n)], ["7"]) for n in (1, 2)])
    assert len({line.split(" ")[0] + line.split(" ")[-1] for line in lines}) == 1


def test_infinite_numbers(make_batch):
    """An infinite number is written as such, for InfluxDB to refuse: left out it would be lost without a word."""
    (line,) = spell(make_batch("tickers", [make_ticker(last=float("inf"), bid=float("-inf"), ask=1e22)]))
    assert line == f"tickers,exchange=binance,symbol=BTC/USDT last=inf,bid=-inf,ask=1e22 {NOON_NS}"
