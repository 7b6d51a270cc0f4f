"""The markets of a venue, and finding them by the names that people write."""

from __future__ import annotations

import asyncio
import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from tickloom_venues.errors import UnknownSymbolError, VenueUnavailableError, classify

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tickloom_venues.opening import Exchange

_SEPARATORS: Final = re.compile(r"[^0-9A-Z]+")


@dataclass(frozen=True, slots=True)
class Market:
    """What we need to know of a market."""

    symbol: str
    """ccxt's unified symbol: `BTC/USDT`, `BTC/USDT:USDT` for a perpetual."""
    id: str
    """What the venue calls it."""
    base: str
    quote: str
    active: bool
    """Whether it trades; true where the venue does not say."""
    spot: bool

    @classmethod
    def from_ccxt(cls, market: Mapping[str, Any]) -> Market:
        """Read one of ccxt's market structures."""
        return cls(
            symbol=market["symbol"],
            id=str(market["id"]),
            base=market.get("base") or "",
            quote=market.get("quote") or "",
            active=market.get("active") is not False,
            spot=bool(market.get("spot")),
        )


async def load_markets(exchange: Exchange, *, deadline_s: float = 30.0) -> dict[str, Market]:
    """Ask the venue for its markets, once an exchange object, and return them by symbol.

    Raises:
        VenueUnavailableError: the venue does not answer within the deadline, or not with markets.
        VenueRateLimitError: it wants us to wait.
        TerminalVenueError: it refuses.
    """
    try:
        async with asyncio.timeout(deadline_s):
            # ccxt keeps an empty answer for good unless told to ask again.
            found = await exchange.load_markets(reload=not exchange.markets)
    except TimeoutError as error:
        raise VenueUnavailableError(
            f"{exchange.id}: no list of markets within {deadline_s:g} s; try again later", venue=exchange.id
        ) from error
    except Exception as error:  # ccxt's parsers raise anything at all on an answer they do not expect
        raise classify(error, venue=exchange.id, exchange=exchange) from error
    if not found:
        raise VenueUnavailableError(
            f"{exchange.id}: the answer lists no markets (an error page?); try again later", venue=exchange.id
        )
    return {symbol: Market.from_ccxt(market) for symbol, market in found.items()}


def resolve_symbols(
    markets: Mapping[str, Market],
    wanted: Iterable[str] | Literal["all"],
    *,
    venue: str,
    spot_only: bool = True,
    limit: int | None = None,
    quote_volumes: Mapping[str, float] | None = None,
) -> list[str]:
    """Turn what a configuration asks for into the venue's symbols, in a deterministic order without repetition.

    Args:
        markets: what `load_markets` returned.
        wanted: names as `resolve_symbol` takes them, kept in their order; or "all": every active market.
        venue: the venue's id, for error messages.
        spot_only: whether "all" means spot markets only, and whether names prefer nothing else.
        limit: upper bound of what "all" selects.
        quote_volumes: traded value a day by symbol, where known: "all" then begins with the busiest. Others follow by
            name.

    Raises:
        UnknownSymbolError: a name that the venue does not list; the message has the nearest ones.
    """
    if wanted != "all":
        index = SymbolIndex(markets.values(), venue=venue)
        return list(dict.fromkeys(index.resolve(text) for text in wanted))
    volumes = quote_volumes or {}
    eligible = [market.symbol for market in markets.values() if market.active and (market.spot or not spot_only)]
    eligible.sort(key=lambda symbol: (-volumes.get(symbol, 0.0), symbol))
    return eligible[:limit]


class SymbolIndex:
    """Finds the markets of one venue by any usual spelling of their names."""

    def __init__(self, markets: Iterable[Market], *, venue: str) -> None:
        self._venue = venue
        self._symbols: set[str] = set()
        self._by_spelling: dict[str, list[Market]] = {}
        for market in sorted(markets, key=lambda market: (not market.spot, not market.active, market.symbol)):
            self._symbols.add(market.symbol)
            for spelling in {_spell(market.symbol), _spell(market.id)}:
                self._by_spelling.setdefault(spelling, []).append(market)

    def resolve(self, text: str) -> str:
        """Return the symbol that `BTC/USDT`, `BTCUSDT`, `btc-usdt` or the venue's own id means.

        A spot market wins over a derivative, and an active market over one that does not trade.

        Raises:
            UnknownSymbolError: nothing is called like that, or two markets that are equally good.
        """
        if text in self._symbols:
            return text
        found = self._by_spelling.get(_spell(text), [])
        best = [market for market in found if (market.spot, market.active) == (found[0].spot, found[0].active)]
        if len(best) == 1:
            return best[0].symbol
        if best:
            names = [market.symbol for market in best]
            raise UnknownSymbolError(
                f"{self._venue}: {text!r} can mean {' or '.join(names)}; write it like that",
                venue=self._venue,
                symbol=text,
                near=names,
            )
        near = self._nearest(text)
        hint = f"did you mean {', '.join(near)}?" if near else f"it lists {len(self._symbols)} markets"
        raise UnknownSymbolError(
            f"{self._venue}: no market is called {text!r}; {hint}", venue=self._venue, symbol=text, near=near
        )

    def _nearest(self, text: str) -> list[str]:
        spellings = difflib.get_close_matches(_spell(text), self._by_spelling, n=3, cutoff=0.6)
        return list(dict.fromkeys(self._by_spelling[spelling][0].symbol for spelling in spellings))


def _spell(name: str) -> str:
    return _SEPARATORS.sub("", name.upper())
