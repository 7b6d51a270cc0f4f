"""The command line of the InfluxDB sink."""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags as absl_flags

from tickloom_core.flags import parse_flags
from tickloom_core.sink_service import SinkOptions, define_sink_flags, read_sink_options


def read_options(arguments: Sequence[str]) -> SinkOptions:
    """Parse the command line, the program's name first.

    Raises:
        ConfigError: a flag is unknown or its value wrong.
    """
    values = absl_flags.FlagValues()
    define_sink_flags(values, name="influx-sink")
    parse_flags(values, arguments)
    return read_sink_options(values)
