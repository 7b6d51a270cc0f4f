"""What a venue can stream, how, and within which limits (REQUIREMENTS S1, S2, S6)."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tickloom_venues.opening import Exchange

TickerMode = Literal["watch_tickers", "watch_ticker", "unsupported"]
TradeMode = Literal["watch_trades_for_symbols", "watch_trades", "unsupported"]
BookMode = Literal["watch_order_book_for_symbols", "watch_order_book", "unsupported"]

DEFAULT_SYMBOLS_PER_CALL: Final = 100
"""Symbols in one bulk subscription where neither ccxt nor the venue says: a frame of a few kB."""

_SYMBOLS_PER_CALL: Final[Mapping[str, int]] = MappingProxyType(
    {
        "binance": 200,  # ccxt refuses more in watchTradesForSymbols and watchOrderBookForSymbols
        "binancecoinm": 200,
        "binanceus": 200,
        "binanceusdm": 200,
        "bitget": 50,  # a subscribe frame of at most 4,096 bytes
        "bybit": 10,  # topics in one subscribe frame of the spot stream
        "bybiteu": 10,
        "bybitid": 10,
        "kucoin": 100,  # ccxt refuses more in watchTickers, the venue in a topic
        "kucoinfutures": 100,
    }
)

_OKX_DEPTHS = (1, 5, 400)  # 50 levels tick by tick are for VIP4 accounts
_BYBIT_DEPTHS = (1, 50, 200, 1000)
_DEPTHS: Final[Mapping[str, tuple[int, ...]]] = MappingProxyType(
    {
        "apex": (25, 200),
        "aster": (5, 10, 20),
        "bitfinex": (25, 100),
        "bitget": (1, 5, 15, 50, 200),  # 200 stands for the incremental channel, which is the whole book
        "bitopro": (5, 10, 20, 50, 100, 500, 1000),
        "bittrade": (150,),
        "bybit": _BYBIT_DEPTHS,
        "bybiteu": _BYBIT_DEPTHS,
        "bybitid": _BYBIT_DEPTHS,
        "cryptocom": (10, 50),
        "gate": (50, 400),
        "htx": (5, 20, 150, 400),
        "kraken": (10, 25, 100, 500, 1000),
        "kucoin": (5, 20, 50, 100),
        "kucoinfutures": (5, 20, 50, 100),
        "lbank": (10, 50, 100),
        "myokx": _OKX_DEPTHS,
        "okx": _OKX_DEPTHS,
        "okxus": _OKX_DEPTHS,
        "whitebit": (1, 5, 10, 20, 30, 50, 100),
    }
)
"""Levels a side that watchOrderBook accepts, ascending; ccxt or the venue refuses any other number."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What one venue can stream; the modes are the names of ccxt's methods."""

    venue: str
    tickers: TickerMode
    trades: TradeMode
    books: BookMode
    spot: bool
    """Whether it has spot markets at all."""
    symbols_per_call: int
    """Most symbols in one call of a bulk method."""
    depths: tuple[int, ...]
    """Levels a side that a book can be asked for, ascending; empty when any number is accepted."""

    def depth_for(self, wanted: int) -> int:
        """Return the depth to ask for: the smallest one allowed that is not below the wanted, else the largest."""
        return next((depth for depth in self.depths if depth >= wanted), max(self.depths, default=wanted))


def read_capabilities(exchange: Exchange) -> Capabilities:
    """Say what a venue can stream; asks ccxt only, not the venue.

    Bulk methods are preferred: one call and one frame for many symbols.
    """
    has = exchange.has
    tickers: TickerMode = "unsupported"
    if has.get("watchTickers"):
        tickers = "watch_tickers"
    elif has.get("watchTicker"):
        tickers = "watch_ticker"
    trades: TradeMode = "unsupported"
    if has.get("watchTradesForSymbols"):
        trades = "watch_trades_for_symbols"
    elif has.get("watchTrades"):
        trades = "watch_trades"
    books: BookMode = "unsupported"
    if has.get("watchOrderBookForSymbols"):
        books = "watch_order_book_for_symbols"
    elif has.get("watchOrderBook"):
        books = "watch_order_book"
    return Capabilities(
        venue=exchange.id,
        tickers=tickers,
        trades=trades,
        books=books,
        spot=bool(has.get("spot")),
        symbols_per_call=_SYMBOLS_PER_CALL.get(exchange.id, DEFAULT_SYMBOLS_PER_CALL),
        depths=_DEPTHS.get(exchange.id, ()),
    )
