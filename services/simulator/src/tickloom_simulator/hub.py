"""The hub of one venue: its open sockets, and which of them asked for what."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from itertools import count
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from aiohttp import WSMsgType, web

from tickloom_simulator.connection import Connection, Peer, encode_frame, read_agent
from tickloom_simulator.subscription import BOOKS, CHANNELS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tickloom_simulator.faults import FaultRegistry
    from tickloom_simulator.subscription import Rows, Subscription
    from tickloom_simulator.truth import Truth

_MAX_REQUEST_BYTES = 1024 * 1024


class SocketProtocol(Protocol):
    """How a venue talks over its websockets; see the modules in `venues`."""

    def open(self, hub: Hub, connection: Connection) -> None:
        """Greet a new connection, and subscribe it to what its path names."""

    def receive(self, hub: Hub, connection: Connection, text: str) -> None:
        """Act on one message of a client."""

    def beat(self, hub: Hub, connection: Connection, now_s: float) -> None:
        """Send what the venue sends without being asked; called once a second."""

    def seal(self, connection: Connection, text: str) -> str:
        """Finish a message for one connection (Coinbase numbers its messages)."""


class Link(NamedTuple):
    """A connection and one of its subscriptions."""

    connection: Connection
    subscription: Subscription


class Hub:
    """The sockets of one venue."""

    def __init__(self, venue: str, protocol: SocketProtocol, truth: Truth, faults: FaultRegistry) -> None:
        self.venue = venue
        self.truth = truth
        self.faults = faults
        self.connections: set[Connection] = set()
        self.version = 0  # grows with every change of routes
        self._protocol = protocol
        self._routes: defaultdict[tuple[str, str], list[Link]] = defaultdict(list)
        self._numbers = count(1)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Serve one websocket until it closes."""
        websocket = web.WebSocketResponse(compress=False, max_msg_size=_MAX_REQUEST_BYTES)
        await websocket.prepare(request)
        transport = request.transport
        if not isinstance(transport, asyncio.Transport):
            return websocket  # the client left during the handshake
        peer = Peer(read_agent(request.headers.get("User-Agent")), request.path_qs, next(self._numbers))
        connection = Connection(peer, websocket, transport)
        self.connections.add(connection)
        try:
            self._protocol.open(self, connection)
            async for message in websocket:
                if message.type is WSMsgType.TEXT:
                    self._protocol.receive(self, connection, message.data)
        finally:
            self._forget(connection)
        return websocket

    def subscribe(self, connection: Connection, name: str, subscription: Subscription) -> bool:
        """Note a subscription under the protocol's name for it; return whether it will get data.

        Asking again for the same name starts the subscription anew.
        """
        self.unsubscribe(connection, name)
        connection.subscriptions[name] = subscription
        if self.faults.withholds(self.venue, subscription.channel):
            return False
        self._routes[subscription.channel, subscription.symbol].append(Link(connection, subscription))
        self.version += 1
        return True

    def unsubscribe(self, connection: Connection, name: str) -> bool:
        """Drop a subscription; return whether it was there."""
        subscription = connection.subscriptions.pop(name, None)
        if subscription is None:
            return False
        key = subscription.channel, subscription.symbol
        self._routes[key] = [link for link in self._routes[key] if link.subscription is not subscription]
        if not self._routes[key]:
            del self._routes[key]
        self.version += 1
        return True

    def find_links(self, channel: str, symbol: str) -> list[Link]:
        """Return who gets data of a channel and symbol, those who asked for all symbols included."""
        return self._routes.get((channel, symbol), []) + self._routes.get((channel, ""), [])

    def list_symbols(self, channel: str) -> set[str]:
        """Return the symbols of a channel that somebody gets data of; "" stands for all."""
        return {symbol for routed, symbol in self._routes if routed == channel}

    def list_links(self) -> Iterable[Link]:
        """Iterate over all subscriptions that get data."""
        return (link for links in tuple(self._routes.values()) for link in tuple(links))

    def mutes(self, channel: str, symbol: str) -> bool:
        """Tell whether a fault keeps a symbol's channel silent."""
        return self.faults.mutes(self.venue, channel, symbol)

    def encode(self, connection: Connection, texts: Sequence[str]) -> list[bytes]:
        """Seal and frame messages for one connection."""
        return [encode_frame(self._protocol.seal(connection, text)) for text in texts]

    def queue(self, connection: Connection, frames: Sequence[bytes], rows: Sequence[Rows]) -> None:
        """Queue frames for the next flush, later when the venue is slow."""
        connection.queue(frames, rows, time.monotonic() + self.faults.read_delay_s(self.venue))

    def send(self, connection: Connection, texts: Sequence[str], rows: Sequence[Rows] = ()) -> None:
        """Send messages to one connection at once (or later when the venue is slow)."""
        self.queue(connection, self.encode(connection, texts), rows)
        connection.flush(time.monotonic(), self.truth)

    def flush(self) -> None:
        """Write everything that is due."""
        now_s = time.monotonic()
        for connection in tuple(self.connections):
            connection.flush(now_s, self.truth)

    def beat(self) -> None:
        """Let the protocol send its heartbeats."""
        now_s = time.monotonic()
        for connection in tuple(self.connections):
            self._protocol.beat(self, connection, now_s)

    def settle_books(self, agent: str, symbol: str, last_update_id: int) -> None:
        """Let a REST snapshot decide which depth frames of an agent a correct client must drop.

        Clients whose REST requests carry another User-Agent than their sockets are not told apart:
        then every agent that waits for a snapshot of the symbol is taken to have asked.
        """
        waiting = [link for link in self.find_links(BOOKS, symbol) if link.subscription.awaits_snapshot]
        same_agent = [link for link in waiting if link.connection.peer.agent == agent]
        for link in same_agent or waiting:
            link.subscription.awaits_snapshot = False
            link.subscription.snapshot_update_id = last_update_id
            for series, ledger in self.truth.of(link.connection.peer.agent).keyed.items():
                if (series.venue, series.channel, series.symbol) == (self.venue, BOOKS, symbol):
                    ledger.settle(last_update_id)

    async def close_sockets(self, mode: Literal["clean", "abort"]) -> None:
        """Close every socket: after all data, or with a reset."""
        if mode == "abort":
            for connection in tuple(self.connections):
                connection.abort()
            return
        self.flush()
        async with asyncio.TaskGroup() as closings:
            for connection in tuple(self.connections):
                closings.create_task(connection.close())

    def describe(self) -> list[dict[str, object]]:
        """Return one row a connection for `GET /status`."""
        return [
            {
                "venue": self.venue,
                "agent": connection.peer.agent,
                "path": connection.peer.path,
                "subscriptions": {
                    channel: sorted(
                        subscription.symbol
                        for subscription in connection.subscriptions.values()
                        if subscription.channel == channel
                    )
                    for channel in CHANNELS
                },
                "backlog_bytes": connection.backlog_bytes,
            }
            for connection in sorted(self.connections, key=lambda connection: connection.peer.number)
        ]

    def _forget(self, connection: Connection) -> None:
        self.connections.discard(connection)
        for name in tuple(connection.subscriptions):
            self.unsubscribe(connection, name)
