"""The collector's command line."""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags as absl_flags

from tickloom_core.flags import CommonOptions, define_common_flags, parse_flags, read_common_options

Options = CommonOptions


def read_options(arguments: Sequence[str]) -> Options:
    """Parse the command line, the program's name first.

    Raises:
        ConfigError: a flag is unknown or its value wrong.
    """
    values = absl_flags.FlagValues()
    define_common_flags(values, name="collector-0")
    parse_flags(values, arguments)
    return read_common_options(values)
