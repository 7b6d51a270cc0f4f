"""Candles: a price path that is known at every minute without generating the minutes before it.

A one-minute candle is a pure function of the seed, the market and the minute, in whole ticks and 1e-8;
every longer candle is made of its minutes, so all timeframes agree.
"""

from __future__ import annotations

import asyncio
import math
import random
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from tickloom_simulator.market import AMOUNT_SCALE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tickloom_simulator.market import Market

MINUTES_PER_HOUR = 60
_COST_A_DAY = 20_000_000
# How many minutes are read before the sockets get their turn: a few milliseconds of work.
_MINUTES_A_TURN = 5_000


class Candle(NamedTuple):
    """Open, high, low and close in ticks, volume in 1e-8 of the base currency."""

    open_time_s: int
    open: int
    high: int
    low: int
    close: int
    volume_e8: int


class CandlePath:
    """The candles of one market."""

    def __init__(self, market: Market, seed: int) -> None:
        rng = random.Random(f"{seed}/{market.venue}/{market.symbol}/candles")  # noqa: S311  # reproducible, not secret
        self._start_ticks = market.start_price * market.ticks_per_unit
        # Waves of a month, a week, a day and five hours, in hours; together they stay within a fifth of the price.
        waves = ((0.09, 720.0), (0.05, 168.0), (0.03, 24.0), (0.012, 5.0))
        self._waves = [(height, period_h, rng.uniform(0, 2 * math.pi)) for height, period_h in waves]
        self._wiggle = [0.0, *(rng.uniform(-1, 1) for _ in range(MINUTES_PER_HOUR - 1))]
        self._weights = [rng.uniform(0.5, 1.5) for _ in range(MINUTES_PER_HOUR)]
        step_e8 = market.amount_step_e8
        coins_a_minute = _COST_A_DAY / market.start_price / (24 * MINUTES_PER_HOUR)
        steps_a_minute = coins_a_minute * AMOUNT_SCALE / step_e8
        self._volumes_e8 = [max(1, int(steps_a_minute * weight)) * step_e8 for weight in self._weights]
        self._read_prices = lru_cache(maxsize=1_024)(self._compute_prices)
        self._read_hour = lru_cache(maxsize=32_768)(self._compute_hour)

    def read_price(self, minute: int) -> int:
        """Return the price in ticks at the start of a minute since 1970."""
        return self._read_prices(minute // MINUTES_PER_HOUR)[0][minute % MINUTES_PER_HOUR]

    def read(self, open_time_s: int, timeframe_s: int) -> Candle:
        """Return the candle that opens at `open_time_s`; `timeframe_s` is a whole number of minutes."""
        minute, end = open_time_s // 60, (open_time_s + timeframe_s) // 60
        parts: list[Candle] = []
        while minute < end:
            hour, offset = divmod(minute, MINUTES_PER_HOUR)
            if offset == 0 and end - minute >= MINUTES_PER_HOUR:
                parts.append(self._read_hour(hour))
                minute += MINUTES_PER_HOUR
            else:
                parts.append(self._compute_minute(hour, offset))
                minute += 1
        return _join(open_time_s, parts)

    async def read_all(self, open_times_s: Iterable[int], timeframe_s: int) -> list[Candle]:
        """Return many candles without keeping the event loop from its sockets."""
        candles: list[Candle] = []
        minutes_read = 0
        for open_time_s in open_times_s:
            candles.append(self.read(open_time_s, timeframe_s))
            minutes_read += timeframe_s // 60
            if minutes_read >= _MINUTES_A_TURN:
                minutes_read = 0
                await asyncio.sleep(0)
        return candles

    def _compute_minute(self, hour: int, offset: int) -> Candle:
        prices, shadow = self._read_prices(hour)
        open_, close, weight = prices[offset], prices[offset + 1], self._weights[offset]
        return Candle(
            open_time_s=(hour * MINUTES_PER_HOUR + offset) * 60,
            open=open_,
            high=max(open_, close) + int(shadow * weight),
            low=max(1, min(open_, close) - int(shadow * (2 - weight))),
            close=close,
            volume_e8=self._volumes_e8[offset],
        )

    def _compute_hour(self, hour: int) -> Candle:
        minutes = [self._compute_minute(hour, offset) for offset in range(MINUTES_PER_HOUR)]
        return _join(hour * MINUTES_PER_HOUR * 60, minutes)

    def _compute_prices(self, hour: int) -> tuple[list[int], float]:
        """Return the 61 prices that bound the minutes of an hour, and the length of its shadows, in ticks."""
        start, end = self._wave(hour), self._wave(hour + 1)
        slope = (end - start) / MINUTES_PER_HOUR
        height = abs(end - start) * 0.3 + start * 0.0005
        prices = [max(1, round(start + slope * minute + height * wiggle)) for minute, wiggle in enumerate(self._wiggle)]
        return [*prices, max(1, round(end))], height * 0.4

    def _wave(self, hour: int) -> float:
        swing = sum(height * math.sin(2 * math.pi * hour / period_h + phase) for height, period_h, phase in self._waves)
        return self._start_ticks * (1 + swing)


def _join(open_time_s: int, parts: Sequence[Candle]) -> Candle:
    """Make one candle of consecutive ones."""
    return Candle(
        open_time_s=open_time_s,
        open=parts[0].open,
        high=max(part.high for part in parts),
        low=min(part.low for part in parts),
        close=parts[-1].close,
        volume_e8=sum(part.volume_e8 for part in parts),
    )
