"""The command line of `tickloom`: one frozen record a command."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

DEFAULT_CONFIG_PATH: Final = Path("tickloom.yaml")

SqlFormat: TypeAlias = Literal["table", "csv", "json"]


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """How long a process that ended waits before it is started again: doubling from base to max."""

    base_s: float = 1.0
    max_s: float = 60.0


@dataclass(frozen=True, slots=True)
class UpOptions:
    """`tickloom up`."""

    config_path: Path
    workers: int | None
    nats: str | None
    """An address, `embedded`, or None: the configured one, embedded when nothing listens there."""
    duration_s: float | None
    restart: RestartPolicy


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """`tickloom demo`."""

    restart: RestartPolicy = RestartPolicy()


@dataclass(frozen=True, slots=True)
class StatusOptions:
    """`tickloom status`."""

    config_path: Path


@dataclass(frozen=True, slots=True)
class SqlOptions:
    """`tickloom sql`."""

    query: str
    root: str | None
    config_path: Path
    format: SqlFormat | None


Options: TypeAlias = UpOptions | DemoOptions | StatusOptions | SqlOptions


def read_options(arguments: Sequence[str]) -> Options:
    """Read the command line, the program's name left out; a mistake ends the process with usage and code 2."""
    given = _make_parser().parse_args(arguments)
    if given.command == "up":
        restart = RestartPolicy(given.restart_base_s, given.restart_max_s)
        return UpOptions(given.config, given.workers, given.nats, given.duration, restart)
    if given.command == "demo":
        return DemoOptions()
    if given.command == "status":
        return StatusOptions(given.config)
    return SqlOptions(given.query, given.root, given.config, given.format)


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tickloom", description="Crypto market data that loses nothing silently.")
    commands = parser.add_subparsers(dest="command", required=True)
    with_config = argparse.ArgumentParser(add_help=False)
    with_config.add_argument("--config", type=Path, default=DEFAULT_CONFIG_PATH, help="the configuration file")
    up = commands.add_parser("up", parents=[with_config], help="run everything on this machine")
    up.add_argument("--workers", type=_read_count, help="number of collectors (default: half the cores)")
    up.add_argument("--nats", metavar="URL|embedded", help="another NATS than the configured one, or one of its own")
    up.add_argument("--duration", type=_read_seconds, metavar="S", help="end after so many seconds")
    policy = RestartPolicy()
    up.add_argument("--restart_base_s", type=_read_seconds, default=policy.base_s, help="first wait before a restart")
    up.add_argument("--restart_max_s", type=_read_seconds, default=policy.max_s, help="longest wait before a restart")
    commands.add_parser("demo", help="run everything against a simulated exchange and compare (DEMO_SECONDS=20)")
    commands.add_parser("status", parents=[with_config], help="say what works and what does not")
    sql = commands.add_parser("sql", parents=[with_config], help="query what is stored: trades, tickers, books, events")
    sql.add_argument("query", help='such as "select exchange, count(*) from trades group by 1"')
    sql.add_argument("--root", metavar="URI", help="folder or s3://bucket/prefix (default: as configured)")
    sql.add_argument("--format", choices=["table", "csv", "json"], help="default: table on a terminal, else csv")
    return parser


def _read_count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return count


def _read_seconds(text: str) -> float:
    seconds = float(text)
    if not (math.isfinite(seconds) and seconds > 0):
        raise argparse.ArgumentTypeError("more than 0 seconds")
    return seconds
