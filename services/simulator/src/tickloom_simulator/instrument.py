"""An instrument: everything that lives about one market while the simulator runs."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tickloom_simulator.book import OrderBook
from tickloom_simulator.candles import CandlePath
from tickloom_simulator.clock import NS_PER_S, now_ns
from tickloom_simulator.market import AMOUNT_SCALE
from tickloom_simulator.tape import TradeTape

if TYPE_CHECKING:
    from tickloom_simulator.market import Market

# Best bids and asks of tickers come in steps of at least a thousandth of a coin.
_LEAST_QUOTE_E8 = 100_000


@dataclass(frozen=True, slots=True)
class InstrumentSettings:
    """What all instruments have in common.

    Attributes:
        book_levels: levels a side of an order book.
        first_trade_id: the id of a market's first trade.
        history_trades: how many trades a market REST remembers.
    """

    seed: int
    book_levels: int
    first_trade_id: int
    history_trades: int


class DayStatistics:
    """The rolling 24 hours of a ticker; its base volume grows with every update and so names the update."""

    def __init__(self, market: Market, start_ticks: int, rng: random.Random) -> None:
        self.open_ticks = start_ticks
        self.high_ticks = start_ticks
        self.low_ticks = start_ticks
        self.trade_count = 10_000
        step_e8 = market.amount_step_e8
        coins = min(1_000_000_000 / market.start_price, 5_000_000)
        self.volume_e8 = int(coins * AMOUNT_SCALE) // step_e8 * step_e8
        self._cost = coins * start_ticks
        self._step_e8 = step_e8
        self._rng = rng

    @property
    def vwap_ticks(self) -> float:
        """The volume-weighted average price in ticks."""
        return self._cost * AMOUNT_SCALE / self.volume_e8

    def advance(self, price_ticks: int) -> None:
        """Count one more trade at a price: volume grows by at least one step."""
        amount_e8 = (1 + self._rng.getrandbits(6)) * self._step_e8
        self.volume_e8 += amount_e8
        self._cost += amount_e8 / AMOUNT_SCALE * price_ticks
        self.trade_count += 1
        self.high_ticks = max(self.high_ticks, price_ticks)
        self.low_ticks = min(self.low_ticks, price_ticks)


@dataclass(frozen=True, slots=True)
class Ticker:
    """A ticker at one moment: prices in ticks, amounts in 1e-8."""

    time_ns: int
    last_ticks: int
    open_ticks: int
    high_ticks: int
    low_ticks: int
    bid_ticks: int
    bid_amount_e8: int
    ask_ticks: int
    ask_amount_e8: int
    vwap_ticks: float
    volume_e8: int
    trade_count: int
    last_trade_id: int


class Instrument:
    """One market with its tape, its day, its order book and its candles."""

    def __init__(self, market: Market, settings: InstrumentSettings) -> None:
        self.market = market
        self.candles = CandlePath(market, settings.seed)
        self._rng = random.Random(f"{settings.seed}/{market.venue}/{market.symbol}")  # noqa: S311  # reproducible
        start_ticks = self.candles.read_price(now_ns() // NS_PER_S // 60)
        self.tape = TradeTape(
            market,
            self._rng,
            start_ticks=start_ticks,
            first_id=settings.first_trade_id,
            history=settings.history_trades,
        )
        self.day = DayStatistics(market, start_ticks, self._rng)
        self.book = OrderBook(market, self._rng, mid_ticks=start_ticks, levels=settings.book_levels)

    def advance_ticker(self) -> None:
        """Let the price move and the day's volume grow: the next ticker is a new one."""
        self.day.advance(self.tape.walk(self._rng.getrandbits(3)))

    def read_ticker(self, time_ns: int) -> Ticker:
        """Return the ticker as it stands."""
        last, day = self.tape.price_ticks, self.day
        step_e8 = max(self.market.amount_step_e8, _LEAST_QUOTE_E8)
        return Ticker(
            time_ns=time_ns,
            last_ticks=last,
            open_ticks=day.open_ticks,
            high_ticks=day.high_ticks,
            low_ticks=day.low_ticks,
            bid_ticks=last - 1,
            bid_amount_e8=(1 + day.volume_e8 % 9_973) * step_e8,
            ask_ticks=last + 1,
            ask_amount_e8=(1 + day.volume_e8 % 7_919) * step_e8,
            vwap_ticks=day.vwap_ticks,
            volume_e8=day.volume_e8,
            trade_count=day.trade_count,
            last_trade_id=self.tape.next_id - 1,
        )
