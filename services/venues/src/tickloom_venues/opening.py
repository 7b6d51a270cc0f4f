"""Opening and closing a venue: any of ccxt.pro's exchanges, by id."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any, TypeAlias

import ccxt
import ccxt.pro

from tickloom_venues.closing import close_venue
from tickloom_venues.endpoint import redirect
from tickloom_venues.errors import UnknownVenueError
from tickloom_venues.quirks import QUIRKS, RETIRED_VENUE_IDS, VenueQuirk

if TYPE_CHECKING:
    from tickloom_core.config import VenueConfig

__all__ = ["Exchange", "canonical_venue_id", "close_venue", "open_venue"]

Exchange: TypeAlias = Any
"""An instance of a ccxt.pro class; ccxt ships no types that hold."""


def canonical_venue_id(venue_id: str) -> str:
    """Return the id that ccxt.pro has for a venue today: lower case, retired ids followed.

    Raises:
        UnknownVenueError: ccxt.pro has no such venue; the message names the nearest ids.
    """
    wanted = venue_id.strip().lower()
    known = RETIRED_VENUE_IDS.get(wanted, wanted)
    if known in ccxt.pro.exchanges:
        return known
    if known in ccxt.exchanges:
        raise UnknownVenueError(
            f"{venue_id}: ccxt {ccxt.__version__} knows this venue over REST only; choose one with websockets",
            venue=venue_id,
        )
    near = difflib.get_close_matches(wanted, [*ccxt.pro.exchanges, *RETIRED_VENUE_IDS], n=3, cutoff=0.6)
    hint = f"did you mean {', '.join(near)}?" if near else "ccxt.pro.exchanges lists those there are"
    raise UnknownVenueError(
        f"{venue_id}: ccxt {ccxt.__version__} has no venue with websockets of this id; {hint}", venue=venue_id
    )


def open_venue(venue_id: str, config: VenueConfig, *, agent: str) -> Exchange:
    """Make the ccxt.pro exchange of a venue; nothing is connected yet and no event loop is needed.

    With `config.endpoint` every request and every websocket of the venue goes there instead, see
    `tickloom_venues.endpoint`.

    Args:
        venue_id: a ccxt id; retired ids (coinbasepro, huobi …) work.
        config: the venue's section of the configuration.
        agent: the `User-Agent` of REST requests and websocket handshakes, such as `tickloom-collector/0.1`. Venues for
            which ccxt pretends to be a browser keep ccxt's: their gateways turn others away.

    Raises:
        UnknownVenueError: there is no such venue.
        InvalidEndpointError: the endpoint is not scheme://host:port.
        ConfigError: a key of the venue cannot be read.
    """
    known = canonical_venue_id(venue_id)
    quirk = QUIRKS.get(known, VenueQuirk())
    options = ccxt.Exchange.deep_extend(quirk.options, quirk.spot_options if config.spot_only else {}, config.options)
    exchange: Exchange = getattr(ccxt.pro, known)({"options": options, **_credentials(config)})
    _set_agent(exchange, agent)
    if config.endpoint is not None:
        redirect(exchange, config.endpoint)
    return exchange


def _credentials(config: VenueConfig) -> dict[str, str]:
    references = {"apiKey": config.api_key, "secret": config.api_secret, "password": config.api_password}
    return {name: reference.resolve() for name, reference in references.items() if reference is not None}


def _set_agent(exchange: Exchange, agent: str) -> None:
    """Name ourselves in REST requests, and in handshakes by way of `options.ws.options.headers` (ccxt's Client)."""
    if not str(exchange.userAgent).startswith("Mozilla/"):
        exchange.userAgent = agent
    named = {"ws": {"options": {"headers": {"User-Agent": agent}}}}
    # ccxt's own headers come last, so that a venue that insists on a User-Agent keeps it.
    exchange.options = exchange.deep_extend(named, exchange.options)
