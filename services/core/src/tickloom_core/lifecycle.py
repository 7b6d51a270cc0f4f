"""How a service begins, says that it lives, and ends: signals, exit codes, one clear line for an error."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final

import structlog
import uvloop

from tickloom_core.errors import PermanentError, TickloomError, TransientError

log = structlog.get_logger(__name__)

EXIT_OK: Final = 0
EXIT_UNAVAILABLE: Final = 1
EXIT_USAGE: Final = 2
EXIT_BUG: Final = 70
_STALE_BEAT_S: Final = 30.0


class Stop:
    """Becomes set when the service is asked to end."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    @property
    def is_set(self) -> bool:
        """Whether the service is to end."""
        return self._event.is_set()

    def set(self) -> None:
        """Ask the service to end."""
        self._event.set()

    async def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until asked to end; return False when `timeout_s` passes first."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._event.wait()
        except TimeoutError:
            return False
        return True


class Health:
    """What a service knows of itself: loops that turn, and conditions that must hold for it to do its job."""

    def __init__(self) -> None:
        self._beats: dict[str, float] = {}
        self._conditions: dict[str, Callable[[], bool]] = {}

    def beat(self, loop: str) -> None:
        """Note that a loop has turned."""
        self._beats[loop] = time.monotonic()

    def forget(self, loop: str) -> None:
        """Note that a loop has ended as it should."""
        self._beats.pop(loop, None)

    def require(self, name: str, condition: Callable[[], bool]) -> None:
        """Make readiness depend on `condition`."""
        self._conditions[name] = condition

    def find_stuck_loops(self) -> list[str]:
        """Return the loops that have not turned for 30 s."""
        limit_s = time.monotonic() - _STALE_BEAT_S
        return sorted(loop for loop, beat_s in self._beats.items() if beat_s < limit_s)

    def find_unmet_conditions(self) -> list[str]:
        """Return the conditions that do not hold."""
        return sorted(name for name, condition in self._conditions.items() if not condition())


def run(main: Callable[[Stop], Coroutine[Any, Any, None]]) -> int:
    """Run a service until it ends or SIGTERM or SIGINT comes, and return its exit code.

    The first signal asks it to drain, the second ends it at once. Errors that Tickloom raises on purpose become one
    line and an exit code: 1 when starting again later can succeed, 2 when somebody must mend something first.
    Anything else is a bug, logged with its traceback, exit code 70.
    """

    async def guarded() -> None:
        stop = Stop()
        loop = asyncio.get_running_loop()

        def ask_to_end() -> None:
            if stop.is_set:
                os._exit(EXIT_UNAVAILABLE)
            log.info("service.stopping")
            stop.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, ask_to_end)
        await main(stop)

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(guarded())
    except BaseExceptionGroup as group:
        return report(find_root_cause(group))
    except KeyboardInterrupt:
        return EXIT_UNAVAILABLE
    except Exception as error:  # noqa: BLE001 - the top of the process: every error is mapped to an exit code
        return report(error)
    return EXIT_OK


def find_root_cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the error of a task group that says most: one raised on purpose before any other."""
    leaves = [find_root_cause(error) if isinstance(error, BaseExceptionGroup) else error for error in group.exceptions]
    for kind in (PermanentError, TransientError, TickloomError):
        for leaf in leaves:
            if isinstance(leaf, kind):
                return leaf
    return leaves[0]


def report(error: BaseException) -> int:
    """Say what ended the service and return the exit code that goes with it."""
    if isinstance(error, TickloomError):
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - the last line, for people, whatever the log format
        return EXIT_UNAVAILABLE if isinstance(error, TransientError) else EXIT_USAGE
    log.error("service.failed", exc_info=error)
    return EXIT_BUG
