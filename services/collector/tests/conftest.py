"""Fixtures of the collector's tests: the simulator as a process, and the ways to its truth."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

DEADLINE_S = 30.0


async def eventually(condition: Callable[[], Awaitable[Any]], *, what: str, within_s: float = DEADLINE_S) -> Any:
    """Ask until the answer is true, and fail with `what` when it is not in time."""
    end_s = time.monotonic() + within_s
    while not (answer := await condition()):
        assert time.monotonic() < end_s, f"not within {within_s} s: {what}"
        await asyncio.sleep(0.05)
    return answer


@dataclass(frozen=True)
class Simulator:
    """A running simulator and its control API."""

    venues: dict[str, str]
    control: str
    session: aiohttp.ClientSession

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        """Send one command."""
        async with self.session.request(method, self.control + path, json=body) as response:
            answer = await response.json()
            assert response.status == 200, answer
            return answer

    async def add_fault(self, kind: str, venue: str, **fields: Any) -> Any:
        """Put a fault into force."""
        return await self.call("POST", "/faults", {"kind": kind, "venue": venue, **fields})

    async def read_keys(self, venue: str, channel: str, agent: str, *, kind: str = "sent") -> dict[str, list[Any]]:
        """Return what was sent, by symbol; `superseded`: what only stood in an answer to a subscription."""
        found = await self.call("GET", f"/truth/keys?agent={agent}&venue={venue}&channel={channel}")
        return {symbol: keys[kind] for symbol, keys in found.items() if keys["sent"]}


@asynccontextmanager
async def run_simulator(*flags: str) -> AsyncIterator[Simulator]:
    """Run a simulator while the block runs."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tickloom_simulator", *flags, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(DEADLINE_S):
            ready = json.loads(await process.stdout.readline())
        async with aiohttp.ClientSession() as session:
            yield Simulator(ready["venues"], ready["control"], session)
    finally:
        process.terminate()
        async with asyncio.timeout(DEADLINE_S):
            await process.wait()


@pytest.fixture
def start_simulator() -> Callable[..., AbstractAsyncContextManager[Simulator]]:
    return run_simulator


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with run_simulator("--trades_per_s=600", "--tickers_per_s=100", "--books_per_s=100") as running:
        yield running
