from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace

import ccxt
import pytest
from ccxt.base.errors import error_hierarchy

from tickloom_core.errors import PermanentError, TransientError
from tickloom_venues.errors import TerminalVenueError, TransientVenueError, VenueRateLimitError, classify


def names_below(tree):
    for name, inner in tree.items():
        yield name
        yield from names_below(inner)


@pytest.mark.parametrize("name", list(names_below(error_hierarchy)))
def test_every_error_of_ccxt_has_exactly_one_fate(name):
    """Each class of ccxt's hierarchy is either transient or terminal, and refusals are the terminal ones."""
    error = getattr(ccxt, name, None) or getattr(ccxt.base.errors, name)

    mapped = classify(error("because"), venue="kraken")

    assert isinstance(mapped, PermanentError) is issubclass(error, ccxt.ExchangeError)
    assert isinstance(mapped, TransientError) is not isinstance(mapped, PermanentError)
    assert mapped.venue == "kraken"
    assert name in str(mapped)
    assert "because" in str(mapped)


@pytest.mark.parametrize("error", [KeyError("price"), OSError("reset"), TimeoutError()])
def test_what_is_not_of_ccxt_is_transient(error):
    """A parser or socket that stumbles is tried again."""
    assert isinstance(classify(error, venue="kraken"), TransientVenueError)


def test_an_error_is_classified_once():
    """What was mapped before stays the same object."""
    mapped = TerminalVenueError("no", venue="kraken")

    assert classify(mapped, venue="other") is mapped


def test_retry_after_in_seconds_comes_from_the_last_response():
    """The wait that the venue asked for is taken from the REST response that carried the refusal."""
    exchange = SimpleNamespace(last_response_headers={"retry-after": "2.5"})

    mapped = classify(ccxt.RateLimitExceeded("slow"), venue="kraken", exchange=exchange)

    assert isinstance(mapped, VenueRateLimitError)
    assert mapped.retry_after_s == 2.5


def test_retry_after_as_a_date_becomes_seconds():
    """The other form of the header, a date, means the time until then."""
    then = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)

    mapped = classify(ccxt.DDoSProtection(SimpleNamespace(headers={"Retry-After": then})), venue="kraken")

    assert mapped.retry_after_s == pytest.approx(60, abs=2)


@pytest.mark.parametrize("value", ["soon", ""])
def test_an_unreadable_retry_after_is_none(value):
    """Nonsense in the header is as if it were not there."""
    exchange = SimpleNamespace(last_response_headers={"Retry-After": value})

    assert classify(ccxt.RateLimitExceeded("slow"), venue="kraken", exchange=exchange).retry_after_s is None


def test_a_refused_handshake_carries_its_own_headers():
    """ccxt wraps the refusal of a websocket in a NetworkError: its Retry-After is found inside."""
    refused = SimpleNamespace(headers={"Retry-After": "30"})

    assert classify(ccxt.NetworkError(refused), venue="kraken").retry_after_s == 30


def test_headers_of_an_earlier_response_do_not_explain_a_network_error():
    """A dropped connection does not inherit the wait of some earlier answer."""
    exchange = SimpleNamespace(last_response_headers={"Retry-After": "30"})

    assert classify(ccxt.NetworkError("cut"), venue="kraken", exchange=exchange).retry_after_s is None
