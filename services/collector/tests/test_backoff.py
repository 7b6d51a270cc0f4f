from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tickloom_collector.backoff import Backoff


def test_bounds_double_up_to_the_longest() -> None:
    """The wait is drawn between nothing and a bound that doubles with each failure, up to the longest."""
    bounds: list[float] = []

    def draw(low: float, high: float) -> float:
        assert low == 0.0
        bounds.append(high)
        return high

    backoff = Backoff(0.5, 30.0, draw=draw)
    assert [backoff.next_s() for _ in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert backoff.attempts == 8
    backoff.reset()
    assert backoff.next_s() == 0.5


@given(attempts=st.integers(0, 2000), retry_after_s=st.none() | st.floats(0, 1e6))
def test_never_less_than_asked_for_and_never_more_than_the_longest(attempts: int, retry_after_s: float | None) -> None:
    """Retry-After is a lower bound; without it no wait is longer than the longest, after however many failures."""
    backoff = Backoff(0.5, 30.0)
    backoff.attempts = attempts
    wait_s = backoff.next_s(retry_after_s)
    assert (retry_after_s or 0.0) <= wait_s <= max(30.0, retry_after_s or 0.0)
