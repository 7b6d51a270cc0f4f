"""Which feed carries a channel of a venue."""

from __future__ import annotations

from typing import Final, Literal

from tickloom_core.config import Config, VenueConfig
from tickloom_core.errors import ConfigError

NATIVE: Final = frozenset({("binance", "trades")})
"""Channels of venues that have a feed of their own."""


def select_feed(exchange: str, channel: str, venue: VenueConfig) -> Literal["native", "ccxt"]:
    """Return which feed carries a channel: as configured, and by `auto` the native one where there is one.

    A native feed speaks to the public spot stream and knows no ccxt options, so a venue with options is left to ccxt.
    """
    if venue.feed == "ccxt" or (exchange, channel) not in NATIVE:
        return "ccxt"
    if venue.feed == "auto" and (venue.options or not venue.spot_only):
        return "ccxt"
    return "native"


def check_feeds(config: Config) -> None:
    """Check that `feed: native` stands only where there are native feeds.

    Raises:
        ConfigError: a channel of a venue has none.
    """
    known = ", ".join(f"{exchange}/{channel}" for exchange, channel in sorted(NATIVE))
    for exchange, venue in config.venues.items():
        if venue.feed != "native":
            continue
        for channel in venue.channels:
            if (exchange, channel) not in NATIVE:
                raise ConfigError(
                    f"there is no native feed for {exchange}/{channel}, only for {known}; write `feed: auto`",
                    path=f"venues.{exchange}.feed",
                )
