"""The generator: decides every few milliseconds how much of what is due, on all exchanges together."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from tickloom_simulator.errors import RequestError
from tickloom_simulator.subscription import BOOKS, CHANNELS, TICKERS, TRADES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tickloom_simulator.exchange import Exchange

TICK_S = 0.01
# What a stalled process must not try to catch up with.
_MAX_ARREARS_S = 1.0
_DRAIN_DEADLINE_S = 30.0
_DRAIN_POLL_S = 0.005


@dataclass(frozen=True, slots=True)
class Rates:
    """Events a second in sum over all symbols of all venues; a symbol nobody subscribed to makes none of its share."""

    trades_per_s: float
    tickers_per_s: float
    books_per_s: float

    def read(self, channel: str) -> float:
        """Return the rate of a channel."""
        return {TRADES: self.trades_per_s, TICKERS: self.tickers_per_s, BOOKS: self.books_per_s}[channel]


class Generator:
    """Makes trades, tickers and books for whoever is subscribed."""

    def __init__(self, exchanges: Sequence[Exchange], rates: Rates, seed: int) -> None:
        self.rates = rates
        self.is_running = True
        self._exchanges = tuple(exchanges)
        self._rng = random.Random(f"{seed}/generator")  # noqa: S311  # reproducible, not secret
        self._arrears = dict.fromkeys(CHANNELS, 0.0)

    async def run(self) -> None:
        """Make what is due, tick by tick, until cancelled."""
        last_s = time.monotonic()
        last_batch_s = last_s
        while True:
            await asyncio.sleep(TICK_S)
            now_s = time.monotonic()
            if self.is_running:
                self._make_due(min(now_s - last_s, _MAX_ARREARS_S))
                if now_s - last_batch_s >= 1.0:
                    self._send_batches()
                    last_batch_s = now_s
            last_s = now_s
            for exchange in self._exchanges:
                exchange.hub.flush()

    async def pause(self) -> None:
        """Stop making anything, and return when everything made was written and taken by the operating system.

        Raises:
            TimeoutError: a client has not read for half a minute.
        """
        self.is_running = False
        self._send_batches()
        async with asyncio.timeout(_DRAIN_DEADLINE_S):
            while not all(
                connection.is_drained for exchange in self._exchanges for connection in exchange.hub.connections
            ):
                for exchange in self._exchanges:
                    exchange.hub.flush()
                await asyncio.sleep(_DRAIN_POLL_S)

    def resume(self) -> None:
        """Go on."""
        self.is_running = True

    def change_rates(self, **rates: float) -> None:
        """Change some of the rates.

        Raises:
            TypeError: a name is not one of the rates'.
        """
        self.rates = replace(self.rates, **rates)

    def start(self) -> None:
        """Refuse: there is nothing to replay.

        Raises:
            RequestError: always.
        """
        raise RequestError("nothing to replay: this simulator makes its data up; start it with --replay=FILE")

    def describe(self) -> dict[str, Any]:
        """Return the rates for `GET /status`."""
        return {"rates": asdict(self.rates)}

    def _send_batches(self) -> None:
        for exchange in self._exchanges:
            exchange.send_batches()

    def _make_due(self, elapsed_s: float) -> None:
        span_ns = int(elapsed_s * 1e9)
        for channel in CHANNELS:
            for (exchange, symbol), count in self._choose_due(channel, elapsed_s):
                if channel == TRADES:
                    exchange.make_trades(symbol, count, span_ns)
                elif channel == TICKERS:
                    exchange.make_tickers(symbol, count)
                else:
                    exchange.make_books(symbol, count)

    def _choose_due(self, channel: str, elapsed_s: float) -> list[tuple[tuple[Exchange, str], int]]:
        """Choose at random, as arrivals are, for which symbols events of a channel are due and how many."""
        listed = sum(exchange.symbol_count for exchange in self._exchanges)
        active = [(exchange, exchange.list_active(channel)) for exchange in self._exchanges]
        weights = [len(symbols) for _, symbols in active]
        total = sum(weights)
        if total == 0:
            self._arrears[channel] = 0.0
            return []
        self._arrears[channel] += self.rates.read(channel) * elapsed_s * total / listed
        due = int(self._arrears[channel])
        self._arrears[channel] -= due
        if due == 0:
            return []
        chosen: list[tuple[tuple[Exchange, str], int]] = []
        shares = Counter(self._rng.choices(range(len(active)), weights, k=due))
        for position, share in shares.items():
            exchange, symbols = active[position]
            picks = Counter(self._rng.choices(symbols, k=share))
            chosen.extend(((exchange, symbol), count) for symbol, count in picks.items())
        return chosen
