"""The flags that all services share, and how a command line becomes a record. Flags are absl's, as users know them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from absl import flags as absl_flags

from tickloom_core.config import Config
from tickloom_core.config_file import load_config
from tickloom_core.errors import ConfigError


@dataclass(frozen=True, slots=True)
class CommonOptions:
    """What every service can be told on the command line."""

    config_path: str
    name: str
    http_host: str
    http_port: int
    log_level: str | None
    log_format: str | None


def define_common_flags(values: absl_flags.FlagValues, *, name: str) -> None:
    """Define the shared flags on `values`; `name` is the service's default name."""
    absl_flags.DEFINE_string("config", "tickloom.yaml", "The configuration file.", flag_values=values)
    absl_flags.DEFINE_string("name", name, "This process's name among its equals.", flag_values=values)
    absl_flags.DEFINE_string("http_host", "127.0.0.1", "Where health and metrics are served.", flag_values=values)
    absl_flags.DEFINE_integer("http_port", -1, "Port of health and metrics; 0: any, -1: none.", flag_values=values)
    levels = ["debug", "info", "warning", "error"]
    absl_flags.DEFINE_enum("log_level", None, levels, "Overrides log.level.", flag_values=values)
    absl_flags.DEFINE_enum("log_format", None, ["auto", "console", "json"], "Overrides log.format.", flag_values=values)


def parse_flags(values: absl_flags.FlagValues, arguments: Sequence[str]) -> None:
    """Parse the command line, the program's name first; `--help` prints the flags and ends the program.

    Raises:
        ConfigError: a flag is unknown or its value wrong, or something is left that is no flag.
    """
    if "--help" in arguments:
        print(values.get_help())  # noqa: T201 - what the user asked for
        raise SystemExit(0)
    try:
        rest = values(list(arguments))
    except absl_flags.Error as error:
        raise ConfigError(" ".join(str(error).split()), place="command line") from error
    if len(rest) > 1:
        raise ConfigError(f"unexpected argument {rest[1]!r}; flags are written --flag=value", place="command line")


def read_common_options(values: absl_flags.FlagValues) -> CommonOptions:
    """Return the shared options of parsed flags."""
    return CommonOptions(
        config_path=values["config"].value,
        name=values["name"].value,
        http_host=values["http_host"].value,
        http_port=values["http_port"].value,
        log_level=values["log_level"].value,
        log_format=values["log_format"].value,
    )


def load_configured(options: CommonOptions) -> Config:
    """Read the configuration file and apply the flags that override it.

    Raises:
        ConfigError: as `load_config`.
    """
    config = load_config(options.config_path)
    log = msgspec.structs.replace(
        config.log,
        level=options.log_level or config.log.level,
        format=options.log_format or config.log.format,
    )
    return msgspec.structs.replace(config, log=log)
