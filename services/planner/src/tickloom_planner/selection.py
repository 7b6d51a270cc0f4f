"""Which of the configured venues are planned, and why the others are not."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tickloom_core.config import VenueConfig
from tickloom_core.errors import ConfigError
from tickloom_core.plan import TickerMode, VenueProfile
from tickloom_venues.capabilities import read_capabilities
from tickloom_venues.errors import UnknownVenueError
from tickloom_venues.exclusion import DEFAULT_EXCLUDED_EXCHANGES, resolve_excluded_exchanges
from tickloom_venues.opening import canonical_venue_id, open_venue

_BY_DEFAULT = "excluded by default: it needs keys or repeats another venue; name it in --exchanges to plan it"


@dataclass(frozen=True, slots=True)
class Selection:
    """The configured venues, divided.

    Attributes:
        wanted: names of those to profile.
        excluded: the others, each with the reason.
    """

    wanted: tuple[str, ...]
    excluded: tuple[VenueProfile, ...]


def select_venues(
    venues: Mapping[str, VenueConfig],
    *,
    exchanges: tuple[str, ...],
    exchanges_exclude: tuple[str, ...],
    place: str,
) -> Selection:
    """Divide the configured venues into those to profile and those that are excluded, with the reason.

    Args:
        venues: the section `venues`; its keys are the names that the plan uses.
        exchanges: canonical ids; plan only these, and lift their default exclusion. Empty: all.
        exchanges_exclude: canonical ids that are left out whatever else is said.
        place: the configuration file, for messages.

    Raises:
        ConfigError: a venue does not exist, is named but not configured, or no venue or channel is configured.
    """
    if not venues:
        raise ConfigError("no venue is configured; name at least one", place=place, path="venues")
    ids = {name: _find_id(name, place=place, path=f"venues.{name}") for name in venues}
    _check_flag("--exchanges", exchanges, configured=ids.values())
    for name in exchanges_exclude:
        _find_id(name, place="--exchanges_exclude", path="")
    for name, venue in venues.items():
        if not venue.channels:
            raise ConfigError(
                "no channel is configured; name trades, tickers or books", place=place, path=f"venues.{name}.channels"
            )
    reasons = {name: _find_reason(ids[name], exchanges, exchanges_exclude) for name in sorted(ids)}
    return Selection(
        wanted=tuple(name for name, reason in reasons.items() if not reason),
        excluded=tuple(_exclude(name, reason) for name, reason in reasons.items() if reason),
    )


def _find_reason(venue_id: str, exchanges: tuple[str, ...], exchanges_exclude: tuple[str, ...]) -> str:
    """Return why a venue is not planned, or nothing."""
    if venue_id in exchanges_exclude:
        return "named in --exchanges_exclude"
    if venue_id in resolve_excluded_exchanges(DEFAULT_EXCLUDED_EXCHANGES, exchanges, exchanges_exclude):
        return _BY_DEFAULT
    return "not named in --exchanges" if exchanges and venue_id not in exchanges else ""


def _find_id(name: str, *, place: str, path: str) -> str:
    try:
        return canonical_venue_id(name)
    except UnknownVenueError as error:
        raise ConfigError(str(error), place=place, path=path) from error


def _check_flag(flag: str, names: Iterable[str], *, configured: Iterable[str]) -> None:
    known = sorted(configured)
    for name in names:
        if _find_id(name, place=flag, path="") not in known:
            raise ConfigError(f"{name} is not configured; the section venues has {', '.join(known)}", place=flag)


def make_exclusion(name: str, mode: TickerMode, reason: str) -> VenueProfile:
    """Return the profile of a venue that is not planned."""
    return VenueProfile(
        exchange=name,
        mode=mode,
        symbols=(),
        seconds=0.0,
        ticks=0,
        bytes_total=0,
        reconnects=0,
        score=0.0,
        excluded=True,
        reason=reason,
        profiled_ns=time.time_ns(),
    )


def _exclude(name: str, reason: str) -> VenueProfile:
    # Opened without the venue's own settings: nothing is asked of it, and its keys are not needed.
    return make_exclusion(name, read_capabilities(open_venue(name, VenueConfig(), agent="")).tickers, reason)
