"""`tickloom demo`: a simulated exchange, everything against it, and an account of every row."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec
import yaml

from tickloom_console.display import Display
from tickloom_console.flags import DemoOptions
from tickloom_console.metrics import sample_all
from tickloom_console.process import Process, find_free_port
from tickloom_console.query import Storage
from tickloom_console.reckoning import Account, find_differences, settle
from tickloom_console.root import LocalRoot
from tickloom_console.simulation import CHANNELS, VENUES, Simulation
from tickloom_console.system import System, prepare, run_system
from tickloom_console.tables import print_table
from tickloom_core.errors import ConfigError, PermanentError, TransientError
from tickloom_core.lifecycle import Stop

_DIR: Final = Path("data/demo")
_DATABASE: Final = _DIR / "tickloom.sqlite"
_DEFAULT_S: Final = 20.0
_FIRST_DATA_S: Final = 60.0
_QUIET_S: Final = 1.0
_QUIET_DEADLINE_S: Final = 15.0
_POLL_S: Final = 0.2


async def run_demo(options: DemoOptions, stop: Stop) -> None:
    """Collect for `DEMO_SECONDS` from three simulated venues and compare what is stored with what was sent.

    Leaves Parquet, a SQLite database and `summary.json` in data/demo; an earlier demo's are removed first.

    Raises:
        ConfigError: `DEMO_SECONDS` is no number of seconds.
        PermanentError: a row is missing or stored twice, or SQLite and Parquet differ.
        TransientError: no data came.
    """
    seconds = _read_seconds()
    shutil.rmtree(_DIR, ignore_errors=True)
    display = Display()
    simulation = Simulation.plan()
    config_path = _write_config(simulation)
    setup = await prepare(config_path, workers=1, nats="embedded", restart=options.restart)
    async with aiohttp.ClientSession() as session, _run_simulator(simulation, options, display, stop):
        await simulation.wait_until_ready(session)
        async with run_system(setup, stop, display.say) as system:
            await _collect(_Run(simulation, session, system, stop, display), seconds)
        display.say("stopped; comparing with what the simulator sent")
        accounts = await _settle_all(simulation, session, Path(setup.config.parquet_uri))
    _report(accounts)
    _compare_stores(Path(setup.config.parquet_uri), display)


class _Run:
    """What one run of the demo works with."""

    def __init__(
        self, simulation: Simulation, session: aiohttp.ClientSession, system: System, stop: Stop, display: Display
    ) -> None:
        self.simulation = simulation
        self.session = session
        self.system = system
        self.stop = stop
        self.display = display


async def _collect(run: _Run, seconds: float) -> None:
    """Wait for data of every venue and channel, let it flow, then stop the flow and let all of it arrive."""
    display = run.display
    display.say("waiting for the plan and the first rows of every venue and channel")
    async with asyncio.TaskGroup() as group:
        await _wait_for_data(run)
        display.say(f"collecting for {seconds:g} s")
        showing = group.create_task(display.run(run.system))
        await run.stop.wait(seconds)
        await run.simulation.pause(run.session)
        await _wait_until_quiet(run)
        showing.cancel()


async def _wait_for_data(run: _Run) -> None:
    deadline_s = time.monotonic() + _FIRST_DATA_S
    while not run.stop.is_set:
        sent = await run.simulation.count_sent(run.session)
        silent = [f"{venue} {channel}" for (venue, channel), rows in sent.items() if not rows]
        if not silent:
            return
        if time.monotonic() > deadline_s:
            logs = _DIR / "logs"
            raise TransientError(f"after {_FIRST_DATA_S:g} s nothing was sent of {', '.join(silent)}; see {logs}")
        await run.stop.wait(_POLL_S)
    if run.system.failure is not None:
        raise ConfigError(run.system.failure)
    raise PermanentError("the demo was ended before rows of every venue and channel came")


async def _wait_until_quiet(run: _Run) -> None:
    """Wait until the collectors have counted nothing new for a second: what was sent is still in sockets at first."""
    deadline_s = time.monotonic() + _QUIET_DEADLINE_S
    collected, since_s = -1, time.monotonic()
    while time.monotonic() - since_s < _QUIET_S and time.monotonic() < deadline_s:
        samples = await sample_all(run.session, run.system.processes)
        now = sum(sample.collected for sample in samples.values())
        if now != collected:
            collected, since_s = now, time.monotonic()
        await asyncio.sleep(_POLL_S)


async def _settle_all(simulation: Simulation, session: aiohttp.ClientSession, root: Path) -> list[Account]:
    storage = Storage(LocalRoot(root))
    try:
        return [
            settle(storage, venue, channel, await simulation.read_keys(session, venue, channel))
            for venue in VENUES
            for channel in CHANNELS
        ]
    finally:
        storage.close()


def _compare_stores(root: Path, display: Display) -> None:
    """See that SQLite holds as many rows of each venue, channel and symbol as Parquet."""
    storage = Storage(LocalRoot(root))
    try:
        differences = find_differences(storage, _DATABASE)
    finally:
        storage.close()
    if differences:
        raise PermanentError(f"SQLite and Parquet differ: {'; '.join(differences)}; see {_DIR / 'logs'}")
    display.say(f"{_DATABASE} holds as many rows of every venue, channel and symbol")


def _report(accounts: list[Account]) -> None:
    path = _DIR / "summary.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(accounts), indent=2) + b"\n")
    print_table(Account.__struct_fields__, [msgspec.structs.astuple(account) for account in accounts])
    missing, duplicated = sum(a.missing for a in accounts), sum(a.duplicated for a in accounts)
    silent = [f"{account.venue} {account.channel}" for account in accounts if not account.sent]
    if missing or duplicated or silent:
        what = f"{missing} rows are missing, {duplicated} are stored twice" + (
            f", nothing was sent of {', '.join(silent)}" if silent else ""
        )
        raise PermanentError(f"{what}; see {path} and {_DIR / 'logs'}")


def _read_seconds() -> float:
    text = os.environ.get("DEMO_SECONDS", str(_DEFAULT_S))
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise ConfigError(f"`{text}` is no number of seconds above 0", place="DEMO_SECONDS")
    return seconds


def _write_config(simulation: Simulation) -> Path:
    venues: dict[str, Any] = {
        venue: {
            "endpoint": simulation.find_endpoint(venue),
            "channels": {channel: {"symbols": "all"} for channel in CHANNELS},
        }
        for venue in VENUES
    }
    document = {
        "data_dir": str(_DIR),
        "venues": venues,
        "nats": {"url": f"nats://127.0.0.1:{find_free_port()}"},
        # Small enough for any disk: the server sets as much aside.
        "bus": {"max_bytes": 256 * 1024**2, "sinks": ["parquet", "sql"]},
        "planner": {"profile_seconds": 2},
        "parquet_sink": {"chunk_window_s": 1},
    }
    _DIR.mkdir(parents=True)
    path = _DIR / "tickloom.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


@asynccontextmanager
async def _run_simulator(
    simulation: Simulation, options: DemoOptions, display: Display, stop: Stop
) -> AsyncIterator[None]:
    failures: list[str] = []

    def fail(reason: str) -> None:
        failures.append(reason)
        stop.set()

    process = Process(simulation.make_program(), options.restart, _DIR / "logs", say=display.say, on_failure=fail)
    async with asyncio.TaskGroup() as group:
        group.create_task(process.supervise())
        try:
            yield
        finally:
            await process.stop()
    if failures:
        raise ConfigError(failures[0])
