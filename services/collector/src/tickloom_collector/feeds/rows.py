"""From ccxt's records to columns. Everything is converted before the first append: a row is whole or not there."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, Final

from tickloom_collector.batcher import Lane
from tickloom_collector.feeds.feed import FeedContext
from tickloom_collector.feeds.irregularities import Irregularities
from tickloom_collector.feeds.sieve import Sieve, make_sieve
from tickloom_collector.metrics import REFUSED_ROWS
from tickloom_core.columns import (
    KIND_SNAPSHOT,
    MAX_TRADE_ID_BYTES,
    MISSING_FLOAT,
    MISSING_INT,
    SIDE_BUY,
    SIDE_SELL,
    SIDE_UNKNOWN,
    BookBuffer,
    TickerBuffer,
    TradeBuffer,
)

Record = Mapping[str, Any]
"""A trade, ticker or order book as ccxt makes it."""

_SIDES: Final = {"buy": SIDE_BUY, "sell": SIDE_SELL}
_US_PER_MS: Final = 1000
_MAX_INT: Final = 2**63 - 1
_MAX_MS: Final = _MAX_INT // _US_PER_MS
_PRICE: Final = itemgetter(0)
_AMOUNT: Final = itemgetter(1)

_TICKER_FIELDS: Final = {
    "last": "last",
    "bid": "bid",
    "bid_amount": "bidVolume",
    "ask": "ask",
    "ask_amount": "askVolume",
    "open": "open",
    "high": "high",
    "low": "low",
    "vwap": "vwap",
    "base_volume": "baseVolume",
    "quote_volume": "quoteVolume",
    "change_percent": "percentage",
}
"""Our columns by ccxt's names."""


@dataclass(slots=True)
class _TradeTarget:
    """Where the trades of one symbol go; `index` is the symbol's place in `buffer`."""

    lane: Lane[TradeBuffer]
    sieve: Sieve
    buffer: TradeBuffer | None = None
    index: int = 0
    last_ns: int = MISSING_INT
    begin_ns: int = MISSING_INT
    """When the snapshot came with which the first subscription began."""


class TradeWriter:
    """Writes the trades of one venue's symbols, each once.

    A feed begins when it subscribes. Some venues answer with a snapshot of the latest trades: what is in the first one
    happened before, and an earlier start of this collector may have written it. It is remembered and left out. In later
    snapshots, after a reconnect, what was missed is new and is written.
    """

    def __init__(self, context: FeedContext) -> None:
        self._context = context
        self._targets: dict[str, _TradeTarget] = {}
        self._irregularities = Irregularities(context.events, context.exchange)
        self._unwanted = REFUSED_ROWS.labels(context.exchange, "trades", "not_assigned")
        self._earlier = REFUSED_ROWS.labels(context.exchange, "trades", "before_subscription")
        self._is_snapshot = False

    def mark_snapshots(self, handle: Callable[[Any, Record], None]) -> Callable[[Any, Record], None]:
        """Return a handler of trade messages that tells snapshots from updates, as Coinbase's `events` do."""

        def handle_marked(client: Any, message: Record) -> None:  # noqa: ANN401 - ccxt's client
            self._is_snapshot = any(event.get("type") == "snapshot" for event in message.get("events") or ())
            try:
                handle(client, message)
            finally:
                self._is_snapshot = False

        return handle_marked

    def add(self, symbols: Iterable[str]) -> None:
        """Write the trades of these symbols from now on."""
        for symbol in symbols:
            lane = self._context.batcher.find_lane(TradeBuffer, self._context.exchange, symbol)
            self._targets[symbol] = _TradeTarget(lane, make_sieve(self._context.exchange, symbol))

    def remove(self, symbols: Iterable[str]) -> None:
        """Leave the trades of these symbols out from now on."""
        for symbol in symbols:
            self._targets.pop(symbol, None)

    def write(self, trade: Record, receive_ns: int) -> None:
        """Write one trade, unless it was written before."""
        symbol = trade["symbol"]
        target = self._targets.get(symbol)
        if target is None:
            self._unwanted.inc()
            return
        trade_id, timestamp_ms, price, amount = trade["id"], trade["timestamp"], trade["price"], trade["amount"]
        exchange_time_us = MISSING_INT if timestamp_ms is None else int(timestamp_ms) * _US_PER_MS
        price = MISSING_FLOAT if price is None else float(price)
        amount = MISSING_FLOAT if amount is None else float(amount)
        side = _SIDES.get(trade["side"], SIDE_UNKNOWN)
        text = b""
        if trade_id:
            text = trade_id.encode()[:MAX_TRADE_ID_BYTES]
            missing = target.sieve.admit(trade_id)
            if missing < 0:
                self._irregularities.note_duplicate(symbol, receive_ns)
                return
            if missing:
                self._irregularities.record_gap(symbol, missing, target.last_ns, receive_ns)
        if self._is_snapshot and self._is_before(target, receive_ns):
            self._earlier.inc()
            return
        target.last_ns = receive_ns
        buffer = target.lane.buffer
        if target.buffer is not buffer:
            target.buffer = buffer
            target.index = buffer.index_of(symbol)
        # The only column that can refuse its value comes first.
        buffer.exchange_time_us.append(exchange_time_us)
        buffer.symbol_index.append(target.index)
        buffer.receive_time_ns.append(receive_ns)
        buffer.price.append(price)
        buffer.amount.append(amount)
        buffer.side.append(side)
        buffer.trade_ids += text
        buffer.trade_id_lengths.append(len(text))
        target.lane.commit()

    @staticmethod
    def _is_before(target: _TradeTarget, receive_ns: int) -> bool:
        """Say whether a trade of a snapshot is of the first one, before which nothing came."""
        if target.last_ns == MISSING_INT and target.begin_ns == MISSING_INT:
            target.begin_ns = receive_ns
        return receive_ns == target.begin_ns

    def flush(self) -> None:
        """Write the events of duplicates that are being counted."""
        self._irregularities.flush()


class TickerWriter:
    """Writes the tickers of one venue's symbols."""

    def __init__(self, context: FeedContext) -> None:
        self._context = context
        self._lanes: dict[str, Lane[TickerBuffer]] = {}
        self._unwanted = REFUSED_ROWS.labels(context.exchange, "tickers", "not_assigned")

    def add(self, symbols: Iterable[str]) -> None:
        """Write the tickers of these symbols from now on."""
        for symbol in symbols:
            self._lanes[symbol] = self._context.batcher.find_lane(TickerBuffer, self._context.exchange, symbol)

    def remove(self, symbols: Iterable[str]) -> None:
        """Leave the tickers of these symbols out from now on."""
        for symbol in symbols:
            self._lanes.pop(symbol, None)

    def write(self, ticker: Record, receive_ns: int) -> None:
        """Write one ticker."""
        symbol = ticker["symbol"]
        lane = self._lanes.get(symbol)
        if lane is None:
            self._unwanted.inc()
            return
        exchange_time_us = _to_us(ticker["timestamp"])
        numbers = [(column, _to_float(ticker.get(name))) for column, name in _TICKER_FIELDS.items()]
        buffer = lane.buffer
        buffer.symbol_index.append(buffer.index_of(symbol))
        buffer.exchange_time_us.append(exchange_time_us)
        buffer.receive_time_ns.append(receive_ns)
        for column, number in numbers:
            getattr(buffer, column).append(number)
        lane.commit()


@dataclass(slots=True)
class _BookTarget:
    lane: Lane[BookBuffer]
    depth: int


@dataclass(slots=True)
class BookWriter:
    """Writes the states of the order books of one venue's symbols."""

    context: FeedContext
    _targets: dict[str, _BookTarget] = field(default_factory=dict)

    def add(self, symbols: Iterable[str], *, depth: int) -> None:
        """Write the books of these symbols from now on, `depth` levels a side."""
        for symbol in symbols:
            lane = self.context.batcher.find_lane(BookBuffer, self.context.exchange, symbol)
            self._targets[symbol] = _BookTarget(lane, depth)

    def remove(self, symbols: Iterable[str]) -> None:
        """Leave the books of these symbols out from now on."""
        for symbol in symbols:
            self._targets.pop(symbol, None)

    def write(self, book: Record, receive_ns: int) -> None:
        """Write the book as it stands now."""
        symbol = book["symbol"]
        target = self._targets.get(symbol)
        if target is None:
            REFUSED_ROWS.labels(self.context.exchange, "books", "not_assigned").inc()
            return
        nonce = book["nonce"]
        sequence = MISSING_INT if nonce is None or abs(nonce) > _MAX_INT else int(nonce)
        exchange_time_us = _to_us(book["timestamp"])
        bids, asks = book["bids"][: target.depth], book["asks"][: target.depth]
        bid_prices, bid_amounts = array("d", map(_PRICE, bids)), array("d", map(_AMOUNT, bids))
        ask_prices, ask_amounts = array("d", map(_PRICE, asks)), array("d", map(_AMOUNT, asks))
        buffer = target.lane.buffer
        buffer.symbol_index.append(buffer.index_of(symbol))
        buffer.exchange_time_us.append(exchange_time_us)
        buffer.receive_time_ns.append(receive_ns)
        buffer.sequence.append(sequence)
        buffer.previous_sequence.append(MISSING_INT)
        buffer.kind.append(KIND_SNAPSHOT)
        buffer.bid_count.append(len(bids))
        buffer.bid_price.extend(bid_prices)
        buffer.bid_amount.extend(bid_amounts)
        buffer.ask_count.append(len(asks))
        buffer.ask_price.extend(ask_prices)
        buffer.ask_amount.extend(ask_amounts)
        target.lane.commit()


def _to_float(value: float | str | None) -> float:
    return MISSING_FLOAT if value is None else float(value)


def _to_us(timestamp_ms: float | None) -> int:
    if timestamp_ms is None or abs(timestamp_ms) > _MAX_MS:
        return MISSING_INT
    return int(timestamp_ms) * _US_PER_MS
