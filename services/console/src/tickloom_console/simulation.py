"""The simulated exchange of the demo: how it is run, and what it says it sent."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import aiohttp

from tickloom_console.process import Program, find_free_port
from tickloom_core.errors import TransientError

VENUES: Final = ("binance", "coinbase", "kraken")
CHANNELS: Final = ("trades", "tickers", "books")
_AGENT: Final = "tickloom-collector"
_READY_S: Final = 20.0
_POLL_S: Final = 0.1
_TIMEOUT: Final = aiohttp.ClientTimeout(total=30)

Key: TypeAlias = str | float
"""What tells the rows of one symbol and channel apart."""


@dataclass(frozen=True, slots=True)
class Simulation:
    """A simulated exchange: the addresses that it is told to take."""

    control_port: int
    venue_ports: Mapping[str, int]

    @classmethod
    def plan(cls) -> Simulation:
        """Choose the addresses."""
        return cls(find_free_port(), {venue: find_free_port() for venue in VENUES})

    def make_program(self) -> Program:
        """Return how to run it."""
        ports = ",".join(f"{venue}={port}" for venue, port in self.venue_ports.items())
        flags = (f"--port={self.control_port}", f"--venue_ports={ports}", f"--venues={','.join(self.venue_ports)}")
        return Program("simulator", (sys.executable, "-m", "tickloom_simulator", *flags), serves_metrics=False)

    def find_endpoint(self, venue: str) -> str:
        """Return the address of a venue."""
        return f"http://127.0.0.1:{self.venue_ports[venue]}"

    async def wait_until_ready(self, session: aiohttp.ClientSession) -> None:
        """Return as soon as it answers.

        Raises:
            TransientError: it does not within 20 s.
        """
        deadline_s = time.monotonic() + _READY_S
        while True:
            try:
                await self._get(session, "status")
            except (aiohttp.ClientError, TimeoutError) as error:
                if time.monotonic() > deadline_s:
                    raise TransientError(f"the simulator does not answer within {_READY_S:g} s") from error
                await asyncio.sleep(_POLL_S)
            else:
                return

    async def count_sent(self, session: aiohttp.ClientSession) -> dict[tuple[str, str], int]:
        """Return rows sent to the collectors by venue and channel."""
        sent = {(venue, channel): 0 for venue in VENUES for channel in CHANNELS}
        for row in await self._get(session, f"truth?agent={_AGENT}"):
            sent[row["venue"], row["channel"]] += row["sent"]
        return sent

    async def read_keys(self, session: aiohttp.ClientSession, venue: str, channel: str) -> dict[str, frozenset[Key]]:
        """Return the keys of all rows sent to the collectors, by symbol."""
        answer = await self._get(session, f"truth/keys?agent={_AGENT}&venue={venue}&channel={channel}")
        return {symbol: frozenset(keys["sent"]) for symbol, keys in answer.items()}

    async def pause(self, session: aiohttp.ClientSession) -> None:
        """Stop sending; return when all that was made has been written to the sockets."""
        async with session.post(self._find_url("pause"), timeout=_TIMEOUT) as answer:
            answer.raise_for_status()

    async def _get(self, session: aiohttp.ClientSession, path: str) -> Any:  # noqa: ANN401 (JSON)
        async with session.get(self._find_url(path), timeout=_TIMEOUT) as answer:
            answer.raise_for_status()
            return await answer.json()

    def _find_url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.control_port}/{path}"
