"""`tickloom up`: everything on this machine, until asked to end."""

from __future__ import annotations

import asyncio

from tickloom_console.display import Display
from tickloom_console.flags import UpOptions
from tickloom_console.system import prepare, run_system
from tickloom_core.lifecycle import Stop


async def run_up(options: UpOptions, stop: Stop) -> None:
    """Run until a signal, until `--duration` is over or until a process finds its configuration wrong.

    Raises:
        ConfigError: the configuration is wrong.
        BusUnavailableError: NATS does not answer.
    """
    display = Display()
    setup = await prepare(options.config_path, workers=options.workers, nats=options.nats, restart=options.restart)
    display.say(f"NATS: {'embedded' if setup.bus.program else 'existing'}, {setup.bus.url}")
    async with run_system(setup, stop, display.say) as system, asyncio.TaskGroup() as group:
        showing = group.create_task(display.run(system))
        await stop.wait(options.duration_s)
        showing.cancel()
        display.say("stopping: planner, collectors, then what is on the bus is stored")
    display.say("stopped")
