"""The command line of the sync."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from absl import flags as absl_flags

from tickloom_core.flags import CommonOptions, define_common_flags, parse_flags, read_common_options


@dataclass(frozen=True, slots=True)
class Options:
    """What the sync can be told on the command line.

    Attributes:
        once: end when everything that was there at the start is in the target.
        dry_run: say what would be done, do nothing.
    """

    common: CommonOptions
    once: bool
    dry_run: bool


def read_options(arguments: Sequence[str]) -> Options:
    """Parse the command line, the program's name first.

    Raises:
        ConfigError: a flag is unknown or its value wrong.
    """
    values = absl_flags.FlagValues()
    define_common_flags(values, name="sync")
    absl_flags.DEFINE_boolean("once", False, "End when what is there now is in the target.", flag_values=values)  # noqa: FBT003 - absl's signature
    absl_flags.DEFINE_boolean("dry_run", False, "Say what would be done, and do nothing.", flag_values=values)  # noqa: FBT003 - absl's signature
    parse_flags(values, arguments)
    return Options(read_common_options(values), values["once"].value, values["dry_run"].value)
