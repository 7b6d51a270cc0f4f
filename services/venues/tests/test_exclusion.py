from __future__ import annotations

import ccxt
import ccxt.pro
import pytest

from tickloom_venues.errors import TransientVenueError, UnknownVenueError, classify
from tickloom_venues.exclusion import (
    DEFAULT_EXCLUDED_EXCHANGES,
    TERMINAL_EXCLUSION_ERROR_NAMES,
    is_terminal_exclusion_error,
    iter_tickers,
    parse_exchange_list,
    resolve_excluded_exchanges,
    select_symbols,
)


def test_every_default_exclusion_is_a_venue_of_ccxt():
    """An exclusion that ccxt no longer knows must not stay behind."""
    assert set(ccxt.pro.exchanges) > DEFAULT_EXCLUDED_EXCHANGES


def test_every_terminal_name_is_an_error_of_ccxt():
    """The names are those of classes that ccxt raises."""
    assert all(issubclass(getattr(ccxt, name), ccxt.BaseError) for name in TERMINAL_EXCLUSION_ERROR_NAMES)


@pytest.mark.parametrize(
    "error",
    [
        ccxt.AuthenticationError,
        ccxt.PermissionDenied,
        ccxt.ExchangeNotAvailable,
        ccxt.OnMaintenance,
        ccxt.RequestTimeout,
        ccxt.ExchangeError,
        ccxt.NotSupported,
        ccxt.BadRequest,
        ccxt.RestrictedLocation,
    ],
)
def test_errors_of_the_venue_exclude_it(error):
    """The four named errors and those derived from them are terminal."""
    assert is_terminal_exclusion_error(error("no"))


@pytest.mark.parametrize(
    "error",
    [
        ccxt.NetworkError,
        ccxt.RateLimitExceeded,
        ccxt.DDoSProtection,
        ccxt.BadSymbol,
        ccxt.MarketClosed,
        ccxt.ExchangeClosedByUser,
        ccxt.InvalidNonce,
        ConnectionError,
        TimeoutError,
        ValueError,
    ],
)
def test_other_errors_do_not(error):
    """The network, our own haste, one symbol or our own mistake do not exclude a venue."""
    assert not is_terminal_exclusion_error(error("no"))


def test_rate_limits_stay_in_whatever_their_bases():
    """Versions of ccxt in which a rate limit derives from a terminal error do not change the answer."""
    rate_limit = type("RateLimitExceeded", (ccxt.ExchangeNotAvailable,), {})

    assert not is_terminal_exclusion_error(rate_limit("no"))


def test_our_errors_are_judged_by_their_cause():
    """An error of ccxt counts the same after it was mapped to one of ours."""
    for cause, terminal in ((ccxt.RequestTimeout("late"), True), (ccxt.NetworkError("cut"), False)):
        mapped = classify(cause, venue="kraken")
        mapped.__cause__ = cause
        assert isinstance(mapped, TransientVenueError)
        assert is_terminal_exclusion_error(mapped) is terminal


def test_naming_a_venue_lifts_its_default_exclusion_only():
    """--exchanges wins over the defaults, --exchanges_exclude over everything."""
    assert resolve_excluded_exchanges({"a", "b"}, ["b", "c"], ["c", "d"]) == {"a", "c", "d"}


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("binance,coinbasepro, Kraken", ("binance", "coinbaseexchange", "kraken")),
        ("okx okex okx", ("okx",)),
        ("", ()),
        (None, ()),
    ],
)
def test_a_list_of_exchanges_is_read_leniently(text, ids):
    """Commas, spaces, capitals, retired ids and repetition are all understood."""
    assert parse_exchange_list(text) == ids


CCXT_MARKETS = {
    "ETH/BTC": {"symbol": "ETH/BTC", "id": "e", "base": "ETH", "quote": "BTC", "active": True, "spot": True},
    "BTC/USDT": {"symbol": "BTC/USDT", "id": "b", "base": "BTC", "quote": "USDT", "active": None, "spot": True},
    "OLD/BTC": {"symbol": "OLD/BTC", "id": "o", "base": "OLD", "quote": "BTC", "active": False, "spot": True},
    "A/B:B": {"symbol": "A/B:B", "id": "a", "base": "A", "quote": "B", "active": True, "spot": False},
}


@pytest.mark.parametrize(
    ("asked", "symbols"),
    [
        ({"spot_only": True}, ["BTC/USDT", "ETH/BTC"]),
        ({"spot_only": False}, ["A/B:B", "BTC/USDT", "ETH/BTC"]),
        ({"spot_only": True, "limit": 1}, ["BTC/USDT"]),
        ({"spot_only": True, "wanted": ["ETH/BTC", "OLD/BTC", "no/such"]}, ["ETH/BTC"]),
        ({"spot_only": True, "wanted": []}, []),
    ],
)
def test_symbols_are_selected_by_name_among_the_active(asked, symbols):
    """Active markets (unless the venue says otherwise), spot if asked, wanted ones if any are named, up to a limit."""
    assert select_symbols(CCXT_MARKETS, **asked) == symbols


TICKER = {"symbol": "BTC/USDT", "last": 1.0}


@pytest.mark.parametrize(
    ("result", "tickers"),
    [
        (TICKER, [TICKER]),
        ({"BTC/USDT": TICKER}, [TICKER]),
        ([TICKER, TICKER], [TICKER, TICKER]),
        ({}, []),
        (None, []),
        ({"BTC/USDT": None}, []),
        ({"symbol": None, "last": 1.0}, []),
        ("BTC/USDT", []),
    ],
)
def test_tickers_are_found_in_whatever_watching_returned(result, tickers):
    """One ticker, a dict of tickers, a list or nothing: what comes out is tickers."""
    assert list(iter_tickers(result)) == tickers


def test_an_error_of_ours_without_a_cause_is_not_terminal_for_a_venue():
    """A misspelt venue is the user's error, reported as such and not as an exclusion."""
    assert not is_terminal_exclusion_error(UnknownVenueError("no such venue", venue="x"))
