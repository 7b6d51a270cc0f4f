"""The errors of a venue, and the map from ccxt's errors to them.

TickloomError
└── VenueError                      .venue
    ├── TransientVenueError         (also a TransientError) .retry_after_s
    │   ├── VenueUnavailableError       down, unreachable, too slow, or answers nonsense
    │   └── VenueRateLimitError         we asked too often
    └── TerminalVenueError          (also a PermanentError)
        ├── UnknownVenueError           no ccxt.pro venue has this id
        ├── UnknownSymbolError          the venue lists no such market
        └── InvalidEndpointError        `endpoint:` is not scheme://host:port
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import ccxt

from tickloom_core.errors import PermanentError, TickloomError, TransientError

if TYPE_CHECKING:
    from tickloom_venues.opening import Exchange

_RATE_LIMIT_ERRORS = (ccxt.RateLimitExceeded, ccxt.DDoSProtection)


class VenueError(TickloomError):
    """Something is wrong with a venue.

    Attributes:
        venue: the venue's ccxt id.
    """

    venue: str


class TransientVenueError(VenueError, TransientError):
    """Asking the venue again later can succeed."""

    def __init__(self, message: str, *, venue: str, retry_after_s: float | None = None) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.venue = venue


class VenueUnavailableError(TransientVenueError):
    """The venue is down, cannot be reached, is too slow or answers nonsense."""


class VenueRateLimitError(TransientVenueError):
    """The venue says that we ask too often."""


class TerminalVenueError(VenueError, PermanentError):
    """Asking the venue again gives the same answer."""

    def __init__(self, message: str, *, venue: str) -> None:
        super().__init__(message)
        self.venue = venue


class UnknownVenueError(TerminalVenueError):
    """No ccxt.pro venue has this id."""


class UnknownSymbolError(TerminalVenueError):
    """The venue lists no market that this text names, or more than one.

    Attributes:
        symbol: the text as it was asked for.
        near: symbols of the venue that look like it, nearest first.
    """

    def __init__(self, message: str, *, venue: str, symbol: str, near: Sequence[str] = ()) -> None:
        super().__init__(message, venue=venue)
        self.symbol = symbol
        self.near = tuple(near)


class InvalidEndpointError(TerminalVenueError):
    """The endpoint of a venue is not of the form scheme://host:port."""


def classify(
    error: Exception, *, venue: str, exchange: Exchange | None = None
) -> TransientVenueError | TerminalVenueError:
    """Say what an error out of ccxt means for us.

    ccxt's `ExchangeError` family is the venue's refusal and terminal; its `OperationFailed` family (network, time-outs,
    maintenance, unreadable answers) is transient. An error that is not ccxt's comes out of a parser or a socket that
    met something nobody foresaw: transient, since venues in trouble answer with HTML and half a frame.

    Args:
        error: what was raised; an error that was classified before is returned as it is.
        venue: the venue's id, for the message.
        exchange: the ccxt instance, whose last REST response may carry `Retry-After`.
    """
    if isinstance(error, (TransientVenueError, TerminalVenueError)):
        return error
    found = f"{venue}: {type(error).__name__}: {error or 'no further text'}"
    if isinstance(error, ccxt.ExchangeError):
        return TerminalVenueError(f"{found}; the venue refuses this, change what is asked of it", venue=venue)
    if isinstance(error, _RATE_LIMIT_ERRORS):
        wait_s = retry_after_s(error, exchange)
        return VenueRateLimitError(f"{found}; ask less often", venue=venue, retry_after_s=wait_s)
    if isinstance(error, ccxt.ExchangeNotAvailable):
        wait_s = retry_after_s(error, exchange)
        return VenueUnavailableError(f"{found}; try again later", venue=venue, retry_after_s=wait_s)
    wait_s = retry_after_s(error, None)
    return VenueUnavailableError(f"{found}; try again later", venue=venue, retry_after_s=wait_s)


def retry_after_s(error: BaseException, exchange: Exchange | None) -> float | None:
    """Return how many seconds the venue asked us to wait, or None when it did not say.

    A refused websocket handshake carries its headers in the wrapped aiohttp error; ccxt's REST errors carry none, so
    the headers of the exchange's last response stand in for them.
    """
    for headers in _response_headers(error, exchange):
        for name, value in headers.items():
            if name.lower() == "retry-after":
                return _parse_retry_after_s(str(value))
    return None


def _response_headers(error: BaseException, exchange: Exchange | None) -> Iterator[Mapping[str, object]]:
    for source in (error, *error.args, error.__cause__):
        headers = getattr(source, "headers", None)
        if isinstance(headers, Mapping):
            yield headers
    last = getattr(exchange, "last_response_headers", None)
    if isinstance(last, Mapping):
        yield last


def _parse_retry_after_s(value: str) -> float | None:
    """Read both forms of RFC 9110, section 10.2.3: seconds, or the date until which to wait."""
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None
