"""One program that is kept running: started again with growing waits, its output in a file of its own."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from tickloom_console.flags import RestartPolicy
from tickloom_core.lifecycle import EXIT_USAGE

State = Literal["waiting", "running", "restarting", "stopped", "failed"]

_MOST_DOUBLINGS: Final = 16
_STABLE_S: Final = 60.0
"""A process that ran so long starts its waits anew."""
_TAIL_BYTES: Final = 8192
_PORTS: Final = range(20_000, 30_000)
"""Below the range from which systems give out ports by themselves, so that a free one stays free."""


@dataclass(frozen=True, slots=True)
class Program:
    """What to run.

    Attributes:
        name: names the process and its log file.
        grace_s: how long it may take to end after SIGTERM.
        serves_metrics: whether it takes `--http_port`.
    """

    name: str
    command: tuple[str, ...]
    grace_s: float = 10.0
    serves_metrics: bool = True


class Process:
    """Supervises one program (REQUIREMENTS S10).

    Args:
        program: what to run.
        policy: the waits between restarts.
        log_dir: folder of the log file, which is appended to.
        say: takes a line for people.
        on_failure: called with one line when the program ends because of a wrong configuration: it is not restarted.
    """

    def __init__(
        self,
        program: Program,
        policy: RestartPolicy,
        log_dir: Path,
        *,
        say: Callable[[str], None],
        on_failure: Callable[[str], None],
    ) -> None:
        self.program = program
        self.log_path = log_dir / f"{program.name}.log"
        self.state: State = "waiting"
        self.restarts = 0
        self.port = -1
        self._policy = policy
        self._say = say
        self._on_failure = on_failure
        self._stopping = asyncio.Event()
        self._ended = asyncio.Event()
        self._child: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._child.pid if self._child else None

    async def supervise(self) -> None:
        """Run the program until `stop`, starting it again whenever it ends by itself."""
        attempts = 0
        try:
            while not self._stopping.is_set():
                began_s = time.monotonic()
                code = await self._run_once()
                if self._stopping.is_set():
                    break
                if code == EXIT_USAGE:
                    self.state = "failed"
                    self._on_failure(f"{self.program.name}: {self.read_last_error()}")
                    return
                attempts = 0 if time.monotonic() - began_s > _STABLE_S else attempts
                wait_s = min(self._policy.max_s, self._policy.base_s * 2 ** min(attempts, _MOST_DOUBLINGS))
                attempts += 1
                self._say(
                    f"{self.program.name} ended with code {code} ({self.read_last_error()}); again in {wait_s:g} s"
                )
                await self._wait_for_restart(wait_s)
            self.state = "stopped"
        finally:
            self._ended.set()

    async def stop(self) -> None:
        """Ask the program to end, kill it when its grace is over; return when it has ended."""
        self._stopping.set()
        if self.state == "waiting":
            return
        self._signal_end()
        try:
            async with asyncio.timeout(self.program.grace_s):
                await self._ended.wait()
        except TimeoutError:
            self._say(f"{self.program.name} did not end within {self.program.grace_s:g} s and is killed")
            if self._child is not None:
                self._child.kill()
            await self._ended.wait()

    def read_last_error(self) -> str:
        """Return the last error line of the log, or else its last line."""
        try:
            with self.log_path.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
                lines = file.read().decode(errors="replace").split("\n")
        except OSError:
            return "no log"
        written = [line.strip() for line in lines if line.strip()]
        errors = [line.removeprefix("error: ") for line in written if line.startswith("error: ")]
        return (errors or written or ["nothing in its log"])[-1]

    async def _run_once(self) -> int:
        self.port = find_free_port() if self.program.serves_metrics else -1
        flags = (f"--http_port={self.port}",) if self.program.serves_metrics else ()
        tether = (sys.executable, "-m", "tickloom_console.tether", str(os.getpid()))
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log:
            self._child = await asyncio.create_subprocess_exec(
                *tether,
                *self.program.command,
                *flags,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.state = "running"
        try:
            if self._stopping.is_set():
                self._signal_end()
            return await self._child.wait()
        except asyncio.CancelledError:
            self._child.kill()
            await self._child.wait()
            raise
        finally:
            self._child = None

    async def _wait_for_restart(self, wait_s: float) -> None:
        self.state = "restarting"
        self.restarts += 1
        try:
            async with asyncio.timeout(wait_s):
                await self._stopping.wait()
        except TimeoutError:
            return

    def _signal_end(self) -> None:
        if self._child is not None and self._child.returncode is None:
            self._child.terminate()


def find_free_port() -> int:
    """Return a port of the loopback interface on which nothing listens."""
    while True:
        port = random.choice(_PORTS)  # noqa: S311 (no secret)
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
