"""Binance spot over websockets: raw and combined streams.

Formats: https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import parse_qs, urlsplit
from weakref import WeakKeyDictionary

from tickloom_simulator.clock import NS_PER_MS
from tickloom_simulator.market import AMOUNT_SCALE, Market, choose_precision, list_coins
from tickloom_simulator.subscription import BOOKS, TICKERS, TRADES, Form, Subscription
from tickloom_simulator.venues import binance_rest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiohttp import web

    from tickloom_simulator.book import BookUpdate
    from tickloom_simulator.connection import Connection
    from tickloom_simulator.faults import RateLimit
    from tickloom_simulator.hub import Hub
    from tickloom_simulator.instrument import Instrument
    from tickloom_simulator.listing import Listing
    from tickloom_simulator.tape import Trade

NAME = "binance"
PING_PERIOD_S = 20.0
# Kind of a stream → channel; a bookTicker changes with the book but names no state of it.
_CHANNELS = {
    "trade": TRADES,
    "aggTrade": TRADES,
    "ticker": TICKERS,
    "miniTicker": TICKERS,
    "depth": BOOKS,
    "bookTicker": BOOKS,
}
_ALL_SYMBOLS = {"!ticker@arr": "ticker", "!miniTicker@arr": "miniTicker"}


def list_markets(count: int, seed: int) -> list[Market]:
    """List `count` markets against USDT."""
    return [
        Market(NAME, f"{coin}/USDT", f"{coin}USDT", coin, "USDT", choose_precision(price), price)
        for coin, price in list_coins(count, seed)
    ]


def read_stream(stream: str, find_symbol: Callable[[str], str | None], *, wrapped: bool) -> Subscription | None:
    """Read a stream name ("btcusdt@depth@100ms") as a subscription.

    Args:
        stream: the name as the client wrote it.
        find_symbol: from the market id in lower case to the unified symbol, None when it is not listed.
        wrapped: whether the connection gets combined-stream messages.
    """
    if stream in _ALL_SYMBOLS:
        return Subscription(Form(_ALL_SYMBOLS[stream] + "@arr", stream, wrapped), TICKERS, "", is_batched=True)
    market_id, _, suffix = stream.partition("@")
    kind = suffix.partition("@")[0]  # the rest is an update speed
    symbol = find_symbol(market_id)
    if symbol is None or kind not in _CHANNELS:
        return None
    return Subscription(
        Form(kind, stream, wrapped),
        _CHANNELS[kind],
        symbol,
        is_counted=kind != "bookTicker",
        awaits_snapshot=kind == "depth",
    )


class BinanceSockets:
    """The request side of the protocol; `find_symbol` says what is listed."""

    def __init__(self, find_symbol: Callable[[str], str | None]) -> None:
        self._find_symbol = find_symbol
        self._next_ping_s: WeakKeyDictionary[Connection, float] = WeakKeyDictionary()

    def open(self, hub: Hub, connection: Connection) -> None:
        """Subscribe to the streams that the path names: /ws/<stream> or /stream?streams=a/b."""
        url = urlsplit(connection.peer.path)
        connection.wraps = url.path.startswith("/stream")
        named = parse_qs(url.query).get("streams", [""])[0] if connection.wraps else url.path.removeprefix("/ws")
        for stream in named.split("/"):
            self._subscribe(hub, connection, stream)

    def receive(self, hub: Hub, connection: Connection, text: str) -> None:
        """Answer SUBSCRIBE, UNSUBSCRIBE and LIST_SUBSCRIPTIONS."""
        try:
            request: dict[str, Any] = json.loads(text)
            method, streams, request_id = request["method"], request.get("params") or [], request["id"]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self._refuse(hub, connection, 2, f"Invalid request: {error!r}")
            return
        result: list[str] | None = None
        if method == "SUBSCRIBE":
            # The acknowledgement goes first: clients ask for their snapshots when they read it.
            hub.send(connection, [json.dumps({"result": None, "id": request_id}, separators=(",", ":"))])
            for stream in streams:
                self._subscribe(hub, connection, stream)
            return
        if method == "UNSUBSCRIBE":
            for stream in streams:
                hub.unsubscribe(connection, stream)
        elif method == "LIST_SUBSCRIPTIONS":
            result = list(connection.subscriptions)
        else:
            self._refuse(hub, connection, 2, f"Invalid request: unknown variant `{method}`")
            return
        hub.send(connection, [json.dumps({"result": result, "id": request_id}, separators=(",", ":"))])

    def beat(self, hub: Hub, connection: Connection, now_s: float) -> None:  # noqa: ARG002  # pings bypass the hub
        """Ping every twenty seconds."""
        if now_s >= self._next_ping_s.setdefault(connection, now_s + PING_PERIOD_S):
            connection.ping()
            self._next_ping_s[connection] = now_s + PING_PERIOD_S

    def seal(self, connection: Connection, text: str) -> str:  # noqa: ARG002  # messages are the same for everyone
        """Leave messages as they are."""
        return text

    def _subscribe(self, hub: Hub, connection: Connection, stream: str) -> None:
        subscription = read_stream(stream, self._find_symbol, wrapped=connection.wraps)
        if subscription is not None:  # the venue acknowledges streams that do not exist, too
            hub.subscribe(connection, stream, subscription)

    @staticmethod
    def _refuse(hub: Hub, connection: Connection, code: int, message: str) -> None:
        hub.send(connection, [json.dumps({"error": {"code": code, "msg": message}}, separators=(",", ":"))])


class Binance(BinanceSockets):
    """Binance spot."""

    is_numbered: ClassVar[bool] = False
    has_rest_snapshots: ClassVar[bool] = True

    def __init__(self, listing: Listing) -> None:
        self.listing = listing
        symbols = {market.market_id.lower(): market.symbol for market in listing.markets}
        super().__init__(symbols.get)
        self._rest = binance_rest.BinanceRest(listing)

    def write_trades(self, form: Form, instrument: Instrument, trades: Sequence[Trade]) -> list[str]:
        """Write one message a trade; an aggregate trade always aggregates exactly one."""
        market_id, ticks = instrument.market.market_id, instrument.market.ticks_per_unit
        sent_ms = time.time_ns() // NS_PER_MS
        head, tail = _wrap(form)
        if form.kind == "aggTrade":
            return [
                f'{head}{{"e":"aggTrade","E":{sent_ms},"s":"{market_id}","a":{trade_id},"p":"{price / ticks:.8f}",'
                f'"q":"{amount / AMOUNT_SCALE:.8f}","f":{trade_id},"l":{trade_id},"T":{time_ns // NS_PER_MS},'
                f'"m":{"true" if is_sell else "false"},"M":true}}{tail}'
                for trade_id, price, amount, time_ns, is_sell in trades
            ]
        return [
            f'{head}{{"e":"trade","E":{sent_ms},"s":"{market_id}","t":{trade_id},"p":"{price / ticks:.8f}",'
            f'"q":"{amount / AMOUNT_SCALE:.8f}","T":{time_ns // NS_PER_MS},'
            f'"m":{"true" if is_sell else "false"},"M":true}}{tail}'
            for trade_id, price, amount, time_ns, is_sell in trades
        ]

    def write_tickers(self, form: Form, instruments: Sequence[Instrument], time_ns: int) -> list[str]:
        """Write one message a ticker, or one array for all symbols."""
        head, tail = _wrap(form)
        write = _write_mini_ticker if form.kind.startswith("mini") else _write_ticker
        texts = [write(instrument, time_ns) for instrument in instruments]
        if form.kind.endswith("@arr"):
            return [f"{head}[{','.join(texts)}]{tail}"]
        return [f"{head}{text}{tail}" for text in texts]

    def write_book(self, form: Form, instrument: Instrument, update: BookUpdate) -> list[str]:
        """Write a depthUpdate or a bookTicker."""
        market = instrument.market
        head, tail = _wrap(form)
        ticks = market.ticks_per_unit
        if form.kind == "bookTicker":
            (bid,), (ask,) = instrument.book.bids.read(1), instrument.book.asks.read(1)
            text = (
                f'{head}{{"u":{update.last_update_id},"s":"{market.market_id}",'
                f'"b":"{bid.price_ticks / ticks:.8f}","B":"{bid.amount_e8 / AMOUNT_SCALE:.8f}",'
                f'"a":"{ask.price_ticks / ticks:.8f}","A":"{ask.amount_e8 / AMOUNT_SCALE:.8f}"}}{tail}'
            )
            return [text]
        text = (
            f'{head}{{"e":"depthUpdate","E":{update.time_ns // NS_PER_MS},"s":"{market.market_id}",'
            f'"U":{update.first_update_id},"u":{update.last_update_id},'
            f'"b":{binance_rest.write_levels(update.bids, ticks)},'
            f'"a":{binance_rest.write_levels(update.asks, ticks)}}}{tail}'
        )
        return [text]

    def send_snapshot(self, hub: Hub, connection: Connection, subscription: Subscription) -> None:
        """Send nothing: a snapshot is a REST request here."""

    def add_rest_routes(self, app: web.Application, hub: Hub) -> None:
        """Add the paths of api, sapi, fapi, dapi and eapi that public clients use."""
        self._rest.add_routes(app, hub)

    def write_not_found(self, request: web.Request) -> web.Response:
        """Answer a path that the venue does not have."""
        return binance_rest.write_not_found(request)

    def write_rate_limit(self, fault: RateLimit) -> web.Response:
        """Answer a request that came too early."""
        return binance_rest.write_rate_limit(fault)


def _wrap(form: Form) -> tuple[str, str]:
    return (f'{{"stream":"{form.stream}","data":', "}") if form.wrapped else ("", "")


def _write_mini_ticker(instrument: Instrument, time_ns: int) -> str:
    ticker, ticks = instrument.read_ticker(time_ns), instrument.market.ticks_per_unit
    cost = ticker.vwap_ticks / ticks * ticker.volume_e8 / AMOUNT_SCALE
    return (
        f'{{"e":"24hrMiniTicker","E":{time_ns // NS_PER_MS},"s":"{instrument.market.market_id}",'
        f'"c":"{ticker.last_ticks / ticks:.8f}","o":"{ticker.open_ticks / ticks:.8f}",'
        f'"h":"{ticker.high_ticks / ticks:.8f}","l":"{ticker.low_ticks / ticks:.8f}",'
        f'"v":"{ticker.volume_e8 / AMOUNT_SCALE:.8f}","q":"{cost:.8f}"}}'
    )


def _write_ticker(instrument: Instrument, time_ns: int) -> str:
    fields = binance_rest.describe_ticker(instrument, time_ns)
    names = {
        "p": "priceChange",
        "P": "priceChangePercent",
        "w": "weightedAvgPrice",
        "x": "prevClosePrice",
        "c": "lastPrice",
        "Q": "lastQty",
        "b": "bidPrice",
        "B": "bidQty",
        "a": "askPrice",
        "A": "askQty",
        "o": "openPrice",
        "h": "highPrice",
        "l": "lowPrice",
        "v": "volume",
        "q": "quoteVolume",
        "O": "openTime",
        "C": "closeTime",
        "F": "firstId",
        "L": "lastId",
        "n": "count",
    }
    event = {"e": "24hrTicker", "E": time_ns // NS_PER_MS, "s": instrument.market.market_id}
    return json.dumps(event | {short: fields[long] for short, long in names.items()}, separators=(",", ":"))
