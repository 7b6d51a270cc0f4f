from __future__ import annotations

import time

import pytest

from tickloom_core.config import ChannelConfig, Config, VenueConfig
from tickloom_core.errors import ConfigError
from tickloom_core.plan import VenueProfile
from tickloom_planner.profile import PROFILE_MAX_AGE_S, Profiler, is_usable, score_profile

SYMBOLS = ("BTC/USD", "ETH/USD")


def make_profile(*, bytes_total=0, reconnects=0, age_s=0.0):
    return VenueProfile(
        exchange="kraken",
        mode="watch_tickers",
        symbols=SYMBOLS,
        seconds=30.0,
        ticks=60,
        bytes_total=bytes_total,
        reconnects=reconnects,
        score=1.0,
        profiled_ns=time.time_ns() - int(age_s * 1e9),
    )


@pytest.mark.parametrize(("bytes_total", "reconnects", "score"), [(3000, 0, 100.0), (3000, 1, 4100.0), (0, 0, 1.0)])
def test_the_score_is_bytes_a_second_and_reconnects_a_minute(bytes_total, reconnects, score):
    """`bytes_per_sec + 2000 * reconnects_per_min`, at least 1.0."""
    assert score_profile(make_profile(bytes_total=bytes_total, reconnects=reconnects)) == pytest.approx(score)


@pytest.mark.parametrize(
    ("age_s", "mode", "symbols", "usable"),
    [
        (PROFILE_MAX_AGE_S - 60, "watch_tickers", SYMBOLS, True),
        (PROFILE_MAX_AGE_S + 60, "watch_tickers", SYMBOLS, False),
        (-60, "watch_tickers", SYMBOLS, False),  # a clock was set back: the age is not known
        (60, "watch_ticker", SYMBOLS, False),
        (60, "watch_tickers", SYMBOLS[:1], False),
    ],
)
def test_a_profile_is_used_again_for_a_day_and_the_same_symbols(age_s, mode, symbols, usable):
    """Age, mode and symbols must all fit."""
    assert is_usable(make_profile(age_s=age_s), mode, symbols) is usable


async def study(name, *channels, **settings):
    venue = VenueConfig(channels=dict.fromkeys(channels, ChannelConfig()), **settings)
    profiler = Profiler(Config(venues={name: venue}), place="t.yaml", agent="test", known={})
    (found,) = await profiler.study_all([name])
    return found.profile


async def test_a_venue_without_ticker_streams_is_unsupported():
    """A venue that is to give tickers and has no stream of them is excluded without being asked."""
    profile = await study("bitstamp", "tickers", "trades")
    assert (profile.mode, profile.score, profile.excluded) == ("unsupported", 0.0, True)
    assert "neither watchTickers nor watchTicker" in profile.reason


async def test_a_venue_without_ticker_streams_can_give_trades():
    """Where no tickers are asked for, their absence is no reason: the venue is asked for its markets."""
    profile = await study("bitstamp", "trades", endpoint="http://127.0.0.1:9")
    assert "ExchangeNotAvailable" in profile.reason


async def test_an_endpoint_that_is_none_is_an_error_of_the_configuration():
    """A wrong endpoint is said with its key, and excludes nothing."""
    with pytest.raises(ConfigError, match=r"t\.yaml: venues\.kraken\.endpoint: "):
        await study("kraken", "trades", endpoint="127.0.0.1:9")


async def test_a_channel_that_the_venue_does_not_stream_is_an_error_of_the_configuration():
    """Rather than leaving a channel out silently, the planner says which one to take out."""
    with pytest.raises(ConfigError, match=r"venues\.bydfi\.channels\.trades: bydfi streams no trades"):
        await study("bydfi", "trades")
