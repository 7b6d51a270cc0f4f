"""Websocket connections: frames go out in order, many to a socket write, and are counted when written."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp import web

    from tickloom_simulator.subscription import Rows, Subscription
    from tickloom_simulator.truth import Truth

_log = logging.getLogger(__name__)

_TEXT_FRAME = 0x81
_PING_FRAME = b"\x89\x00"
_MAX_7_BIT_LENGTH = 125
_MAX_16_BIT_LENGTH = 65_535
# A reader this far behind is cut off, as venues do with slow consumers.
MAX_BACKLOG_BYTES = 256 * 1024 * 1024
_CLOSE_DEADLINE_S = 2.0


def encode_frame(text: str) -> bytes:
    """Frame a text message as a server does (RFC 6455, unmasked, not fragmented)."""
    payload = text.encode()
    size_bytes = len(payload)
    if size_bytes <= _MAX_7_BIT_LENGTH:
        return struct.pack("!BB", _TEXT_FRAME, size_bytes) + payload
    if size_bytes <= _MAX_16_BIT_LENGTH:
        return struct.pack("!BBH", _TEXT_FRAME, 126, size_bytes) + payload
    return struct.pack("!BBQ", _TEXT_FRAME, 127, size_bytes) + payload


def read_agent(user_agent: str | None) -> str:
    """Return the agent of a User-Agent header: what stands before the first slash."""
    return (user_agent or "unknown").split("/", 1)[0]


class _Delivery(NamedTuple):
    due_s: float
    frames: Sequence[bytes]
    rows: Sequence[Rows]


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is on the other side of a connection."""

    agent: str
    path: str
    number: int


class Connection:
    """One websocket of one client.

    Attributes:
        subscriptions: what it asked for, by the name that the venue's protocol gives it.
        sequence: how many numbered messages it was sent (Coinbase).
        wraps: whether its messages are wrapped as combined streams (Binance).
        last_write_s: the monotonic time of the last write, for heartbeats.
    """

    def __init__(self, peer: Peer, websocket: web.WebSocketResponse, transport: asyncio.Transport) -> None:
        self.peer = peer
        self.subscriptions: dict[str, Subscription] = {}
        self.sequence = 0
        self.wraps = False
        self.last_write_s = 0.0
        self._websocket = websocket
        self._transport = transport
        self._outbox: deque[_Delivery] = deque()

    @property
    def backlog_bytes(self) -> int:
        """Bytes written that the operating system has not taken yet."""
        return 0 if self._transport.is_closing() else self._transport.get_write_buffer_size()

    @property
    def is_drained(self) -> bool:
        """Whether nothing waits to be sent."""
        return self._transport.is_closing() or (not self._outbox and self.backlog_bytes == 0)

    def queue(self, frames: Sequence[bytes], rows: Sequence[Rows], due_s: float) -> None:
        """Queue frames for the first flush at or after a monotonic time, behind what is queued already."""
        self._outbox.append(_Delivery(due_s, frames, rows))

    def flush(self, now_s: float, truth: Truth) -> None:
        """Write everything that is due in one socket write, and count its rows."""
        if not self._outbox or self._outbox[0].due_s > now_s:
            return
        if self._transport.is_closing():
            self._outbox.clear()
            return
        frames: list[bytes] = []
        agent_truth = truth.of(self.peer.agent)
        while self._outbox and self._outbox[0].due_s <= now_s:
            delivery = self._outbox.popleft()
            frames.extend(delivery.frames)
            for rows in delivery.rows:
                rows.count(agent_truth)
        self._transport.write(b"".join(frames))
        self.last_write_s = now_s
        if self.backlog_bytes > MAX_BACKLOG_BYTES:
            _log.warning("%s does not read: cut off with %d bytes unread", self.peer.agent, self.backlog_bytes)
            self.abort()

    def ping(self) -> None:
        """Write a websocket ping; nobody waits for the answer."""
        if not self._transport.is_closing():
            self._transport.write(_PING_FRAME)

    async def close(self) -> None:
        """Say goodbye with a close frame behind all data, and wait shortly for the answer."""
        try:
            async with asyncio.timeout(_CLOSE_DEADLINE_S):
                await self._websocket.close(code=1001)
        except TimeoutError:
            self._transport.abort()

    def abort(self) -> None:
        """Reset the TCP connection: whatever the client has not read is lost."""
        if self._transport.is_closing():
            return
        raw: socket.socket = self._transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()
