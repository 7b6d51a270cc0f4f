"""The planner's command line. A flag that is not given leaves the configuration's value as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
from absl import flags as absl_flags

from tickloom_core.config import Config, PlannerConfig
from tickloom_core.errors import ConfigError
from tickloom_core.flags import CommonOptions, define_common_flags, load_configured, parse_flags, read_common_options
from tickloom_venues.exclusion import parse_exchange_list

_SETTINGS: Final = (
    "profile_symbol_limit",
    "profile_seconds",
    "profile_request_timeout_s",
    "profile_concurrency",
    "workers",
)
"""Flags that override the setting of the same name in the section `planner`."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the planner was told on the command line."""

    common: CommonOptions
    exchanges: tuple[str, ...]
    """Plan these venues only, whatever is excluded by default; empty: all that are configured."""
    exchanges_exclude: tuple[str, ...]
    settings: Mapping[str, object]
    """Overrides of the section `planner`, not yet checked."""
    dry_run: bool
    once: bool
    fresh_profiles: bool


def read_options(arguments: Sequence[str]) -> Options:
    """Read the command line, the program's name first.

    Raises:
        ConfigError: a flag is unknown or its value wrong.
    """
    values = absl_flags.FlagValues()
    define_common_flags(values, name="planner")
    _define_planner_flags(values)
    parse_flags(values, arguments)
    settings = {name: values[name].value for name in _SETTINGS if values[name].value is not None}
    if str(settings.get("workers", "")).isdecimal():
        settings["workers"] = int(settings["workers"])
    return Options(
        common=read_common_options(values),
        exchanges=parse_exchange_list(values["exchanges"].value),
        exchanges_exclude=parse_exchange_list(values["exchanges_exclude"].value),
        settings=settings,
        dry_run=values["dry_run"].value,
        once=values["once"].value,
        fresh_profiles=values["fresh_profiles"].value,
    )


def load_planner_config(options: Options) -> Config:
    """Read the configuration file and apply the flags that override it.

    Raises:
        ConfigError: the file is wrong, or a flag's value is not one that the setting takes.
    """
    config = load_configured(options.common)
    merged = msgspec.structs.asdict(config.planner) | dict(options.settings)
    try:
        planner = msgspec.convert(merged, PlannerConfig)
    except msgspec.ValidationError as error:
        message, _, place = str(error).partition(" - at `$.")
        raise ConfigError(f"{message}; correct the flag", place=f"--{place.rstrip('`')}") from error
    return msgspec.structs.replace(config, planner=planner)


def _define_planner_flags(values: absl_flags.FlagValues) -> None:
    define_string, define_integer = absl_flags.DEFINE_string, absl_flags.DEFINE_integer
    define_float, define_boolean = absl_flags.DEFINE_float, absl_flags.DEFINE_boolean
    define_string("exchanges", None, "Plan these venues only (commas or spaces).", flag_values=values)
    define_string("exchanges_exclude", None, "Leave these venues out.", flag_values=values)
    define_integer("profile_symbol_limit", None, "Most symbols to profile a venue with.", flag_values=values)
    define_float("profile_seconds", None, "How long a venue is watched.", flag_values=values)
    define_float("profile_request_timeout_s", None, "Deadline of a request while profiling.", flag_values=values)
    define_integer("profile_concurrency", None, "Venues profiled at the same time.", flag_values=values)
    define_string("workers", None, "Number of collectors, or auto: those that are alive.", flag_values=values)
    define_boolean(
        "dry_run", default=False, help="Print the plan as JSON; needs no NATS, starts nothing.", flag_values=values
    )
    define_boolean("once", default=False, help="Plan, publish and exit.", flag_values=values)
    define_boolean("fresh_profiles", default=False, help="Measure again what was measured before.", flag_values=values)
