"""The command line of the compaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from absl import flags as absl_flags

from tickloom_core.errors import ConfigError
from tickloom_core.flags import CommonOptions, define_common_flags, parse_flags, read_common_options
from tickloom_parquet_sink.schemas import SCHEMAS


@dataclass(frozen=True, slots=True)
class Options:
    """What the compaction can be told on the command line.

    Attributes:
        is_dry_run: say what would be done, and change nothing.
        days: the dates to look at; empty: all that are closed.
        channels: the channels to look at; empty: all.
    """

    common: CommonOptions
    is_dry_run: bool
    days: frozenset[str]
    channels: frozenset[str]


def read_options(arguments: Sequence[str]) -> Options:
    """Parse the command line, the program's name first.

    Raises:
        ConfigError: a flag is unknown or its value wrong.
    """
    values = absl_flags.FlagValues()
    define_common_flags(values, name="compaction")
    absl_flags.DEFINE_bool(
        "dry_run", default=False, help="Say what would be done, and change nothing.", flag_values=values
    )
    absl_flags.DEFINE_list("days", [], "UTC dates, such as 2026-11-20,2026-11-21; none given: all.", flag_values=values)
    absl_flags.DEFINE_list("channels", [], "Channels, such as trades,books; none given: all.", flag_values=values)
    parse_flags(values, arguments)
    channels = frozenset(values["channels"].value)
    if unknown := channels - SCHEMAS.keys():
        raise ConfigError(f"no channel is called {min(unknown)}; there are {', '.join(SCHEMAS)}", place="--channels")
    return Options(
        read_common_options(values),
        is_dry_run=values["dry_run"].value,
        days=frozenset(values["days"].value),
        channels=channels,
    )
