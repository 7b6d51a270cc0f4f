"""The store of the InfluxDB sink: all lines of a chunk first, then the point that commits it.

A chunk that comes again is the same lines again, and InfluxDB overwrites a point with its equal.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import structlog

from tickloom_core.bus.identity import StreamIdentity
from tickloom_core.config import InfluxSinkConfig
from tickloom_core.errors import PermanentError, TickloomError
from tickloom_core.lifecycle import find_root_cause
from tickloom_core.rejections import SetAside
from tickloom_core.sink import Chunk, Committed
from tickloom_influx_sink.client import Access, InfluxClient, compress, open_client
from tickloom_influx_sink.lines import Points, gather_points
from tickloom_influx_sink.positions import (
    ASK_PROBE,
    MEASUREMENT,
    ask_position,
    find_hour_ns,
    read_position,
    spell_position,
    spell_probe,
)
from tickloom_influx_sink.refusals import RefusedRow, describe_refusals

log = structlog.get_logger(__name__)

_CHUNKS: Final = 2
"""Chunks that are lines at once: while the last requests of one are answered the next one is spelled."""
_NO_FIELD: Final = "none of its fields is known: InfluxDB has no point without a field"


class InfluxStore:
    """Writes chunks into one bucket.

    Args:
        client: speaks to the bucket.
        set_aside: makes refused rows durable elsewhere.
        request_lines: most lines in a request.
        requests_in_flight: requests that one chunk keeps on their way.
    """

    def __init__(
        self, client: InfluxClient, set_aside: SetAside, *, request_lines: int, requests_in_flight: int
    ) -> None:
        self._client = client
        self._set_aside = set_aside
        self._request_lines = request_lines
        self._requests_in_flight = requests_in_flight
        self._chunks = asyncio.Semaphore(_CHUNKS)
        self._hours_ns: dict[int, int] = {}

    async def probe(self) -> None:
        """Find out whether the bucket can be read and written.

        Raises:
            TransientError: InfluxDB does not answer.
            PermanentError: it cannot be used; the message says what to mend.
        """
        await self._write_alone(spell_probe(find_hour_ns(time.time_ns())))
        await self._client.query(ASK_PROBE)

    async def open_partition(self, partition: int, stream: StreamIdentity) -> Committed:
        """Return what the newest position of this stream says.

        Raises:
            TransientError: try again.
            PermanentError: the bucket cannot be read.
        """
        rows = await self._client.query(ask_position(partition, stream))
        committed, self._hours_ns[partition] = read_position(rows)
        return committed

    async def write(self, chunk: Chunk) -> None:
        """Write the lines of a chunk, set aside what InfluxDB refuses for ever, then commit.

        Raises:
            TransientError: nothing is committed, try again.
            PermanentError: the bucket cannot be used any more.
        """
        async with self._chunks:
            points = await asyncio.to_thread(gather_points, chunk.batches)
            refused = await self._write_points(points)
            for rejected in describe_refusals(chunk, refused):
                await self._set_aside(rejected)
        hour_ns = max(self._hours_ns[chunk.partition], find_hour_ns(time.time_ns()))
        await self._write_alone(spell_position(chunk, hour_ns))
        self._hours_ns[chunk.partition] = hour_ns
        log.debug("influx.committed", partition=chunk.partition, last=chunk.last_sequence, rows=chunk.row_count)

    async def _write_alone(self, line: str) -> None:
        refusal = await self._client.write(compress(line))
        if refusal is not None:
            raise PermanentError(f"InfluxDB refuses the sink's own point in {MEASUREMENT}: {refusal.reason}")

    async def _write_points(self, points: Points) -> list[RefusedRow]:
        """Write all points, some requests at a time; return the rows that are no point or are refused."""
        rows = points.find_rows()
        refused = [RefusedRow(row, _NO_FIELD) for row in points.find_empty_rows()]
        starts = iter(range(0, len(rows), self._request_lines))

        async def carry() -> None:
            for start in starts:
                refused.extend(await self._write_rows(points, rows[start : start + self._request_lines]))

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._requests_in_flight):
                    group.create_task(carry())
        except* TickloomError as errors:
            raise find_root_cause(errors) from None
        return refused

    async def _write_rows(self, points: Points, rows: Sequence[int]) -> list[RefusedRow]:
        """Write some rows, and by halves when some are refused: writing a point again changes nothing."""
        refusal = await self._client.write(await asyncio.to_thread(_make_body, points, rows))
        if refusal is None:
            return []
        if len(rows) == 1 or refusal.dropped >= len(rows):
            return [RefusedRow(row, refusal.reason) for row in rows]
        middle = len(rows) // 2
        return [*await self._write_rows(points, rows[:middle]), *await self._write_rows(points, rows[middle:])]


@asynccontextmanager
async def open_store(config: InfluxSinkConfig, access: Access, set_aside: SetAside) -> AsyncIterator[InfluxStore]:
    """Provide a store whose connections are closed with the block."""
    async with open_client(config, access) as client:
        yield InfluxStore(
            client,
            set_aside,
            request_lines=config.request_lines,
            requests_in_flight=config.requests_in_flight,
        )


def _make_body(points: Points, rows: Sequence[int]) -> bytes:
    return compress(points.spell_lines(rows))
