"""Kraken spot over websockets, version 2.

Formats: https://docs.kraken.com/api/docs/websocket-v2/trade (and ticker, book, ping, status, heartbeat)
"""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, Any, ClassVar

from tickloom_simulator.book import Level
from tickloom_simulator.clock import format_us, now_ns
from tickloom_simulator.exchange import name_series
from tickloom_simulator.market import AMOUNT_SCALE, Market, Precision, choose_precision, list_coins
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
from tickloom_simulator.venues import kraken_rest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aiohttp import web

    from tickloom_simulator.book import BookUpdate
    from tickloom_simulator.connection import Connection
    from tickloom_simulator.faults import RateLimit
    from tickloom_simulator.hub import Hub
    from tickloom_simulator.instrument import Instrument
    from tickloom_simulator.listing import Listing
    from tickloom_simulator.tape import Trade

NAME = "kraken"
HEARTBEAT_PERIOD_S = 1.0
# The venue's old asset names, which its REST interface still uses.
_ASSETS = {"BTC": "XXBT", "ETH": "XETH", "XRP": "XXRP", "DOGE": "XXDG", "LTC": "XLTC", "ETC": "XETC", "USD": "ZUSD"}
_CHANNELS = {"trade": TRADES, "ticker": TICKERS, "book": BOOKS}
_DEPTHS = frozenset({10, 25, 100, 500, 1000})
_DEFAULT_DEPTH = 10
_CHECKSUM_DEPTH = 10
_SNAPSHOT_TRADES = 50
_MAX_TRADES_A_MESSAGE = 1000


def list_markets(count: int, seed: int) -> list[Market]:
    """List `count` markets against USD; XBT and XDG are what the venue calls BTC and DOGE."""
    markets = []
    for coin, price in list_coins(count, seed):
        precision = choose_precision(price, amount_decimals=8)
        if coin == "BTC":
            precision = Precision(1, 8)
        asset = _ASSETS.get(coin)
        market_id = f"{asset}ZUSD" if asset else f"{coin}USD"
        markets.append(Market(NAME, f"{coin}/USD", market_id, asset or coin, "ZUSD", precision, price))
    return markets


class Kraken:
    """Kraken spot."""

    is_numbered: ClassVar[bool] = False
    has_rest_snapshots: ClassVar[bool] = False

    def __init__(self, listing: Listing) -> None:
        self.listing = listing
        self._rest = kraken_rest.KrakenRest(listing)
        # What subscribers of a depth see of a book: updates say only what changes there.
        self._views: dict[tuple[str, int], _BookView] = {}

    def open(self, hub: Hub, connection: Connection) -> None:
        """Say that the system is online."""
        status = {"version": "2.0.10", "system": "online", "api_version": "v2"}
        data = [{**status, "connection_id": 8_423_536_080_466_635_000 + connection.peer.number}]
        hub.send(connection, [_write({"channel": "status", "type": "update", "data": data})])

    def receive(self, hub: Hub, connection: Connection, text: str) -> None:
        """Answer subscribe, unsubscribe and ping."""
        time_in = format_us(now_ns())
        try:
            request: dict[str, Any] = json.loads(text)
            method, params = request["method"], request.get("params") or {}
        except (ValueError, KeyError, TypeError, AttributeError):
            hub.send(connection, [_write({"error": "Malformed request", **_stamp({}, time_in, success=False)})])
            return
        if method == "ping":
            hub.send(connection, [_write({"method": "pong", **_stamp(request, time_in)})])
        elif method in {"subscribe", "unsubscribe"} and params.get("channel") in _CHANNELS:
            for symbol in params.get("symbol") or []:
                self._change(hub, connection, request, symbol, time_in)
        else:
            message = f"Unsupported channel or method: '{params.get('channel')}' for '{method}'"
            answer = {"error": message, "method": method, **_stamp(request, time_in, success=False)}
            hub.send(connection, [_write(answer)])

    def beat(self, hub: Hub, connection: Connection, now_s: float) -> None:
        """Send a heartbeat when nothing else was sent for a second."""
        if connection.subscriptions and now_s - connection.last_write_s >= HEARTBEAT_PERIOD_S:
            hub.send(connection, ['{"channel":"heartbeat"}'])

    def seal(self, connection: Connection, text: str) -> str:  # noqa: ARG002  # messages are the same for everyone
        """Leave messages as they are."""
        return text

    def write_trades(self, form: Form, instrument: Instrument, trades: Sequence[Trade]) -> list[str]:
        """Write all trades that are due into one message (several, when there are very many)."""
        return self._write_trades(form, instrument, trades, "update")

    def write_tickers(self, form: Form, instruments: Sequence[Instrument], time_ns: int) -> list[str]:
        """Write one message a ticker."""
        return [_write_ticker(instrument, time_ns, form.kind, "update") for instrument in instruments]

    def write_book(self, form: Form, instrument: Instrument, update: BookUpdate) -> list[str]:
        """Write what changed within the subscribed depth."""
        view = self._views.setdefault((instrument.market.symbol, form.depth), _BookView())
        bids, asks = view.advance(instrument, form.depth)
        return [_write_book(instrument, bids, asks, update.time_ns, "update")]

    def send_snapshot(self, hub: Hub, connection: Connection, subscription: Subscription) -> None:
        """Send the ticker, the book within its depth, or the last fifty trades."""
        instrument = self.listing.find(subscription.symbol)
        if instrument is None:
            return
        time_ns, market, form = now_ns(), instrument.market, subscription.form
        series = name_series(market, subscription.channel)
        rows: Rows
        if subscription.channel == TICKERS:
            texts = [_write_ticker(instrument, time_ns, form.kind, "snapshot")]
            rows = KeyRow(series, instrument.day.volume_e8)
        elif subscription.channel == BOOKS:
            view = self._views.setdefault((market.symbol, form.depth), _BookView())
            view.advance(instrument, form.depth)
            texts = [_write_book(instrument, *view.read(), time_ns, "snapshot")]
            rows = KeyRow(series, instrument.book.best_bid_amount_e8)
        else:
            trades = instrument.tape.read_recent(_SNAPSHOT_TRADES, time_ns)
            texts = self._write_trades(form, instrument, trades, "snapshot")
            rows = EarlierTradeRows(series, trades)
        hub.send(connection, texts, (rows,))

    def add_rest_routes(self, app: web.Application, hub: Hub) -> None:  # noqa: ARG002  # no snapshot to learn of
        """Add the paths of /0/public."""
        self._rest.add_routes(app)

    def write_not_found(self, request: web.Request) -> web.Response:
        """Answer a path that the venue does not have."""
        return kraken_rest.write_not_found(request)

    def write_rate_limit(self, fault: RateLimit) -> web.Response:
        """Answer a request that came too early."""
        return kraken_rest.write_rate_limit(fault)

    def _change(self, hub: Hub, connection: Connection, request: Mapping[str, Any], symbol: str, time_in: str) -> None:
        """Subscribe to or leave one symbol, and acknowledge it."""
        method, params = request["method"], request["params"]
        kind, depth = params["channel"], params.get("depth", _DEFAULT_DEPTH)
        error = None
        if self.listing.find(symbol) is None:
            error = f"Currency pair not supported {symbol}"
        elif kind == "book" and depth not in _DEPTHS:
            error = "Subscription depth not supported"
        if error is not None:
            answer = {"error": error, "method": method, "symbol": symbol, **_stamp(request, time_in, success=False)}
            hub.send(connection, [_write(answer)])
            return
        result: dict[str, Any] = {"channel": kind, "symbol": symbol}
        wants_snapshot = params.get("snapshot", kind != "trade")
        if kind == "book":
            result["depth"] = depth
        if kind == "ticker":
            result["event_trigger"] = params.get("event_trigger", "trades")
        if method == "subscribe":
            result["snapshot"] = wants_snapshot
        answer = {"method": method, "result": result, **_stamp(request, time_in)}
        hub.send(connection, [_write(answer)])
        if method == "unsubscribe":
            hub.unsubscribe(connection, f"{kind}:{symbol}")
            return
        form = Form(kind, depth=depth if kind == "book" else 0)
        subscription = Subscription(form, _CHANNELS[kind], symbol)
        if hub.subscribe(connection, f"{kind}:{symbol}", subscription) and wants_snapshot:
            if hub.mutes(subscription.channel, symbol):
                subscription.owes_snapshot = True
            else:
                self.send_snapshot(hub, connection, subscription)

    @staticmethod
    def _write_trades(form: Form, instrument: Instrument, trades: Sequence[Trade], kind: str) -> list[str]:
        symbol, ticks = instrument.market.symbol, instrument.market.ticks_per_unit
        texts = []
        for start in range(0, len(trades), _MAX_TRADES_A_MESSAGE):
            data = ",".join(
                f'{{"symbol":"{symbol}","side":"{"sell" if is_sell else "buy"}","price":{price / ticks},'
                f'"qty":{amount / AMOUNT_SCALE},"ord_type":"limit","trade_id":{trade_id},'
                f'"timestamp":"{format_us(time_ns)}"}}'
                for trade_id, price, amount, time_ns, is_sell in trades[start : start + _MAX_TRADES_A_MESSAGE]
            )
            texts.append(f'{{"channel":"{form.kind}","type":"{kind}","data":[{data}]}}')
        return texts


class _BookView:
    """What a subscriber of some depth has: the best levels of each side, amounts by price."""

    def __init__(self) -> None:
        self._sides: list[list[Level]] = [[], []]

    def read(self) -> tuple[list[Level], list[Level]]:
        """Return bids and asks."""
        return self._sides[0], self._sides[1]

    def advance(self, instrument: Instrument, depth: int) -> tuple[list[Level], list[Level]]:
        """Move to the book as it stands; return what changed.

        A level that was pushed out of the depth is not mentioned: clients cut their books themselves.
        """
        book = instrument.book
        changes: list[list[Level]] = []
        for position, side in enumerate((book.bids, book.asks)):
            before = {level.price_ticks: level.amount_e8 for level in self._sides[position]}
            after = side.read(depth)
            kept = {level.price_ticks for level in after}
            removed = [Level(price, 0) for price in before if price not in kept and not side.has(price)]
            changed = [level for level in after if before.get(level.price_ticks) != level.amount_e8]
            changes.append(removed + changed)
            self._sides[position] = after
        return changes[0], changes[1]


def _write(message: Mapping[str, Any]) -> str:
    return json.dumps(message, separators=(",", ":"))


def _stamp(request: Mapping[str, Any], time_in: str, *, success: bool = True) -> dict[str, Any]:
    """Return the fields that end every answer."""
    echo = {"req_id": request["req_id"]} if "req_id" in request else {}
    outcome = {} if request.get("method") == "ping" else {"success": success}
    return {**echo, **outcome, "time_in": time_in, "time_out": format_us(now_ns())}


def _write_ticker(instrument: Instrument, time_ns: int, channel: str, kind: str) -> str:
    ticker, ticks = instrument.read_ticker(time_ns), instrument.market.ticks_per_unit
    change = ticker.last_ticks - ticker.open_ticks
    data = {
        "symbol": instrument.market.symbol,
        "bid": ticker.bid_ticks / ticks,
        "bid_qty": ticker.bid_amount_e8 / AMOUNT_SCALE,
        "ask": ticker.ask_ticks / ticks,
        "ask_qty": ticker.ask_amount_e8 / AMOUNT_SCALE,
        "last": ticker.last_ticks / ticks,
        "volume": ticker.volume_e8 / AMOUNT_SCALE,
        "vwap": round(ticker.vwap_ticks) / ticks,
        "low": ticker.low_ticks / ticks,
        "high": ticker.high_ticks / ticks,
        "change": change / ticks,
        "change_pct": round(100 * change / ticker.open_ticks, 2),
        "trades": ticker.trade_count,
        "timestamp": format_us(time_ns),
    }
    return _write({"channel": channel, "type": kind, "data": [data]})


def _write_book(instrument: Instrument, bids: Sequence[Level], asks: Sequence[Level], time_ns: int, kind: str) -> str:
    market = instrument.market
    sides = (_write_levels(levels, market.ticks_per_unit) for levels in (bids, asks))
    checksum = compute_checksum(
        instrument.book.asks.read(_CHECKSUM_DEPTH), instrument.book.bids.read(_CHECKSUM_DEPTH), market.precision
    )
    return (
        f'{{"channel":"book","type":"{kind}","data":[{{"symbol":"{market.symbol}","bids":{next(sides)},'
        f'"asks":{next(sides)},"checksum":{checksum},"timestamp":"{format_us(time_ns)}"}}]}}'
    )


def _write_levels(levels: Sequence[Level], ticks_per_unit: int) -> str:
    items = (
        f'{{"price":{level.price_ticks / ticks_per_unit},"qty":{level.amount_e8 / AMOUNT_SCALE}}}' for level in levels
    )
    return f"[{','.join(items)}]"


def compute_checksum(asks: Sequence[Level], bids: Sequence[Level], precision: Precision) -> int:
    """Compute the CRC32 of the ten best levels a side.

    Source: https://docs.kraken.com/api/docs/guides/spot-ws-book-v2 (digits without the point and leading zeros,
    which are the integers of ticks and of amount steps themselves; asks first).
    """
    step_e8 = 10 ** (8 - precision.amount_decimals)
    digits = "".join(f"{level.price_ticks}{level.amount_e8 // step_e8}" for level in (*asks, *bids))
    return zlib.crc32(digits.encode())
