from __future__ import annotations

import pytest

from tickloom_collector.feeds.venue import Venue
from tickloom_venues.markets import Market

from .recorder import Recorder, make_context


@pytest.mark.parametrize(
    ("exchange", "spot_only", "expected"), [("coinbase", False, ["B/USD"]), ("binance", True, ["A/USDC", "B/USD"])]
)
async def test_what_cannot_be_carried_is_said(exchange, spot_only, expected) -> None:
    """Aliases of Coinbase, derivatives where a feed knows none, and unknown symbols are excluded in an event each."""
    recorder = Recorder()
    venue = Venue(make_context(exchange, "http://127.0.0.1:1", recorder))
    symbols = {"A/USDC": True, "B/USD": True, "B/USD:USD": False}
    venue._markets = {name: Market(name, name, "A", "B", active=True, spot=spot) for name, spot in symbols.items()}
    venue.exchange.markets = {name: {"info": {"alias": "A-USD" if name == "A/USDC" else ""}} for name in symbols}
    wanted = ["A/USDC", "B/USD", "C/USD"] + (["B/USD:USD"] if spot_only else [])
    assert await venue.select(wanted, channel="trades", spot_only=spot_only) == expected
    venue.context.batcher.flush()
    assert {symbol for _, symbol, _ in recorder.list_events("excluded")} == set(wanted) - set(expected)
    await venue.close(1)
