from __future__ import annotations

import ccxt
import ccxt.pro
import pytest

from tickloom_core.config import VenueConfig
from tickloom_venues.capabilities import DEFAULT_SYMBOLS_PER_CALL, read_capabilities
from tickloom_venues.opening import open_venue


def capabilities_of(venue):
    return read_capabilities(open_venue(venue, VenueConfig(), agent="tickloom-test/0"))


@pytest.mark.parametrize("venue", ccxt.pro.exchanges)
def test_a_mode_is_a_method_that_the_venue_implements(venue):
    """Every mode other than unsupported names a method of the venue's own, not ccxt's that only refuses."""
    found = capabilities_of(venue)
    cls = getattr(ccxt.pro, venue)

    for mode in (found.tickers, found.trades, found.books):
        assert mode == "unsupported" or getattr(cls, mode) is not getattr(ccxt.pro.Exchange, mode)
    assert found.venue == venue
    assert found.depths == tuple(sorted(found.depths))


@pytest.mark.parametrize(
    ("venue", "modes"),
    [
        ("binance", ("watch_tickers", "watch_trades_for_symbols", "watch_order_book_for_symbols")),
        ("bitfinex", ("watch_ticker", "watch_trades", "watch_order_book")),
        ("luno", ("unsupported", "watch_trades", "watch_order_book")),
    ],
)
def test_bulk_comes_before_one_by_one_before_nothing(venue, modes):
    """The mode is the bulk method where there is one, else the one a symbol, else unsupported."""
    found = capabilities_of(venue)

    assert (found.tickers, found.trades, found.books) == modes


@pytest.mark.parametrize(
    ("venue", "wanted", "depth"),
    [
        ("kraken", 1, 10),
        ("kraken", 10, 10),
        ("kraken", 20, 25),
        ("kraken", 1000, 1000),
        ("bitfinex", 1000, 100),
        ("coinbase", 20, 20),
    ],
)
def test_a_wanted_depth_becomes_the_next_one_allowed(venue, wanted, depth):
    """A depth is rounded up to what the venue accepts, capped at its largest, and kept where any is accepted."""
    assert capabilities_of(venue).depth_for(wanted) == depth


@pytest.mark.parametrize("venue", ["kraken", "bitfinex", "bybit", "htx", "kucoin", "bitopro", "bittrade"])
async def test_ccxt_refuses_depths_beside_the_table_and_none_in_it(venue, offline_exchange, monkeypatch):
    """The depths that ccxt itself checks are exactly the ones of the table."""
    exchange = offline_exchange(venue, {"BTCUSDT": "BTC/USDT"})

    async def go_no_further(*_args, **_kwargs):
        raise InterruptedError

    for door in ("watch", "watch_multiple", "watch_topics", "watch_multi_helper", "subscribe", "negotiate", "fetch"):
        if hasattr(exchange, door):
            monkeypatch.setattr(exchange, door, go_no_further)
    depths = read_capabilities(exchange).depths

    for depth in depths:
        with pytest.raises(InterruptedError):
            await exchange.watch_order_book("BTC/USDT", depth)
    with pytest.raises(ccxt.ExchangeError):
        await exchange.watch_order_book("BTC/USDT", max(depths) - 1)


@pytest.mark.parametrize("channel", ["watch_trades_for_symbols", "watch_order_book_for_symbols"])
async def test_ccxt_refuses_more_symbols_in_a_call_than_the_table_says(channel, offline_exchange):
    """Binance's number of symbols a call is the one that ccxt enforces."""
    most = capabilities_of("binance").symbols_per_call
    exchange = offline_exchange("binance", {f"A{n}USDT": f"A{n}/USDT" for n in range(most + 1)})

    with pytest.raises(ccxt.BadRequest, match=f"{most} symbols at most"):
        await getattr(exchange, channel)([f"A{n}/USDT" for n in range(most + 1)])


def test_other_venues_have_a_cautious_number_of_symbols_a_call():
    """Where nobody states a limit, calls stay small."""
    assert capabilities_of("coinbase").symbols_per_call == DEFAULT_SYMBOLS_PER_CALL
