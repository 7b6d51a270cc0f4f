"""Keepers: one subscription each, made, made again when it was lost, and otherwise left alone.

A keeper re-awaits ccxt's `watch_*` about once a second instead of once a frame: rows go another way (see `taps`), the
method is only what subscribes. It is woken at once when a connection is lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from tickloom_collector.backoff import Backoff
from tickloom_core.config import CollectorConfig
from tickloom_venues.errors import TerminalVenueError, TransientVenueError

_PERIOD_S: Final = 1.0
_SETTLE_S: Final = 2.0
_REFUSALS_BELIEVED: Final = 3


class SubscribeGate:
    """Staggers the subscriptions of one venue: so many under way at most, so far apart at least."""

    def __init__(self, limits: CollectorConfig) -> None:
        self._slots = asyncio.Semaphore(limits.subscribe_in_flight)
        self._turn = asyncio.Lock()
        self._interval_s = limits.subscribe_interval_ms / 1000
        self._next_s = 0.0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn; the subscription is under way while the block runs."""
        loop = asyncio.get_running_loop()
        async with self._slots:
            async with self._turn:
                await asyncio.sleep(max(0.0, self._next_s - loop.time()))
                self._next_s = loop.time() + self._interval_s
            yield


class Keeper:
    """Keeps one subscription.

    Args:
        watch: awaits ccxt's next result, and subscribes when that is needed.
        judge: says what an error of `watch` means.
        gate: the venue's.

    Attributes:
        is_subscribed: whether the subscription stands, as far as is known.
    """

    def __init__(
        self,
        watch: Callable[[], Awaitable[object]],
        judge: Callable[[Exception], TransientVenueError | TerminalVenueError],
        gate: SubscribeGate,
        limits: CollectorConfig,
    ) -> None:
        self._watch = watch
        self._judge = judge
        self._gate = gate
        self._max_attempts = limits.max_reconnect_attempts
        self._backoff = Backoff(limits.backoff_base_s, limits.backoff_max_s)
        self._wake = asyncio.Event()
        self._refusals = 0
        self.is_subscribed = False

    def disturb(self) -> None:
        """Say that the subscription may be gone."""
        self.is_subscribed = False
        self._wake.set()

    async def run(self) -> None:
        """Keep the subscription until cancelled.

        Raises:
            TerminalVenueError: the venue refuses it, or too many attempts failed.
        """
        while True:
            self._wake.clear()
            watching = asyncio.ensure_future(self._watch()) if self.is_subscribed else await self._subscribe()
            waking: asyncio.Future[Any] = asyncio.ensure_future(self._wake.wait())
            try:
                await asyncio.wait([watching, waking], return_when=asyncio.FIRST_COMPLETED)
            finally:
                watching.cancel()
                waking.cancel()
            if watching.done():
                await self._conclude(watching)

    async def _subscribe(self) -> asyncio.Future[Any]:
        """Await the first row in turn, though not longer than 2 s: a market without trades holds nobody up."""
        async with self._gate.turn():
            watching = asyncio.ensure_future(self._watch())
            try:
                await asyncio.wait([watching], timeout=_SETTLE_S)
            except asyncio.CancelledError:
                watching.cancel()
                raise
        self.is_subscribed = True
        return watching

    async def _conclude(self, watching: asyncio.Future[Any]) -> None:
        # ccxt cancels what is awaited when it closes a connection by itself.
        error = ConnectionError("ccxt has closed the connection") if watching.cancelled() else watching.exception()
        if isinstance(error, Exception):
            await self._wait_after(self._judge(error))
        else:
            self._backoff.reset()
            self._refusals = 0
            await self._pause()

    async def _wait_after(self, error: TransientVenueError | TerminalVenueError) -> None:
        self.is_subscribed = False
        if isinstance(error, TerminalVenueError):
            # ccxt has one class for refusals and for a book that did not come together: a refusal must be repeated.
            self._refusals += 1
            if self._refusals >= _REFUSALS_BELIEVED:
                raise error
        delay_s = self._backoff.next_s(getattr(error, "retry_after_s", None))
        if 0 <= self._max_attempts < self._backoff.attempts:
            raise TerminalVenueError(f"{error} (given up after {self._max_attempts} attempts)", venue=error.venue)
        await asyncio.sleep(delay_s)

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(_PERIOD_S):
                await self._wake.wait()
        except TimeoutError:
            return
