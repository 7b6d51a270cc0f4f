"""The nanosecond of a row: distinct for different trades, the same for the same one."""

from __future__ import annotations

from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickloom_influx_sink.instants import find_twins, make_key, place_trades

NOON_US = 1_795_262_400 * 10**6


@pytest.mark.parametrize(
    ("time_us", "key", "time_ns"),
    [
        (NOON_US, 123_456_789, NOON_US * 1000 + 456_789),
        (NOON_US + 1, 123_456_789, (NOON_US + 1) * 1000 + 789),
        (NOON_US + 123_000, 7, (NOON_US + 123_000) * 1000 + 7),
    ],
    ids=["milliseconds", "microseconds", "milliseconds that are not whole seconds"],
)
def test_digits_below_the_venues(time_us, key, time_ns):
    """The key's last six digits stand below a millisecond, its last three below a microsecond."""
    assert place_trades([time_us], [key]) == [time_ns]


@given(st.integers(0, 10**15), st.integers(1, 2000))
def test_consecutive_ids_of_one_millisecond(first, count):
    """Trades of one millisecond with consecutive ids have each a nanosecond of their own, within it."""
    times_ns = place_trades([NOON_US] * count, list(range(first, first + count)))
    assert len(set(times_ns)) == count
    assert {time_ns // 10**6 for time_ns in times_ns} == {NOON_US // 1000}


def test_keys():
    """The key is the number of an id, however long, or a fixed hash of an id that is none, or of the trade itself."""
    assert make_key("00042", 1.0, 1.0, 1) == 42
    assert make_key("9" * 40, 1.0, 1.0, 1) == int("9" * 40)
    assert make_key("a1b2", 1.0, 1.0, 1) == make_key("a1b2", 2.0, 3.0, 2) == 0x186B9878


def test_a_trade_without_an_id():
    """Without an id, price, amount and side make the key."""
    keys = {make_key("", price, amount, side) for price in (1.0, 2.0) for amount in (1.0, 2.0) for side in (1, 2)}
    assert len(keys) == 8
    assert make_key("", 1.0, 2.0, 1) == make_key("", 1.0, 2.0, 1)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 3), st.sampled_from(["", "1", "2"])), max_size=30))
def test_twins(rows):
    """Different rows of one series and nanosecond differ in their number, the same trade has one, from 0 in order."""
    heads, times_ns, ids = ([row[place] for row in rows] for place in range(3))
    twins = find_twins(heads, times_ns, ids)
    assert 0 not in twins.values()
    order = sorted(range(len(rows)), key=lambda row: (heads[row], times_ns[row], row))
    for _, group in groupby(order, key=lambda row: (heads[row], times_ns[row])):
        numbers: dict = {}
        for row in group:
            numbers.setdefault(ids[row] or row, len(numbers))
            assert twins.get(row, 0) == numbers[ids[row] or row]
