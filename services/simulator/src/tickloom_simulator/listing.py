"""A listing: the instruments of one venue, made when somebody first asks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tickloom_simulator.instrument import Instrument, InstrumentSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tickloom_simulator.market import Market


class Listing:
    """The markets of one venue by symbol and by the venue's own id, with their instruments."""

    def __init__(self, markets: Sequence[Market], settings: InstrumentSettings) -> None:
        self.markets = tuple(markets)
        self._settings = settings
        self._by_symbol = {market.symbol: market for market in markets}
        self._by_id = {market.market_id: market for market in markets}
        self._instruments: dict[str, Instrument] = {}

    @property
    def symbols(self) -> list[str]:
        """The unified symbols in the order in which they are listed."""
        return list(self._by_symbol)

    def find(self, symbol: str) -> Instrument | None:
        """Return the instrument of a unified symbol, or None when it is not listed."""
        instrument = self._instruments.get(symbol)
        if instrument is None and symbol in self._by_symbol:
            instrument = self._instruments[symbol] = Instrument(self._by_symbol[symbol], self._settings)
        return instrument

    def find_id(self, market_id: str | None) -> Instrument | None:
        """Return the instrument that the venue calls `market_id`, or None when it is not listed."""
        market = self._by_id.get(market_id or "")
        return self.find(market.symbol) if market is not None else None

    def instruments(self) -> list[Instrument]:
        """Return all instruments in the order in which they are listed."""
        found = (self.find(symbol) for symbol in self._by_symbol)
        return [instrument for instrument in found if instrument is not None]
