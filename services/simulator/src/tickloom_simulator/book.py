"""An order book whose every state can be told from every other by the amount of its best bid."""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

    from tickloom_simulator.market import Market

# The amounts of best bids run through all residues of this prime before one returns.
_KEY_PRIME = 99_999_989
_KEY_STRIDE = 7_654_321
_DEEP_AMOUNT_STEPS = 1_000_000
_SPREAD_TICKS = 2


@dataclass(frozen=True, slots=True)
class Level:
    """One price level; an amount of zero removes it."""

    price_ticks: int
    amount_e8: int


@dataclass(frozen=True, slots=True)
class BookUpdate:
    """What one update changed. Ids count single changes, as Binance's U and u do."""

    first_update_id: int
    last_update_id: int
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    time_ns: int
    best_bid_amount_e8: int


class BookSide:
    """The levels of one side, by price in ticks; `sign` is +1 for asks (best is lowest), -1 for bids."""

    def __init__(self, sign: int) -> None:
        self._sign = sign
        self._amounts_e8: dict[int, int] = {}
        self._order: list[int] = []  # sign * price, ascending: the best level is first

    def __len__(self) -> int:
        return len(self._order)

    def has(self, price_ticks: int) -> bool:
        """Tell whether there is a level at a price."""
        return price_ticks in self._amounts_e8

    def price(self, position: int) -> int:
        """Return the price in ticks of the level at a position, 0 being the best."""
        return self._sign * self._order[position]

    def put(self, price_ticks: int, amount_e8: int) -> None:
        """Set a level; an amount of zero removes it."""
        rank = self._sign * price_ticks
        if amount_e8 == 0:
            del self._amounts_e8[price_ticks]
            del self._order[bisect_left(self._order, rank)]
            return
        if price_ticks not in self._amounts_e8:
            insort(self._order, rank)
        self._amounts_e8[price_ticks] = amount_e8

    def read(self, depth: int) -> list[Level]:
        """Return the best `depth` levels, best first."""
        return [Level(self._sign * rank, self._amounts_e8[self._sign * rank]) for rank in self._order[:depth]]


class OrderBook:
    """The order book of one market."""

    def __init__(self, market: Market, rng: random.Random, *, mid_ticks: int, levels: int) -> None:
        self.bids = BookSide(-1)
        self.asks = BookSide(+1)
        self.last_update_id = 1_000_000 + rng.getrandbits(20)
        self.time_ns = 0
        self._rng = rng
        self._levels = levels
        self._step_e8 = market.amount_step_e8
        self._keys_used = rng.randrange(_KEY_PRIME)
        for offset in range(1, levels + 1):
            self.bids.put(max(1, mid_ticks - offset), self._deep_amount())
            self.asks.put(mid_ticks + offset, self._deep_amount())
        self.bids.put(self.bids.price(0), self._fresh_amount())

    @property
    def best_bid_amount_e8(self) -> int:
        """The amount of the best bid: the key of this state of the book."""
        return self.bids.read(1)[0].amount_e8

    def update(self, time_ns: int, toward_ticks: int) -> BookUpdate:
        """Change the book once, its middle moving toward a price, and return what changed."""
        bids: dict[int, int] = {}
        asks: dict[int, int] = {}
        bits = self._rng.getrandbits(16)
        if bits & 3 == 0:
            self._shift(toward_ticks, bids, asks)
        self._touch(self.asks, asks, bits >> 2)
        self._touch(self.bids, bids, bits >> 8)
        self._put(self.bids, bids, self.bids.price(0), self._fresh_amount())
        first_id = self.last_update_id + 1
        self.last_update_id += len(bids) + len(asks)
        self.time_ns = time_ns
        return BookUpdate(
            first_update_id=first_id,
            last_update_id=self.last_update_id,
            bids=tuple(Level(price, amount) for price, amount in bids.items()),
            asks=tuple(Level(price, amount) for price, amount in asks.items()),
            time_ns=time_ns,
            best_bid_amount_e8=self.best_bid_amount_e8,
        )

    def _shift(self, toward_ticks: int, bids: dict[int, int], asks: dict[int, int]) -> None:
        """Take the best level of one side away, toward a price, and let the other side follow at two ticks."""
        best_bid, best_ask = self.bids.price(0), self.asks.price(0)
        if toward_ticks >= best_ask:
            self._put(self.asks, asks, best_ask, 0)
            self._put(self.bids, bids, self.asks.price(0) - _SPREAD_TICKS, self._deep_amount())
        elif toward_ticks <= best_bid and best_bid > self._levels + 1:
            self._put(self.bids, bids, best_bid, 0)
            self._put(self.asks, asks, self.bids.price(0) + _SPREAD_TICKS, self._deep_amount())
        self._refill(self.bids, bids, -1)
        self._refill(self.asks, asks, +1)

    def _touch(self, side: BookSide, changes: dict[int, int], bits: int) -> None:
        """Change one level below the best; now and then take it away and add one at the far end."""
        position = 1 + bits % (len(side) - 1)
        removes = bits & 7 == 0
        self._put(side, changes, side.price(position), 0 if removes else self._deep_amount())
        if removes:
            self._refill(side, changes, +1 if side is self.asks else -1)

    def _refill(self, side: BookSide, changes: dict[int, int], sign: int) -> None:
        while len(side) > self._levels:
            self._put(side, changes, side.price(-1), 0)
        while len(side) < self._levels and side.price(-1) + sign > 0:
            self._put(side, changes, side.price(-1) + sign, self._deep_amount())

    @staticmethod
    def _put(side: BookSide, changes: dict[int, int], price_ticks: int, amount_e8: int) -> None:
        side.put(price_ticks, amount_e8)
        changes[price_ticks] = amount_e8

    def _deep_amount(self) -> int:
        return (1 + self._rng.randrange(_DEEP_AMOUNT_STEPS)) * self._step_e8

    def _fresh_amount(self) -> int:
        self._keys_used += 1
        return (1 + self._keys_used * _KEY_STRIDE % _KEY_PRIME) * self._step_e8
