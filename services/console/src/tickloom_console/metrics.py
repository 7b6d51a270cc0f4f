"""What the processes count, read from their /metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from tickloom_console.process import Process

_TIMEOUT: Final = aiohttp.ClientTimeout(total=2)
_COLLECTED: Final = "tickloom_collected_rows_total"
_STORED: Final = "tickloom_sink_rows_total"


@dataclass(frozen=True, slots=True)
class Sample:
    """Rows that one process has counted since it started."""

    collected: int = 0
    stored: int = 0


async def sample_all(session: aiohttp.ClientSession, processes: Iterable[Process]) -> dict[str, Sample]:
    """Return a sample of each process that answers, by name."""
    serving = [process for process in processes if process.state == "running" and process.port > 0]
    samples = await asyncio.gather(*(_sample(session, process.port) for process in serving))
    return {
        process.program.name: sample for process, sample in zip(serving, samples, strict=True) if sample is not None
    }


async def _sample(session: aiohttp.ClientSession, port: int) -> Sample | None:
    try:
        async with session.get(f"http://127.0.0.1:{port}/metrics", timeout=_TIMEOUT) as answer:
            text = await answer.text()
    except (aiohttp.ClientError, TimeoutError):
        return None
    totals = dict.fromkeys((_COLLECTED, _STORED), 0.0)
    for family in text_string_to_metric_families(text):
        for metric in family.samples:
            if metric.name in totals:
                totals[metric.name] += metric.value
    return Sample(int(totals[_COLLECTED]), int(totals[_STORED]))
