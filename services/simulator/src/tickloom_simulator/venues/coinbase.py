"""Coinbase Advanced Trade over websockets.

Formats: https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket/websocket-channels
"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakKeyDictionary

from tickloom_simulator.clock import format_ns, format_us, now_ns
from tickloom_simulator.exchange import name_series
from tickloom_simulator.market import AMOUNT_SCALE, Market, choose_precision, list_coins
from tickloom_simulator.subscription import (
    BOOKS,
    TICKERS,
    TRADES,
    EarlierTradeRows,
    Form,
    KeyRow,
    Rows,
    Subscription,
)
from tickloom_simulator.venues import coinbase_rest
from tickloom_simulator.venues.coinbase_rest import write_price

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp import web

    from tickloom_simulator.book import BookUpdate, Level
    from tickloom_simulator.connection import Connection
    from tickloom_simulator.faults import RateLimit
    from tickloom_simulator.hub import Hub
    from tickloom_simulator.instrument import Instrument
    from tickloom_simulator.listing import Listing
    from tickloom_simulator.tape import Trade

NAME = "coinbase"
_CHANNELS = {"market_trades": TRADES, "ticker": TICKERS, "ticker_batch": TICKERS, "level2": BOOKS}
_HEARTBEATS = "heartbeats"
_SNAPSHOT_TRADES = 50
_MAX_TRADES_A_MESSAGE = 1000
# Replaced by the connection's own count when a message is sealed.
_NUMBER = '"sequence_num":0'


def list_markets(count: int, seed: int) -> list[Market]:
    """List `count` markets against USD."""
    return [
        Market(NAME, f"{coin}/USD", f"{coin}-USD", coin, "USD", choose_precision(price, amount_decimals=8), price)
        for coin, price in list_coins(count, seed)
    ]


class Coinbase:
    """Coinbase Advanced Trade."""

    is_numbered: ClassVar[bool] = True
    has_rest_snapshots: ClassVar[bool] = False

    def __init__(self, listing: Listing) -> None:
        self.listing = listing
        self._rest = coinbase_rest.CoinbaseRest(listing)
        self._heart_counts: WeakKeyDictionary[Connection, int] = WeakKeyDictionary()

    def open(self, hub: Hub, connection: Connection) -> None:
        """Say nothing: the venue waits for the client."""

    def receive(self, hub: Hub, connection: Connection, text: str) -> None:
        """Answer subscribe and unsubscribe."""
        try:
            request: dict[str, Any] = json.loads(text)
            action, channel = request["type"], request["channel"]
            product_ids: list[str] = request.get("product_ids") or []
        except (ValueError, KeyError, TypeError, AttributeError):
            _refuse(hub, connection, "failed to parse message")
            return
        if action not in {"subscribe", "unsubscribe"} or channel not in {*_CHANNELS, _HEARTBEATS}:
            _refuse(hub, connection, f"channel or type not supported: {channel} {action}")
            return
        unknown = [product_id for product_id in product_ids if self.listing.find_id(product_id) is None]
        if unknown:
            _refuse(hub, connection, f"{', '.join(unknown)} is not a valid product")
            return
        if channel == _HEARTBEATS:
            self._change_heartbeats(connection, wanted=action == "subscribe")
        for product_id in product_ids if channel != _HEARTBEATS else ():
            if action == "subscribe":
                self._subscribe(hub, connection, channel, product_id)
            else:
                hub.unsubscribe(connection, f"{channel}:{product_id}")
        self._confirm(hub, connection)

    def beat(self, hub: Hub, connection: Connection, now_s: float) -> None:  # noqa: ARG002  # beats need no clock
        """Send the heartbeats channel to those who asked for it."""
        if connection not in self._heart_counts:
            return
        self._heart_counts[connection] += 1
        time_ns = now_ns()
        event = {"current_time": format_us(time_ns), "heartbeat_counter": str(self._heart_counts[connection])}
        hub.send(connection, [_write_message(_HEARTBEATS, json.dumps(event), time_ns)])

    def seal(self, connection: Connection, text: str) -> str:
        """Number a message for its connection; errors carry no number."""
        if _NUMBER not in text:
            return text
        sealed = text.replace(_NUMBER, f'"sequence_num":{connection.sequence}', 1)
        connection.sequence += 1
        return sealed

    def write_trades(self, form: Form, instrument: Instrument, trades: Sequence[Trade]) -> list[str]:  # noqa: ARG002
        """Write all trades that are due into one message (several, when there are very many)."""
        return _write_trades(instrument, trades, "update")

    def write_tickers(self, form: Form, instruments: Sequence[Instrument], time_ns: int) -> list[str]:
        """Write one message a ticker."""
        return [_write_ticker(instrument, time_ns, form.kind, "update") for instrument in instruments]

    def write_book(self, form: Form, instrument: Instrument, update: BookUpdate) -> list[str]:  # noqa: ARG002
        """Write what changed."""
        return [_write_book(instrument, update.bids, update.asks, update.time_ns, "update")]

    def send_snapshot(self, hub: Hub, connection: Connection, subscription: Subscription) -> None:
        """Send the last trades, the ticker or the whole book."""
        instrument = self.listing.find(subscription.symbol)
        if instrument is None:
            return
        time_ns, book = now_ns(), instrument.book
        series = name_series(instrument.market, subscription.channel)
        rows: Rows
        if subscription.channel == TRADES:
            trades = instrument.tape.read_recent(_SNAPSHOT_TRADES, time_ns)
            texts = _write_trades(instrument, trades, "snapshot")
            rows = EarlierTradeRows(series, trades)
        elif subscription.channel == TICKERS:
            texts = [_write_ticker(instrument, time_ns, subscription.form.kind, "snapshot")]
            rows = KeyRow(series, instrument.day.volume_e8)
        else:
            bids, asks = book.bids.read(len(book.bids)), book.asks.read(len(book.asks))
            texts = [_write_book(instrument, bids, asks, time_ns, "snapshot")]
            rows = KeyRow(series, book.best_bid_amount_e8)
        hub.send(connection, texts, (rows,))

    def add_rest_routes(self, app: web.Application, hub: Hub) -> None:  # noqa: ARG002  # no snapshot to learn of
        """Add the public paths of version 2 and of the brokerage API."""
        self._rest.add_routes(app)

    def write_not_found(self, request: web.Request) -> web.Response:
        """Answer a path that the venue does not have."""
        return coinbase_rest.write_not_found(request)

    def write_rate_limit(self, fault: RateLimit) -> web.Response:
        """Answer a request that came too early."""
        return coinbase_rest.write_rate_limit(fault)

    def _subscribe(self, hub: Hub, connection: Connection, channel: str, product_id: str) -> None:
        instrument = self.listing.find_id(product_id)
        if instrument is None:
            return
        subscription = Subscription(
            Form(channel), _CHANNELS[channel], instrument.market.symbol, is_batched=channel == "ticker_batch"
        )
        if not hub.subscribe(connection, f"{channel}:{product_id}", subscription):
            return
        if hub.mutes(subscription.channel, subscription.symbol):
            subscription.owes_snapshot = True
        else:
            self.send_snapshot(hub, connection, subscription)

    def _change_heartbeats(self, connection: Connection, *, wanted: bool) -> None:
        if wanted:
            self._heart_counts.setdefault(connection, 0)
        else:
            self._heart_counts.pop(connection, None)

    def _confirm(self, hub: Hub, connection: Connection) -> None:
        """List everything that the connection is subscribed to now."""
        listed: defaultdict[str, list[str]] = defaultdict(list)
        for name in connection.subscriptions:
            channel, _, product_id = name.partition(":")
            listed[channel].append(product_id)
        if connection in self._heart_counts:
            listed[_HEARTBEATS] = [_HEARTBEATS]
        event = json.dumps({"subscriptions": listed}, separators=(",", ":"))
        hub.send(connection, [_write_message("subscriptions", event, now_ns())])


def _refuse(hub: Hub, connection: Connection, message: str) -> None:
    hub.send(connection, [json.dumps({"type": "error", "message": message}, separators=(",", ":"))])


def _write_message(channel: str, event: str, time_ns: int) -> str:
    return f'{{"channel":"{channel}","client_id":"","timestamp":"{format_ns(time_ns)}",{_NUMBER},"events":[{event}]}}'


def _write_trades(instrument: Instrument, trades: Sequence[Trade], kind: str) -> list[str]:
    """Write trades newest first, as the venue does."""
    market, time_ns = instrument.market, now_ns()
    product_id, ticks, decimals = market.market_id, market.ticks_per_unit, market.precision.price_decimals
    texts = []
    for start in range(0, len(trades), _MAX_TRADES_A_MESSAGE):
        items = ",".join(
            f'{{"trade_id":"{trade_id}","product_id":"{product_id}","price":"{price / ticks:.{decimals}f}",'
            f'"size":"{amount / AMOUNT_SCALE:.8f}","side":"{"SELL" if is_sell else "BUY"}",'
            f'"time":"{format_us(trade_ns)}"}}'
            for trade_id, price, amount, trade_ns, is_sell in reversed(trades[start : start + _MAX_TRADES_A_MESSAGE])
        )
        texts.append(_write_message("market_trades", f'{{"type":"{kind}","trades":[{items}]}}', time_ns))
    return texts


def _write_ticker(instrument: Instrument, time_ns: int, channel: str, kind: str) -> str:
    market, ticker = instrument.market, instrument.read_ticker(time_ns)
    change = ticker.last_ticks - ticker.open_ticks
    data = {
        "type": "ticker",
        "product_id": market.market_id,
        "price": write_price(ticker.last_ticks, market),
        "volume_24_h": f"{ticker.volume_e8 / AMOUNT_SCALE:.8f}",
        "low_24_h": write_price(ticker.low_ticks, market),
        "high_24_h": write_price(ticker.high_ticks, market),
        "low_52_w": write_price(ticker.low_ticks // 2, market),
        "high_52_w": write_price(ticker.high_ticks * 2, market),
        "price_percent_chg_24_h": f"{100 * change / ticker.open_ticks:.14f}",
        "best_bid": write_price(ticker.bid_ticks, market),
        "best_bid_quantity": f"{ticker.bid_amount_e8 / AMOUNT_SCALE:.8f}",
        "best_ask": write_price(ticker.ask_ticks, market),
        "best_ask_quantity": f"{ticker.ask_amount_e8 / AMOUNT_SCALE:.8f}",
    }
    event = json.dumps({"type": kind, "tickers": [data]}, separators=(",", ":"))
    return _write_message(channel, event, time_ns)


def _write_book(instrument: Instrument, bids: Sequence[Level], asks: Sequence[Level], time_ns: int, kind: str) -> str:
    market, time_text = instrument.market, format_us(time_ns)
    event_time = "1970-01-01T00:00:00Z" if kind == "snapshot" else time_text
    items = ",".join(
        f'{{"side":"{side}","event_time":"{event_time}","price_level":"{write_price(level.price_ticks, market)}",'
        f'"new_quantity":"{level.amount_e8 / AMOUNT_SCALE:.8f}"}}'
        for side, levels in (("bid", bids), ("offer", asks))
        for level in levels
    )
    event = f'{{"type":"{kind}","product_id":"{market.market_id}","updates":[{items}]}}'
    return _write_message("l2_data", event, time_ns)
