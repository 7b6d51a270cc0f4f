"""The native feed for Binance's spot trades: own websocket, frames decoded straight into columns.

Format: Binance Spot API, "WebSocket Streams", combined streams (`/stream?streams=btcusdt@trade/ethusdt@trade`); trade
ids `t` are contiguous for each symbol. Symbols and addresses come from ccxt's markets and urls, so that an `endpoint:`
holds here too.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec

from tickloom_collector.batcher import Lane
from tickloom_collector.feeds.feed import FeedContext
from tickloom_collector.feeds.irregularities import Irregularities
from tickloom_collector.feeds.keeper import SubscribeGate
from tickloom_collector.feeds.links import LinkLog
from tickloom_collector.feeds.stream import Stream, StreamSettings
from tickloom_collector.feeds.venue import Venue
from tickloom_collector.metrics import REFUSED_ROWS, find_traffic
from tickloom_core.columns import SIDE_BUY, SIDE_SELL, TradeBuffer
from tickloom_core.plan import Shard
from tickloom_venues.errors import TerminalVenueError

STREAMS_PER_CONNECTION: Final = 200
"""Of 1,024 that Binance allows: the URL stays short, and a lost connection concerns few symbols."""

_LIFETIME_S: Final = 23.5 * 3600
"""Binance ends every connection after 24 h."""
_US_PER_MS: Final = 1000


# What an array of 64-bit integers takes, also in microseconds: a row is whole or not there.
_Unsigned = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class _Trade(msgspec.Struct, gc=False):
    s: str
    t: _Unsigned
    p: float
    q: float
    T: _Unsigned
    m: bool
    """Whether the buyer was the maker: the taker sold."""


class _Frame(msgspec.Struct, gc=False):
    data: _Trade


# Not strict: prices and amounts are numbers written as strings, which msgspec reads without making the strings.
_decode = msgspec.json.Decoder(_Frame, strict=False).decode


@dataclass(slots=True)
class _Target:
    """Where the trades of one symbol go; `index` is the symbol's place in `buffer`."""

    symbol: str
    lane: Lane[TradeBuffer]
    buffer: TradeBuffer | None = None
    index: int = 0
    last_id: int = -1
    last_ns: int = 0


class NativeBinanceFeed:
    """Carries the spot trades of Binance."""

    def __init__(self, context: FeedContext, venue: Venue) -> None:
        self._context = context
        self._venue = venue
        self._links = LinkLog(context, "native", channel="trades")
        self._irregularities = Irregularities(context.events, context.exchange)
        self._unwanted = REFUSED_ROWS.labels(context.exchange, "trades", "not_assigned")
        self._targets: dict[str, _Target] = {}
        self._streams: dict[str, list[Stream]] = {}
        self._settings = StreamSettings(
            exchange=context.exchange,
            agent=context.agent,
            limits=context.limits,
            gate=SubscribeGate(context.limits),
            links=self._links,
            traffic=find_traffic(context.exchange, "native"),
            lifetime_s=_LIFETIME_S,
        )

    async def carry(self, shard: Shard) -> None:
        """Deliver the shard's trades until cancelled.

        Raises:
            TerminalVenueError: the venue lists none of the symbols, or was tried as often as the configuration allows.
        """
        markets = await self._venue.load()
        symbols = await self._venue.select(shard.symbols, channel=shard.channel, spot_only=True)
        market_ids = {symbol: markets[symbol].id for symbol in symbols}
        if not market_ids:
            raise TerminalVenueError(
                f"{shard.exchange} lists none of the symbols of {shard.id} as spot; correct the configuration",
                venue=shard.exchange,
            )
        for symbol, market_id in market_ids.items():
            lane = self._context.batcher.find_lane(TradeBuffer, self._context.exchange, symbol)
            self._targets[market_id] = _Target(symbol, lane)
        self._streams[shard.id] = streams = self._make_streams(shard, list(market_ids.values()))
        try:
            async with asyncio.TaskGroup() as group:
                for stream in streams:
                    group.create_task(stream.run())
        except* TerminalVenueError as refusals:
            raise refusals.exceptions[0] from refusals
        finally:
            del self._streams[shard.id]
            for market_id in market_ids.values():
                del self._targets[market_id]

    def is_carrying(self, shard_id: str) -> bool:
        """Return whether all connections of the shard stand."""
        streams = self._streams.get(shard_id, [])
        return bool(streams) and all(stream.is_open for stream in streams)

    async def close(self, deadline_s: float) -> None:
        """Write what is still being counted; the connections ended with the shards' tasks."""
        del deadline_s
        self._links.note_end()
        self._irregularities.flush()

    def handle_frame(self, payload: memoryview, receive_ns: int) -> None:
        """Write the trade of one frame, unless it was written before.

        Raises:
            MsgspecError: the frame is none of a combined trade stream.
        """
        trade = _decode(payload).data
        target = self._targets.get(trade.s)
        if target is None:
            self._unwanted.inc()
            return
        trade_id = trade.t
        if trade_id != target.last_id + 1 and target.last_id >= 0 and not self._admit(target, trade_id, receive_ns):
            return
        target.last_id = trade_id
        target.last_ns = receive_ns
        buffer = target.lane.buffer
        if target.buffer is not buffer:
            target.buffer = buffer
            target.index = buffer.index_of(target.symbol)
        text = b"%d" % trade_id
        buffer.symbol_index.append(target.index)
        buffer.exchange_time_us.append(trade.T * _US_PER_MS)
        buffer.receive_time_ns.append(receive_ns)
        buffer.price.append(trade.p)
        buffer.amount.append(trade.q)
        buffer.side.append(SIDE_SELL if trade.m else SIDE_BUY)
        buffer.trade_ids += text
        buffer.trade_id_lengths.append(len(text))
        target.lane.commit()

    def _admit(self, target: _Target, trade_id: int, receive_ns: int) -> bool:
        """Record a gap, or count a repeat and return False."""
        if trade_id <= target.last_id:
            self._irregularities.note_duplicate(target.symbol, receive_ns)
            return False
        missing = trade_id - target.last_id - 1
        self._irregularities.record_gap(target.symbol, missing, target.last_ns, receive_ns)
        return True

    def _make_streams(self, shard: Shard, market_ids: list[str]) -> list[Stream]:
        # ccxt's address of the plain streams, which an `endpoint:` has redirected already.
        root = str(self._venue.exchange.urls["api"]["ws"]["spot"]).removesuffix("/ws")
        streams = []
        for start in range(0, len(market_ids), STREAMS_PER_CONNECTION):
            names = [f"{market_id.lower()}@trade" for market_id in market_ids[start : start + STREAMS_PER_CONNECTION]]
            name = f"{root}/stream ({len(names)} streams of {shard.id} from {start})"
            url = f"{root}/stream?streams={'/'.join(names)}"
            streams.append(Stream(url, name, self.handle_frame, self._settings))
        return streams
