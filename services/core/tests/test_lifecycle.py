"""How a service begins and ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import aiohttp
import pytest
from absl import flags as absl_flags

from tests.support.servers import find_free_port
from tickloom_core.errors import ConfigError, TransientError
from tickloom_core.flags import define_common_flags, parse_flags, read_common_options
from tickloom_core.http import serve_health
from tickloom_core.lifecycle import EXIT_BUG, EXIT_OK, EXIT_UNAVAILABLE, EXIT_USAGE, Health, run

SERVICE = """
import asyncio, sys
from tickloom_core.lifecycle import run
from tickloom_core.errors import ConfigError, TransientError
from tickloom_core.config import LogConfig
from tickloom_core.logs import configure_logs
async def main(stop):
    configure_logs(LogConfig(), service="test")
    print("ready", flush=True)
    {body}
sys.exit(run(main))
"""


def run_script(body: str, *, number: int | None = None) -> tuple[int, str]:
    """Run a service with the body, send it a signal once it is ready, and return exit code and stderr."""
    command = [sys.executable, "-c", SERVICE.format(body=body)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        if number is not None:
            os.kill(process.pid, number)
        _, error = process.communicate(timeout=20)
    return process.returncode, error


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains(number):
    """SIGTERM and SIGINT ask the service to end, and it exits 0."""
    code, _ = run_script("await stop.wait()", number=number)
    assert code == EXIT_OK


@pytest.mark.parametrize(
    ("body", "code", "line"),
    [
        ("raise ConfigError('x is wrong', place='f:1')", EXIT_USAGE, "error: f:1: x is wrong\n"),
        ("raise TransientError('the bus is away')", EXIT_UNAVAILABLE, "error: the bus is away\n"),
    ],
)
def test_errors_on_purpose_are_one_line(body, code, line):
    """An error that is raised on purpose is one line and an exit code, no traceback."""
    assert run_script(body) == (code, line)


def test_a_bug_shows_its_traceback():
    """What nobody raised on purpose exits 70 and says where it happened."""
    code, error = run_script("raise KeyError('oops')")
    assert code == EXIT_BUG
    assert "KeyError" in error


def test_the_telling_error_of_a_group_wins():
    """Of several failures in a task group the one that was raised on purpose ends the service."""

    async def main(_stop):
        raise ExceptionGroup("tasks", [KeyError("noise"), ExceptionGroup("x", [TransientError("the cause")])])

    assert run(main) == EXIT_UNAVAILABLE


async def test_health_and_readiness_over_http():
    """/healthz, /readyz and /metrics say what the service knows of itself."""
    health = Health()
    health.beat("loop")
    ready = False
    health.require("bus", lambda: ready)
    port = find_free_port()
    base = f"http://127.0.0.1:{port}"
    async with serve_health(health, host="127.0.0.1", port=port), aiohttp.ClientSession() as http:
        async with http.get(f"{base}/healthz") as answer:
            assert answer.status == 200
        async with http.get(f"{base}/readyz") as answer:
            assert (answer.status, await answer.json()) == (503, {"unmet": ["bus"]})
        ready = True
        async with http.get(f"{base}/readyz") as answer:
            assert answer.status == 200
        health._beats["loop"] -= 60
        async with http.get(f"{base}/healthz") as answer:
            assert (answer.status, await answer.json()) == (503, {"stuck": ["loop"]})
        async with http.get(f"{base}/metrics") as answer:
            assert "tickloom_published_rows" in await answer.text()
        with pytest.raises(ConfigError, match=r"the port is not free .*--http_port"):
            async with serve_health(health, host="127.0.0.1", port=port):
                pass


def test_flags():
    """Flags are typed; unknown ones and stray arguments are one clear error."""
    values = absl_flags.FlagValues()
    define_common_flags(values, name="collector-0")
    parse_flags(values, ["prog", "--config=c.yaml", "--http_port=0"])
    options = read_common_options(values)
    assert (options.config_path, options.name, options.http_port) == ("c.yaml", "collector-0", 0)
    for arguments, message in (
        (["prog", "--confg=x"], r"Unknown command line flag 'confg'. Did you mean: config"),
        (["prog", "--http_port=x"], r"http_port"),
        (["prog", "stray"], r"unexpected argument 'stray'"),
    ):
        with pytest.raises(ConfigError, match=message):
            parse_flags(values, arguments)
