"""Everything on one machine: NATS, the planner, the collectors and the sinks, started and stopped in order."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import msgspec
import yaml

from tickloom_console.flags import RestartPolicy
from tickloom_console.process import Process, Program
from tickloom_console.server import BusChoice, choose_bus, wait_for_bus, wait_until_listening
from tickloom_console.standing import read_consumers
from tickloom_core.bus.connection import Connection
from tickloom_core.config import Config
from tickloom_core.config_file import load_config
from tickloom_core.errors import BusUnavailableError, ConfigError
from tickloom_core.lifecycle import Stop

_SINKS: Final = ("parquet", "influx", "sql")
_COMMIT_DEADLINE_S: Final = 60.0
_COMMIT_POLL_S: Final = 0.1
_GRACE_MARGIN_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Setup:
    """What is to run.

    Attributes:
        config_path: the file that the services read.
        config: what stands in it.
        workers: number of collectors.
        lock: keeps a second one out of the data folder, as long as it is open.
    """

    config_path: Path
    config: Config
    workers: int
    bus: BusChoice
    restart: RestartPolicy
    lock: BinaryIO


class System:
    """The running processes.

    Attributes:
        failure: why the system cannot go on, once it cannot.
    """

    def __init__(self, setup: Setup, stop: Stop, say: Callable[[str], None]) -> None:
        self.failure: str | None = None
        self.stages: dict[str, list[Process]] = {}
        self._setup = setup
        self._stop = stop
        self._say = say
        self._connection: Connection | None = None
        self._commands = _Commands(setup)

    @property
    def processes(self) -> list[Process]:
        """All processes, in the order in which they were started."""
        return [process for stage in self.stages.values() for process in stage]

    async def start(self, group: asyncio.TaskGroup) -> None:
        """Start everything: the bus first, then what hangs on it.

        Raises:
            BusUnavailableError: NATS does not answer.
        """
        server = self._setup.bus.program
        if server is not None:
            self._launch(group, "nats", [server])
            await wait_until_listening(self._setup.bus.url)
        self._connection = await wait_for_bus(self._setup.config.nats, name="console")
        self._launch(group, "sinks", self._commands.make_sinks())
        self._launch(group, "collectors", self._commands.make_collectors())
        self._launch(group, "planner", [self._commands.make_planner()])
        names = ", ".join(process.program.name for process in self.processes)
        self._say(f"started {names}; logs in {self._log_dir}")

    async def stop(self) -> None:
        """Stop in the order in which data flows, so that all of it is stored; the second half waits for the first."""
        await self._stop_stage("planner")
        await self._stop_stage("collectors")
        if self._connection is not None:
            await self._wait_until_committed(self._connection)
            await self._connection.close()
        await self._stop_stage("sinks")
        await self._stop_stage("nats")

    async def _wait_until_committed(self, connection: Connection) -> None:
        deadline_s = time.monotonic() + _COMMIT_DEADLINE_S
        behind = -1
        while time.monotonic() < deadline_s and all(process.state != "failed" for process in self.stages["sinks"]):
            try:
                standings = await read_consumers(connection, self._setup.config.bus)
            except BusUnavailableError as error:
                self._say(f"not known whether everything is stored: {error}")
                return
            behind = sum(standing.behind for standing in standings)
            if behind == 0:
                return
            await asyncio.sleep(_COMMIT_POLL_S)
        self._say(
            f"{behind if behind >= 0 else 'some'} messages are not stored; they stay on the bus for the next time"
        )

    def _launch(self, group: asyncio.TaskGroup, stage: str, programs: list[Program]) -> None:
        policy, log_dir = self._setup.restart, self._log_dir
        self.stages[stage] = [
            Process(program, policy, log_dir, say=self._say, on_failure=self._fail) for program in programs
        ]
        for process in self.stages[stage]:
            group.create_task(process.supervise(), name=process.program.name)

    async def _stop_stage(self, stage: str) -> None:
        await asyncio.gather(*(process.stop() for process in self.stages.get(stage, [])))

    def _fail(self, reason: str) -> None:
        self.failure = self.failure or reason
        self._stop.set()

    @property
    def _log_dir(self) -> Path:
        return Path(self._setup.config.data_dir) / "logs"


class _Commands:
    """The command lines of the services."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        # One log file a process, at least INFO (REQUIREMENTS S10), whatever the console shows.
        level = "debug" if setup.config.log.level == "debug" else "info"
        self._common = (f"--config={setup.config_path}", f"--log_level={level}")

    def make_planner(self) -> Program:
        return self._make("tickloom_planner", "planner", f"--workers={self._setup.workers}")

    def make_collectors(self) -> list[Program]:
        grace_s = self._setup.config.collector.drain_timeout_s + _GRACE_MARGIN_S
        names = [f"collector-{number}" for number in range(self._setup.workers)]
        return [self._make("tickloom_collector", name, grace_s=grace_s) for name in names]

    def make_sinks(self) -> list[Program]:
        sinks = self._setup.config.bus.sinks
        return [self._make(f"tickloom_{sink}_sink", f"{sink}-sink", grace_s=2 * _GRACE_MARGIN_S) for sink in sinks]

    def _make(self, module: str, name: str, *flags: str, grace_s: float = _GRACE_MARGIN_S) -> Program:
        return Program(name, (sys.executable, "-m", module, *self._common, f"--name={name}", *flags), grace_s)


async def prepare(config_path: Path, *, workers: int | None, nats: str | None, restart: RestartPolicy) -> Setup:
    """Read the configuration and decide what is to run.

    A service is told where NATS is by its configuration file: when that is not where the user's file says, a copy with
    the right address is written to `<data_dir>/up.yaml`.

    Raises:
        ConfigError: the configuration or an address is wrong.
    """
    config = load_config(config_path)
    for sink in config.bus.sinks:
        if sink not in _SINKS:
            raise ConfigError(
                f"there is no sink `{sink}`, only {', '.join(_SINKS)}", place=str(config_path), path="bus.sinks"
            )
    data_dir = _make_folder(Path(config.data_dir))
    lock = _lock_folder(data_dir)
    bus = await choose_bus(config.nats, nats, data_dir)
    if bus.url != config.nats.url:
        config_path = _write_copy(config_path, bus.url, data_dir / "up.yaml")
        config = msgspec.structs.replace(config, nats=msgspec.structs.replace(config.nats, url=bus.url))
    if workers is None:
        configured = config.planner.workers
        workers = max(1, (os.cpu_count() or 1) // 2) if configured == "auto" else configured
    return Setup(config_path, config, workers, bus, restart, lock)


def _lock_folder(folder: Path) -> BinaryIO:
    """Keep a second `tickloom up` out; the system opens the lock of a process that dies."""
    lock = (folder / ".up.lock").open("wb")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.close()
        raise ConfigError(
            "another `tickloom up` runs on this folder; stop it, or set another data_dir", place=str(folder)
        ) from error
    return lock


def _make_folder(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"the folder cannot be made: {error.strerror}", place=str(path), path="data_dir") from error
    return path


def _write_copy(config_path: Path, url: str, path: Path) -> Path:
    document = yaml.safe_load(config_path.read_text())
    document["nats"] = {**(document.get("nats") or {}), "url": url}
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


@asynccontextmanager
async def run_system(setup: Setup, stop: Stop, say: Callable[[str], None]) -> AsyncIterator[System]:
    """Run everything while the block runs, and stop it in order afterwards.

    A process that ends because of a wrong configuration sets `stop`; after the block that is raised.

    Raises:
        BusUnavailableError: NATS does not answer.
        ConfigError: a process ended because of its configuration.
    """
    async with asyncio.TaskGroup() as group:
        system = System(setup, stop, say)
        try:
            await system.start(group)
            yield system
        finally:
            await system.stop()
    if system.failure is not None:
        raise ConfigError(system.failure)
