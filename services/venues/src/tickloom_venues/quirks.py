"""What must be set on a venue before it behaves: ccxt options by id, and the ids that ccxt has retired."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

RETIRED_VENUE_IDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "bitfinex2": "bitfinex",
        "bitpanda": "onetrading",
        "coinbaseadvanced": "coinbase",
        "coinbasepro": "coinbaseexchange",
        "gateio": "gate",
        "gdax": "coinbaseexchange",
        "hitbtc3": "hitbtc",
        "huobi": "htx",
        "huobijp": "bittrade",
        "huobipro": "htx",
        "okex": "okx",
        "okex5": "okx",
    }
)
"""Ids that people still have in their configuration, with the ids that ccxt calls the same venue today."""


@dataclass(frozen=True, slots=True)
class VenueQuirk:
    """ccxt options of one venue."""

    options: Mapping[str, Any] = field(default_factory=dict)
    """Always set."""
    spot_options: Mapping[str, Any] = field(default_factory=dict)
    """Set when only spot markets are wanted: fewer and lighter REST requests at the start."""


def _spot_types_only(**more: Any) -> dict[str, Any]:  # noqa: ANN401 (ccxt options are anything)
    return {"fetchMarkets": {"types": ["spot"]}, "defaultType": "spot", **more}


# A ticker of ours has best bid and ask: `24hrTicker` carries them, ccxt's default `24hrMiniTicker` does not.
_BINANCE_TICKERS = {"watchTickers": {"name": "ticker"}, "watchTicker": {"name": "ticker"}}

QUIRKS: Final[Mapping[str, VenueQuirk]] = MappingProxyType(
    {
        "binance": VenueQuirk(_BINANCE_TICKERS, _spot_types_only()),
        "binancecoinm": VenueQuirk(_BINANCE_TICKERS),
        "binanceus": VenueQuirk(_BINANCE_TICKERS),
        "binanceusdm": VenueQuirk(_BINANCE_TICKERS),
        "bitget": VenueQuirk(spot_options=_spot_types_only()),
        "bitrue": VenueQuirk(spot_options=_spot_types_only()),
        "bybit": VenueQuirk(spot_options=_spot_types_only()),
        "bybitid": VenueQuirk(spot_options=_spot_types_only()),
        "deepcoin": VenueQuirk(spot_options=_spot_types_only()),
        "gate": VenueQuirk(spot_options=_spot_types_only()),
        "htx": VenueQuirk(spot_options={"fetchMarkets": {"types": {"spot": True, "linear": False, "inverse": False}}}),
        "hyperliquid": VenueQuirk(spot_options=_spot_types_only()),
        # Fees by symbol cost KuCoin's heaviest REST request and are of no use to a collector.
        "kucoin": VenueQuirk(
            {"fetchMarkets": {"fetchTickersFees": False}},
            {"fetchMarkets": {"types": ["spot"], "fetchTickersFees": False}},
        ),
        "myokx": VenueQuirk(spot_options=_spot_types_only()),
        "okx": VenueQuirk(spot_options=_spot_types_only()),
        "okxus": VenueQuirk(spot_options=_spot_types_only()),
    }
)
"""The venues that need something; all others open as ccxt made them."""
