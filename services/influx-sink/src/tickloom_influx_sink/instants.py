"""Where on the time axis a row stands.

A point of InfluxDB is its series and its nanosecond, and a row must be the same point whenever it is written. Venues
give the time of a trade in milliseconds or microseconds, and many trades have the same one. The digits below are made
of the trade's key, the number of its id, or the CRC-32 of an id that is no number: consecutive ids are consecutive
nanoseconds, whoever writes them and however often.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Sequence
from typing import Final
from zlib import crc32

_NS_PER_US: Final = 1_000
_NS_PER_MS: Final = 1_000_000
_US_PER_MS: Final = 1_000
_FACTS: Final = struct.Struct("<ddB")


def make_key(trade_id: str, price: float, amount: float, side: int) -> int:
    """Return what tells a trade from others of its time: of its id, or of all that is known when it has none."""
    if trade_id.isascii() and trade_id.isdigit():
        return int(trade_id)
    return crc32(trade_id.encode() if trade_id else _FACTS.pack(price, amount, side))


def place_trades(times_us: Sequence[int], keys: Sequence[int]) -> list[int]:
    """Return the nanosecond of each trade: within its microsecond, or its millisecond where the venue counts those."""
    return [
        time_us * _NS_PER_US + key % (_NS_PER_US if time_us % _US_PER_MS else _NS_PER_MS)
        for time_us, key in zip(times_us, keys, strict=True)
    ]


def find_twins(heads: Sequence[str], times_ns: Sequence[int], identities: Sequence[str]) -> dict[int, int]:
    """Return which rows stand where another one of the same series does, with a number from 1 for each.

    Args:
        heads: the series of each row.
        times_ns: its nanosecond.
        identities: its id; rows with the same one are the same, rows with an empty one are different.
    """
    if len(set(times_ns)) == len(times_ns):
        return {}
    counts = Counter(times_ns)
    points: dict[tuple[str, int], dict[str | int, int]] = {}
    twins: dict[int, int] = {}
    for row, time_ns in enumerate(times_ns):
        if counts[time_ns] > 1:
            here = points.setdefault((heads[row], time_ns), {})
            number = here.setdefault(identities[row] or row, len(here))
            if number:
                twins[row] = number
    return twins
