"""How long to wait before trying again: exponential, with full jitter, so that many collectors do not try in step.

Full jitter is the variant of "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015) that ends contention first:
the wait is drawn evenly between nothing and the exponential bound.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

_MAX_DOUBLINGS: Final = 32


class Backoff:
    """Waits of one thing that may fail again and again.

    Args:
        base_s: bound of the first wait.
        max_s: bound of every wait that nobody asked for.
        draw: returns a number between two bounds; for tests.

    Attributes:
        attempts: failures since the last success.
    """

    __slots__ = ("_base_s", "_draw", "_max_s", "attempts")

    def __init__(
        self,
        base_s: float,
        max_s: float,
        *,
        draw: Callable[[float, float], float] = random.uniform,  # noqa: S311 - jitter is no secret
    ) -> None:
        self._base_s = base_s
        self._max_s = max_s
        self._draw = draw
        self.attempts = 0

    def next_s(self, retry_after_s: float | None = None) -> float:
        """Count a failure and return the seconds to wait; never less than the other side asked for."""
        bound_s = min(self._max_s, self._base_s * 2.0 ** min(self.attempts, _MAX_DOUBLINGS))
        self.attempts += 1
        return max(self._draw(0.0, bound_s), retry_after_s or 0.0)

    def reset(self) -> None:
        """Count a success."""
        self.attempts = 0
