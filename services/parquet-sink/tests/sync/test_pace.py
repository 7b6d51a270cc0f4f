"""How fast bytes may leave."""

from __future__ import annotations

import asyncio
import time

from tickloom_core.lifecycle import Health
from tickloom_parquet_sink.sync.pace import Pace


async def measure(pace, sizes):
    """Return the seconds at which each of several takers, side by side, was served."""
    start_s = time.monotonic()

    async def take(size_bytes):
        await pace.take(size_bytes)
        return time.monotonic() - start_s

    return await asyncio.gather(*map(take, sizes))


async def test_the_sum_of_all_keeps_to_the_rate():
    """Takers side by side share the rate, in the order in which they came."""
    served_s = await measure(Pace(1_000_000, Health()), [100_000] * 5)
    assert served_s == sorted(served_s)
    assert 0.45 < served_s[-1] < 1.5
    assert served_s[0] < served_s[-1] / 2


async def test_nothing_is_saved_up_while_idle():
    """After a pause bytes leave no faster than without it."""
    pace = Pace(1_000_000, Health())
    await pace.take(1)
    await asyncio.sleep(0.3)
    assert (await measure(pace, [300_000]))[0] > 0.25


async def test_no_bound():
    """Without a rate nobody waits."""
    assert (await measure(Pace(None, Health()), [10**12]))[0] < 0.1


def test_pieces_are_small_against_a_second():
    """A piece is an eighth of a second at most, within reason."""
    assert [Pace(rate, Health()).piece_bytes for rate in (100, 80_000, 10**9, None)] == [1024, 10_000, 262_144, 262_144]
