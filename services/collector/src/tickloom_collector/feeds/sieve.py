"""Tells trades that were seen before, and trades that are missing, by the venue's ids.

Venues repeat trades: some send the most recent ones again after each subscription, some send a frame twice.
"""

from __future__ import annotations

from typing import Final, Protocol

CONTIGUOUS_TRADE_IDS: Final = frozenset({"binance", "binanceus"})
"""Venues that number the spot trades of each symbol without a gap, so that a jump is a loss.

Binance: "trade ID t" of the trade stream, consecutive per symbol; its derivatives leave numbers out (liquidations).
"""

_GENERATION_IDS: Final = 2_000


class Sieve(Protocol):
    """One symbol's memory of trades."""

    def admit(self, trade_id: str) -> int:
        """Return how many trades are missing before this one, or -1 when it was seen before."""


class RecentIds:
    """Remembers the last 2,000 to 4,000 ids of any kind; knows nothing of gaps."""

    __slots__ = ("_new", "_old")

    def __init__(self) -> None:
        self._new: set[str] = set()
        self._old: set[str] = set()

    def admit(self, trade_id: str) -> int:
        """Return 0, or -1 when the id was seen before."""
        new = self._new
        if trade_id in new or trade_id in self._old:
            return -1
        # Two generations forget in blocks, which is cheaper by the trade than forgetting one for one.
        if len(new) >= _GENERATION_IDS:
            self._old = new
            new = self._new = set()
        new.add(trade_id)
        return 0


class ContiguousIds:
    """Remembers the last id of a sequence without gaps."""

    __slots__ = ("last",)

    def __init__(self) -> None:
        self.last = -1

    def admit(self, trade_id: str) -> int:
        """Return how many ids lie between the last one and this, or -1 when this is not above the last."""
        return self.admit_number(int(trade_id))

    def admit_number(self, number: int) -> int:
        """Do the same for an id that is a number already."""
        last = self.last
        if number <= last:
            return -1
        self.last = number
        return number - last - 1 if last >= 0 else 0


def make_sieve(exchange: str, symbol: str) -> Sieve:
    """Return the sieve that fits the ids of a venue's symbol."""
    is_spot = ":" not in symbol
    return ContiguousIds() if exchange in CONTIGUOUS_TRADE_IDS and is_spot else RecentIds()
