"""Subscriptions: what a connection asked for, and the rows that are counted when its frames are written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tickloom_simulator.tape import Trade
    from tickloom_simulator.truth import AgentTruth, Series

TRADES = "trades"
TICKERS = "tickers"
BOOKS = "books"
CHANNELS = (TRADES, TICKERS, BOOKS)


class Form(NamedTuple):
    """How a stream looks on the wire; connections that asked for the same form share frames.

    Attributes:
        kind: the venue's name of the stream ("aggTrade", "ticker_batch", "book").
        stream: the whole stream name where messages repeat it (Binance), else empty.
        wrapped: whether messages are wrapped as {"stream": …, "data": …} (Binance).
        depth: the levels a side that were asked for (Kraken), 0 for all.
    """

    kind: str
    stream: str = ""
    wrapped: bool = False
    depth: int = 0


@dataclass(slots=True, eq=False)
class Subscription:
    """One stream that one connection asked for.

    Attributes:
        channel: trades, tickers or books.
        symbol: the unified symbol, or "" for all symbols.
        is_batched: whether it gets the newest state once a second instead of every update.
        is_counted: whether its rows belong to the truth (a bookTicker has no key and does not).
        owes_snapshot: a muted snapshot that goes out before the next update.
        awaits_snapshot: a Binance book whose REST snapshot was not asked for since it (re)started.
        snapshot_update_id: the id of the last such snapshot.
    """

    form: Form
    channel: str
    symbol: str
    is_batched: bool = False
    is_counted: bool = True
    owes_snapshot: bool = False
    awaits_snapshot: bool = False
    snapshot_update_id: int = 0
    changed: set[str] = field(default_factory=set)


class Rows(Protocol):
    """Rows that enter the truth at the moment their frame is written."""

    def count(self, truth: AgentTruth) -> None:
        """Count the rows."""


@dataclass(frozen=True, slots=True)
class TradeRows:
    """Trades in one or several frames."""

    series: Series
    trades: Sequence[Trade]

    def count(self, truth: AgentTruth) -> None:
        """Count the trades."""
        truth.trade_ledger(self.series).add(self.trades)


@dataclass(frozen=True, slots=True)
class EarlierTradeRows:
    """Trades of a snapshot: they happened before the subscription that it answers."""

    series: Series
    trades: Sequence[Trade]

    def count(self, truth: AgentTruth) -> None:
        """Note the trades."""
        truth.trade_ledger(self.series).note_earlier(self.trades)


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A ticker, or a book state that needs no REST snapshot."""

    series: Series
    key: int

    def count(self, truth: AgentTruth) -> None:
        """Count the key."""
        truth.key_ledger(self.series).add(self.key)


@dataclass(frozen=True, slots=True)
class DepthRow:
    """A Binance depth frame: whether it counts depends on the REST snapshot of its subscription."""

    series: Series
    key: int
    update_id: int
    subscription: Subscription

    def count(self, truth: AgentTruth) -> None:
        """Count the key as sent, as provisional or as superseded."""
        ledger = truth.key_ledger(self.series)
        if self.subscription.awaits_snapshot:
            ledger.add_provisional(self.key, self.update_id)
        elif self.update_id <= self.subscription.snapshot_update_id:
            ledger.add_superseded(self.key)
        else:
            ledger.add(self.key)
