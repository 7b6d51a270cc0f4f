"""Runs one command and returns its exit code: 0, 1 when something does not work, 2 for a wrong configuration."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from tickloom_console.demo import run_demo
from tickloom_console.flags import DemoOptions, Options, SqlOptions, StatusOptions
from tickloom_console.sql import print_query
from tickloom_console.status import print_status
from tickloom_console.up import run_up
from tickloom_core import lifecycle
from tickloom_core.config import LogConfig
from tickloom_core.logs import configure_logs


def run_command(options: Options) -> int:
    """Run a command to its end or the first signal."""
    # What a command has to say it prints; the log is for what goes wrong underneath.
    configure_logs(LogConfig(format="console", level="error"), service="tickloom")

    def start(stop: lifecycle.Stop) -> Coroutine[Any, Any, None]:
        if isinstance(options, SqlOptions):
            return print_query(options)
        if isinstance(options, StatusOptions):
            return print_status(options)
        if isinstance(options, DemoOptions):
            return run_demo(options, stop)
        return run_up(options, stop)

    return lifecycle.run(start)
