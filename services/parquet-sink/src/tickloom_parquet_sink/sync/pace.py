"""How fast bytes may leave: one budget for all uploads of the process."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from tickloom_core.lifecycle import Health
from tickloom_parquet_sink.sync.metrics import BYTES, LOOP

_PIECE_BYTES: Final = 256 * 1024
_SMALLEST_PIECE_BYTES: Final = 1024
_PIECES_PER_S: Final = 8


class Pace:
    """Hands out bytes at a bounded rate: a token bucket that holds no more than the piece that is about to be sent.

    Nothing is saved up while the line is idle: a home's uplink is shared with the capture, which would feel a burst.

    Args:
        bytes_per_s: the rate; None: no bound.
        health: told that the loop turns.
    """

    def __init__(self, bytes_per_s: int | None, health: Health) -> None:
        self._bytes_per_s = bytes_per_s
        self._health = health
        self._free_at_s = 0.0

    @property
    def piece_bytes(self) -> int:
        """How much to send at once, so that the rate is even within a second."""
        if self._bytes_per_s is None:
            return _PIECE_BYTES
        return max(_SMALLEST_PIECE_BYTES, min(_PIECE_BYTES, self._bytes_per_s // _PIECES_PER_S))

    async def take(self, size_bytes: int) -> None:
        """Wait until so many bytes may be sent; who comes first is served first."""
        if self._bytes_per_s is not None:
            now_s = time.monotonic()
            self._free_at_s = max(now_s, self._free_at_s) + size_bytes / self._bytes_per_s
            await asyncio.sleep(self._free_at_s - now_s)
        self._health.beat(LOOP)
        BYTES.inc(size_bytes)
