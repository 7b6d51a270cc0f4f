"""Which venues and symbols take part: the single source of truth (REQUIREMENTS S5)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from tickloom_venues.errors import VenueError
from tickloom_venues.markets import Market, resolve_symbols
from tickloom_venues.quirks import RETIRED_VENUE_IDS

DEFAULT_EXCLUDED_EXCHANGES: Final[frozenset[str]] = frozenset(
    {
        # These hand out no public stream without an account's keys.
        "alpaca",  # a broker: every subscription is authenticated first
        "coinbaseinternational",  # subscriptions are signed, public channels too
        "luno",  # the first frame of a market stream is the key and its secret
        "mudrex",  # a broker: even the list of markets is a private request
        # These show the same order books as another id: collecting both would store every event twice.
        "bequant",  # a white label of hitbtc
        "binancecoinm",  # the coin-margined part of binance
        "binanceusdm",  # the linear part of binance
        "kucoinfutures",  # the futures part of kucoin
        "modetrade",  # the same Orderly network streams as woofipro
    }
)
"""Venues of ccxt.pro that are left out unless somebody names them in `--exchanges`.

Regional front ends with hosts and listings of their own (binanceus, bybiteu, gateeu, myokx …) are kept. Sandboxes
need no entry: in ccxt they are a switch of a venue, not a venue.
"""

TERMINAL_EXCLUSION_ERROR_NAMES: Final[frozenset[str]] = frozenset(
    {
        "AuthenticationError",
        "ExchangeError",
        "ExchangeNotAvailable",
        "RequestTimeout",
    }
)
"""Names of ccxt errors that exclude a venue when profiling meets them, themselves or as a base class."""

_PASSING_ERROR_NAMES: Final[frozenset[str]] = frozenset(
    {
        "BadSymbol",  # one symbol's fault, not the venue's
        "DDoSProtection",  # asked too often: says more about us
        "ExchangeClosedByUser",  # we closed it
        "MarketClosed",  # one market, for now
        "RateLimitExceeded",  # asked too often
    }
)
"""Names that keep a venue in although a base class stands in the list above (now, or in other versions of ccxt)."""


def is_terminal_exclusion_error(error: BaseException) -> bool:
    """Say whether an error met during profiling excludes the venue.

    ccxt's classes are judged by name along their bases, nearest first: `PermissionDenied` is an `AuthenticationError`,
    `OnMaintenance` an `ExchangeNotAvailable`, `BadSymbol` an `ExchangeError` that is pardoned before it comes to that.
    A plain `NetworkError` is the network and not the venue: not terminal. Our own `VenueError` is judged by the error
    that caused it.
    """
    if isinstance(error, VenueError) and error.__cause__ is not None:
        return is_terminal_exclusion_error(error.__cause__)
    for cls in type(error).__mro__:
        if cls.__name__ in _PASSING_ERROR_NAMES:
            return False
        if cls.__name__ in TERMINAL_EXCLUSION_ERROR_NAMES:
            return True
    return False


def resolve_excluded_exchanges(
    default: Iterable[str], exchanges: Iterable[str], exchanges_exclude: Iterable[str]
) -> frozenset[str]:
    """Return the venues that must not be collected.

    Args:
        default: what is excluded unless asked for, usually `DEFAULT_EXCLUDED_EXCHANGES`.
        exchanges: venues named by `--exchanges`: naming one lifts its default exclusion.
        exchanges_exclude: venues named by `--exchanges_exclude`, which always wins.
    """
    return (frozenset(default) - frozenset(exchanges)) | frozenset(exchanges_exclude)


def parse_exchange_list(text: str | None) -> tuple[str, ...]:
    """Read `binance, Kraken coinbasepro`: commas or spaces, any case, retired ids followed, each venue once."""
    ids = (text or "").replace(",", " ").lower().split()
    return tuple(dict.fromkeys(RETIRED_VENUE_IDS.get(venue_id, venue_id) for venue_id in ids))


def select_symbols(
    markets: Mapping[str, Mapping[str, Any]],
    *,
    spot_only: bool,
    limit: int | None = None,
    wanted: Iterable[str] | None = None,
) -> list[str]:
    """Choose the symbols that stand for a venue: active, spot if asked, by name, at most `limit`.

    Args:
        markets: ccxt's own `exchange.markets`.
        spot_only: leave derivatives out.
        limit: at most so many.
        wanted: only these symbols; what the venue does not list or trade is left out without an error, since one
            selection serves all venues.
    """
    chosen = {symbol: Market.from_ccxt(market) for symbol, market in markets.items()}
    if wanted is not None:
        keep = frozenset(wanted)
        chosen = {symbol: market for symbol, market in chosen.items() if symbol in keep}
    return resolve_symbols(chosen, "all", venue="", spot_only=spot_only, limit=limit)


def iter_tickers(result: object) -> Iterator[Mapping[str, Any]]:
    """Yield the tickers in what `watch_tickers` (a dict by symbol) or `watch_ticker` (one ticker) returned.

    Lists are taken apart as well, and anything that is not a ticker with a symbol is left out: some venues answer with
    an empty dict first.
    """
    if isinstance(result, Mapping):
        if isinstance(result.get("symbol"), str):
            yield result
            return
        result = result.values()
    if isinstance(result, Iterable) and not isinstance(result, (str, bytes)):
        for ticker in result:
            if isinstance(ticker, Mapping) and isinstance(ticker.get("symbol"), str):
                yield ticker
