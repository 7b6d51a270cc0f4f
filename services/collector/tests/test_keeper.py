"""Keepers, with watch functions that the tests hold in their hands: what ccxt does in an hour, in a moment."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import ccxt
import pytest

from tickloom_collector.feeds.keeper import Keeper, SubscribeGate
from tickloom_core.config import CollectorConfig
from tickloom_venues.errors import TerminalVenueError, TransientVenueError, classify

LIMITS = CollectorConfig(subscribe_interval_ms=1, backoff_base_s=0.001, backoff_max_s=0.01)


def judge(error: Exception) -> TransientVenueError | TerminalVenueError:
    return classify(error, venue="v")


def make_keeper(watch: Callable[[], Awaitable[object]], limits: CollectorConfig = LIMITS) -> Keeper:
    return Keeper(watch, judge, SubscribeGate(limits), limits)


class Script:
    """A watch function that plays a list of outcomes, and waits for ever behind them."""

    def __init__(self, *outcomes: Exception | str) -> None:
        self.outcomes = list(outcomes)
        self.played = asyncio.Event()
        self.calls = 0

    async def __call__(self) -> object:
        self.calls += 1
        if not self.outcomes:
            self.played.set()
            await asyncio.get_running_loop().create_future()
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        if outcome == "cancelled":
            future = asyncio.get_running_loop().create_future()
            future.cancel()
            await future
        return outcome


async def run_until_played(script: Script, keeper: Keeper) -> None:
    task = asyncio.create_task(keeper.run())
    try:
        async with asyncio.timeout(10):
            await script.played.wait()
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_transient_errors_are_tried_again() -> None:
    """A lost network, a venue that is away and a connection that ccxt itself cancels are all tried again."""
    script = Script(ccxt.NetworkError("lost"), ccxt.ExchangeNotAvailable("away"), "cancelled", ValueError("nonsense"))
    await run_until_played(script, make_keeper(script))
    assert script.calls == 5


async def test_a_refusal_is_believed_the_third_time() -> None:
    """Two refusals with a success between them prove nothing; three on end do."""
    refusal = ccxt.BadSymbol("no such market")
    script = Script(refusal, refusal, "row", refusal, refusal, refusal)
    keeper = make_keeper(script)
    with pytest.raises(TerminalVenueError, match="no such market"):
        async with asyncio.timeout(10):
            await keeper.run()
    assert script.calls == 6


async def test_attempts_are_bounded_where_the_configuration_says_so() -> None:
    """max_reconnect_attempts ends a subscription that only fails."""
    limits = CollectorConfig(
        subscribe_interval_ms=1, backoff_base_s=0.001, backoff_max_s=0.01, max_reconnect_attempts=3
    )
    script = Script(*[ccxt.NetworkError("lost")] * 10)
    with pytest.raises(TerminalVenueError, match="given up after 3 attempts"):
        async with asyncio.timeout(10):
            await make_keeper(script, limits).run()
    assert script.calls == 4


async def test_a_disturbed_keeper_subscribes_again_at_once() -> None:
    """A keeper that waits for a row is woken by the loss of a connection, long before anything times out."""
    script = Script("row")
    keeper = make_keeper(script)
    task = asyncio.create_task(keeper.run())
    async with asyncio.timeout(5):
        await script.played.wait()
        script.played.clear()
        calls = script.calls
        keeper.disturb()
        await script.played.wait()
    assert script.calls == calls + 1
    task.cancel()
    await asyncio.wait([task])


async def test_at_most_so_many_subscriptions_are_under_way() -> None:
    """The gate lets subscribe_in_flight through and the next only when one has ended."""
    gate = SubscribeGate(CollectorConfig(subscribe_interval_ms=0, subscribe_in_flight=2))
    under_way = most = 0

    async def subscribe() -> None:
        nonlocal under_way, most
        async with gate.turn():
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0.001)
            under_way -= 1

    await asyncio.gather(*(subscribe() for _ in range(20)))
    assert most == 2
