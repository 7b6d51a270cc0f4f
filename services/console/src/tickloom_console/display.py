"""Shows a running system: a live table on a terminal, a line now and then when piped."""

from __future__ import annotations

import asyncio
import time
from typing import Final

import aiohttp
from rich.console import Console
from rich.live import Live
from rich.table import Table

from tickloom_console.metrics import Sample, sample_all
from tickloom_console.system import System
from tickloom_console.tables import make_table

_LIVE_PERIOD_S: Final = 1.0
_PLAIN_PERIOD_S: Final = 5.0
_COLUMNS: Final = ("process", "state", "pid", "restarts", "rows/s", "collected", "stored")


class Display:
    """Watches one system and prints to standard output."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, markup=False)
        self._earlier: dict[str, Sample] = {}
        self._earlier_s = time.monotonic()

    def say(self, line: str) -> None:
        """Print a line, above the table if there is one."""
        self._console.print(line, soft_wrap=True)

    async def run(self, system: System) -> None:
        """Show the system until cancelled."""
        async with aiohttp.ClientSession() as session:
            if not self._console.is_terminal:
                await self._print_lines(system, session)
                return
            with Live(console=self._console, auto_refresh=False) as live:
                while True:
                    live.update(self._draw(system, await sample_all(session, system.processes)), refresh=True)
                    await asyncio.sleep(_LIVE_PERIOD_S)

    async def _print_lines(self, system: System, session: aiohttp.ClientSession) -> None:
        began_s = time.monotonic()
        while True:
            await asyncio.sleep(_PLAIN_PERIOD_S)
            samples = await sample_all(session, system.processes)
            rates = self._measure(samples)
            collected = sum(sample.collected for sample in samples.values())
            # What every sink has stored.
            sinks = [process.program.name for process in system.stages.get("sinks", [])]
            stored = min((samples.get(name, Sample()).stored for name in sinks), default=0)
            rows_per_s = sum(rates.values())
            running = sum(process.state == "running" for process in system.processes)
            self.say(
                f"{time.monotonic() - began_s:.0f} s: {running} of {len(system.processes)} processes, "
                f"{rows_per_s:,.0f} rows/s, {collected:,} rows collected, {stored:,} stored"
            )

    def _draw(self, system: System, samples: dict[str, Sample]) -> Table:
        rates = self._measure(samples)
        rows: list[list[object]] = []
        for process in system.processes:
            name = process.program.name
            sample = samples.get(name, Sample())
            row: list[object] = [name, process.state, str(process.pid or ""), process.restarts]
            rows.append([*row, round(rates.get(name, 0.0)), sample.collected, sample.stored])
        return make_table(_COLUMNS, rows)

    def _measure(self, samples: dict[str, Sample]) -> dict[str, float]:
        """Return collected rows a second by process since the last call; a restarted process begins at nothing."""
        now_s = time.monotonic()
        seconds = max(now_s - self._earlier_s, 1e-3)
        rates = {
            name: max(0, sample.collected - self._earlier.get(name, Sample()).collected) / seconds
            for name, sample in samples.items()
        }
        self._earlier, self._earlier_s = samples, now_s
        return rates
