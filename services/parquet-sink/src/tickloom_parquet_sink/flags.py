"""The command line of the Parquet sink."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from absl import flags as absl_flags

from tickloom_core.errors import ConfigError
from tickloom_core.flags import CommonOptions, define_common_flags, parse_flags, read_common_options


@dataclass(frozen=True, slots=True)
class Options:
    """What the Parquet sink can be told on the command line.

    Attributes:
        partitions: those that this process owns; None: all of them.
    """

    common: CommonOptions
    partitions: tuple[int, ...] | None


def read_options(arguments: Sequence[str]) -> Options:
    """Parse the command line, the program's name first.

    Raises:
        ConfigError: a flag is unknown or its value wrong.
    """
    values = absl_flags.FlagValues()
    define_common_flags(values, name="parquet-sink")
    absl_flags.DEFINE_list(
        "partitions",
        None,
        "Partitions that this process carries, such as 0,1; all by default. No two processes may share one.",
        flag_values=values,
    )
    parse_flags(values, arguments)
    return Options(read_common_options(values), _read_partitions(values["partitions"].value))


def _read_partitions(texts: list[str] | None) -> tuple[int, ...] | None:
    if texts is None:
        return None
    if not texts or not all(text.isdecimal() for text in texts):
        raise ConfigError(f"expected numbers such as 0,1; found `{','.join(texts)}`", place="--partitions")
    return tuple(sorted({int(text) for text in texts}))
