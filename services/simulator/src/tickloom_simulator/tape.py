"""The tape: one market's trades, with contiguous ids and a price that walks on the tick size."""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from tickloom_simulator.clock import NS_PER_S

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    from tickloom_simulator.market import Market

# Eight moves chosen by three random bits; their mean is zero.
_STEPS_TICKS = (-3, -1, -1, 0, 0, 1, 1, 3)
_SEED_TRADES = 100
_TYPICAL_COST = 500.0


class Trade(NamedTuple):
    """One trade; a tuple, because twenty thousand of them are made a second."""

    trade_id: int
    price_ticks: int
    amount_e8: int
    time_ns: int
    is_sell: bool


class TradeTape:
    """The trades of one market and the recent history that REST serves."""

    def __init__(self, market: Market, rng: random.Random, *, start_ticks: int, first_id: int, history: int) -> None:
        self.price_ticks = start_ticks
        self.next_id = first_id
        self.history: deque[Trade] = deque(maxlen=history)
        self._rng = rng
        self._floor_ticks = max(1, start_ticks // 2)
        self._ceiling_ticks = start_ticks * 2
        self._step_e8 = market.amount_step_e8
        self._typical_steps = max(1, int(_TYPICAL_COST / market.start_price * 10**market.precision.amount_decimals))

    def walk(self, bits: int) -> int:
        """Move the price by one step that three random bits choose, and return it in ticks."""
        price = self.price_ticks + _STEPS_TICKS[bits & 7]
        self.price_ticks = price = min(max(price, self._floor_ticks), self._ceiling_ticks)
        return price

    def print(self, count: int, start_ns: int, span_ns: int) -> list[Trade]:
        """Make `count` trades, spread over `span_ns` from `start_ns`, and remember them."""
        getrandbits, typical, step_e8 = self._rng.getrandbits, self._typical_steps, self._step_e8
        first_id = self.next_id
        trades = []
        for number in range(count):
            bits = getrandbits(32)
            amount_e8 = (1 + ((bits >> 8) * typical >> 23)) * step_e8
            time_ns = start_ns + span_ns * number // count
            trades.append(Trade(first_id + number, self.walk(bits), amount_e8, time_ns, bits & 8 != 0))
        self.next_id += count
        self.history.extend(trades)
        return trades

    def read_recent(self, count: int, now_ns: int) -> list[Trade]:
        """Return the newest `count` trades, oldest first; a market that never traded gets a short past."""
        self._ensure_past(now_ns)
        return list(islice(self.history, max(0, len(self.history) - count), None))

    def read_all(self, now_ns: int) -> Iterator[Trade]:
        """Iterate over all remembered trades, oldest first."""
        self._ensure_past(now_ns)
        return iter(tuple(self.history))

    def _ensure_past(self, now_ns: int) -> None:
        if not self.history:
            self.print(_SEED_TRADES, now_ns - _SEED_TRADES * NS_PER_S, _SEED_TRADES * NS_PER_S)
