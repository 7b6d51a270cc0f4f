from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tickloom_collector.feeds.sieve import ContiguousIds, RecentIds, make_sieve
from tickloom_collector.feeds.taps import sort_by_arrival


def test_recent_ids_are_recognised_over_two_thousand_others() -> None:
    """An id is recognised while at most 2,000 others came behind it, and forgotten by 4,001 at the latest."""
    sieve = RecentIds()
    ids = [f"id-{number}" for number in range(10_000)]
    assert {sieve.admit(trade_id) for trade_id in ids} == {0}
    assert {sieve.admit(trade_id) for trade_id in ids[-2000:]} == {-1}
    assert sieve.admit(ids[-4001]) == 0


@given(st.lists(st.integers(0, 50), max_size=100))
def test_contiguous_ids_count_what_is_missing(numbers: list[int]) -> None:
    """What is admitted and what is said to be missing make up the whole range, and nothing is admitted twice."""
    sieve = ContiguousIds()
    admitted: list[int] = []
    missing = 0
    for number in numbers:
        found = sieve.admit(str(number))
        if found >= 0:
            admitted.append(number)
            missing += found
    assert admitted == sorted(set(admitted))
    if admitted:
        assert admitted[-1] - admitted[0] + 1 == len(admitted) + missing


def test_only_spot_of_binance_has_contiguous_ids() -> None:
    """Gaps are looked for only where the venue numbers trades without one."""
    assert isinstance(make_sieve("binance", "BTC/USDT"), ContiguousIds)
    assert isinstance(make_sieve("binance", "BTC/USDT:USDT"), RecentIds)
    assert isinstance(make_sieve("kraken", "BTC/USD"), RecentIds)


def test_trades_of_one_frame_keep_their_order() -> None:
    """Trades of the same ms are put in order of their numbers, not of the text of them; others stay as they came."""
    rows = [{"timestamp": 5, "id": str(number)} for number in (9, 10, 11, 100)]
    assert sort_by_arrival(list(reversed(rows)), "timestamp", "id") == rows
    named = [{"timestamp": time, "id": name} for time, name in ((5, "z"), (5, "a"), (None, "y"), (5, None))]
    assert sort_by_arrival(named, "timestamp", "id") == [named[2], named[0], named[1], named[3]]
