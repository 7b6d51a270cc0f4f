"""The wall clock, in the three notations that venues use."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import lru_cache

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
NS_PER_US = 1_000


def now_ns() -> int:
    """Read the wall clock in nanoseconds since 1970."""
    return time.time_ns()


@lru_cache(maxsize=256)
def _format_second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def format_us(time_ns: int) -> str:
    """Write a time as Kraken and Coinbase do in data: 2026-08-12T19:29:00.962486Z."""
    second, ns = divmod(time_ns, NS_PER_S)
    return f"{_format_second(second)}.{ns // NS_PER_US:06d}Z"


def format_ns(time_ns: int) -> str:
    """Write a time as Coinbase does in message headers: 2023-02-09T20:30:37.167359596Z."""
    second, ns = divmod(time_ns, NS_PER_S)
    return f"{_format_second(second)}.{ns:09d}Z"
