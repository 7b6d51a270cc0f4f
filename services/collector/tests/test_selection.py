from __future__ import annotations

import pytest

from tickloom_collector.feeds.selection import check_feeds, select_feed
from tickloom_core.config import ChannelConfig, Config, VenueConfig
from tickloom_core.errors import ConfigError


@pytest.mark.parametrize(
    ("exchange", "channel", "venue", "expected"),
    [
        ("binance", "trades", VenueConfig(), "native"),
        ("binance", "trades", VenueConfig(feed="native"), "native"),
        ("binance", "trades", VenueConfig(feed="ccxt"), "ccxt"),
        ("binance", "trades", VenueConfig(options={"watchTrades": {"name": "aggTrade"}}), "ccxt"),
        ("binance", "trades", VenueConfig(spot_only=False), "ccxt"),
        ("binance", "tickers", VenueConfig(), "ccxt"),
        ("kraken", "trades", VenueConfig(), "ccxt"),
    ],
)
def test_auto_is_native_where_there_is_one(exchange, channel, venue, expected) -> None:
    """`auto` takes the native feed where there is one that can do what is asked; other settings are obeyed."""
    assert select_feed(exchange, channel, venue) == expected


def test_native_where_there_is_none_is_an_error_that_names_what_there_is() -> None:
    """The message says which channel has no native feed and which have one."""
    venue = VenueConfig(feed="native", channels={"trades": ChannelConfig()})
    check_feeds(Config(venues={"binance": venue}))
    with pytest.raises(ConfigError, match=r"venues\.kraken\.feed: .*kraken/trades, only for binance/trades"):
        check_feeds(Config(venues={"kraken": venue}))
