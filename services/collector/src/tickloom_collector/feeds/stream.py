"""One websocket of a native feed: connected, connected again when it is lost, and changed before the venue ends it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog
from msgspec import MsgspecError
from picows import WSError, WSFrame, WSHandshakeError, WSListener, WSMsgType, WSTransport, ws_connect

from tickloom_collector.backoff import Backoff
from tickloom_collector.feeds.keeper import SubscribeGate
from tickloom_collector.feeds.links import LinkLog
from tickloom_collector.metrics import Traffic
from tickloom_core.config import CollectorConfig
from tickloom_venues.errors import TerminalVenueError, TransientVenueError, VenueRateLimitError, VenueUnavailableError

log = structlog.get_logger(__name__)

FrameHandler = Callable[[memoryview, int], None]
"""Takes the payload of a text frame, valid during the call, and its receive time in ns; raises MsgspecError."""

_OVERLAP_S: Final = 2.0
_CONNECT_DEADLINE_S: Final = 10.0
_IDLE_S: Final = 20.0
_PONG_DEADLINE_S: Final = 10.0
_RATE_LIMIT_STATUSES: Final = frozenset({418, 429})


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """What the streams of one feed share.

    Attributes:
        lifetime_s: after how long a connection is changed for a new one.
    """

    exchange: str
    agent: str
    limits: CollectorConfig
    gate: SubscribeGate
    links: LinkLog
    traffic: Traffic
    lifetime_s: float


class Stream:
    """Keeps one websocket.

    Args:
        url: with everything that subscribes in it.
        name: stands for the URL in events.
        handle: takes the frames.

    Attributes:
        is_open: whether the connection stands.
    """

    def __init__(self, url: str, name: str, handle: FrameHandler, settings: StreamSettings) -> None:
        self._url = url
        self._name = name
        self._handle = handle
        self._settings = settings
        self.is_open = False

    async def run(self) -> None:
        """Keep the connection until cancelled.

        Raises:
            TerminalVenueError: as many attempts failed as the configuration allows.
        """
        limits, links = self._settings.limits, self._settings.links
        backoff = Backoff(limits.backoff_base_s, limits.backoff_max_s)
        while True:
            try:
                listener = await self._connect()
            except TransientVenueError as error:
                log.debug("stream.refused", url=self._name, error=str(error))
                await self._wait_after(error, backoff)
                continue
            links.note_open(self._name)
            self.is_open = True
            try:
                listener = await self._stay(listener)
            finally:
                self.is_open = False
            links.note_lost(self._name, listener.reason)
            # A venue that accepts and says nothing is still failing.
            if listener.frames:
                backoff.reset()
            await asyncio.sleep(backoff.next_s())

    async def _wait_after(self, error: TransientVenueError, backoff: Backoff) -> None:
        delay_s = backoff.next_s(error.retry_after_s)
        most = self._settings.limits.max_reconnect_attempts
        if 0 <= most < backoff.attempts:
            raise TerminalVenueError(f"{error} (given up after {most} attempts)", venue=self._settings.exchange)
        await asyncio.sleep(delay_s)

    async def _connect(self, *, holds: bool = False) -> Listener:
        settings = self._settings
        try:
            async with settings.gate.turn(), asyncio.timeout(_CONNECT_DEADLINE_S):
                _, listener = await ws_connect(
                    lambda: Listener(self._handle, self._name, settings, holds=holds),
                    self._url,
                    extra_headers={"User-Agent": settings.agent},
                    websocket_handshake_timeout=_CONNECT_DEADLINE_S,
                    enable_auto_ping=True,
                    auto_ping_idle_timeout=_IDLE_S,
                    auto_ping_reply_timeout=_PONG_DEADLINE_S,
                )
        except (WSError, OSError, TimeoutError) as error:
            raise classify_refusal(error, exchange=settings.exchange) from error
        assert isinstance(listener, Listener)  # noqa: S101 - the factory above makes nothing else
        return listener

    async def _stay(self, listener: Listener) -> Listener:
        """Wait until the connection is lost, and change it in time; return the listener of the one that was lost."""
        while True:
            try:
                if await listener.wait_lost(self._settings.lifetime_s):
                    return listener
                listener = await self._change(listener)
            except TransientVenueError as error:
                log.warning("stream.not_changed", url=self._name, error=str(error))
            except asyncio.CancelledError:
                listener.end()
                raise

    async def _change(self, old: Listener) -> Listener:
        """Open a second connection, let both receive for a moment, then go over: nothing is missed in between."""
        new = await self._connect(holds=True)
        try:
            await old.wait_lost(_OVERLAP_S)
        finally:
            old.end()
            new.release()
        return new


class Listener(WSListener):
    """Receives the frames of one connection.

    Args:
        holds: frames are kept until `release`.

    Attributes:
        reason: why the connection ended, in words.
        frames: how many frames came.
    """

    def __init__(self, handle: FrameHandler, name: str, settings: StreamSettings, *, holds: bool) -> None:
        super().__init__()
        self._handle = handle
        self._name = name
        self._links = settings.links
        self._traffic = settings.traffic
        self._held: list[tuple[bytes, int]] | None = [] if holds else None
        self._transport: WSTransport | None = None
        self._lost = asyncio.Event()
        self.reason = "lost without a closing frame"
        self.frames = 0

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Remember the connection."""
        self._transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Take one frame; the clock comes first."""
        receive_ns = time.time_ns()
        self.frames += 1
        traffic = self._traffic
        traffic.frames += 1
        traffic.size_bytes += frame.payload_size
        if self._held is not None:
            self._held.append((frame.get_payload_as_bytes(), receive_ns))
            return
        try:
            self._handle(frame.get_payload_as_memoryview(), receive_ns)
        except MsgspecError as error:
            # Frames that are no data are told apart only here, where they are rare.
            if frame.msg_type == WSMsgType.CLOSE:
                self.reason = f"closed by the venue, code {frame.get_close_code().value}"
                transport.disconnect()
            elif frame.msg_type in {WSMsgType.TEXT, WSMsgType.BINARY}:
                self._links.note_unreadable(self._name, error)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Note the end."""
        del transport
        self._lost.set()

    def release(self) -> None:
        """Handle the frames that were held, and hold no more."""
        held, self._held = self._held or [], None
        for payload, receive_ns in held:
            try:
                self._handle(memoryview(payload), receive_ns)
            except MsgspecError as error:
                self._links.note_unreadable(self._name, error)

    def end(self) -> None:
        """End the connection at once."""
        if self._transport is not None:
            self._transport.disconnect(graceful=False)

    async def wait_lost(self, timeout_s: float) -> bool:
        """Wait until the connection is gone; return False when `timeout_s` passes first."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._lost.wait()
        except TimeoutError:
            return False
        return True


def classify_refusal(error: Exception, *, exchange: str) -> TransientVenueError:
    """Say what it means that a websocket could not be opened; a venue's `Retry-After` is kept."""
    found = f"{exchange}: {type(error).__name__}: {error or 'no answer in time'}"
    response = error.response if isinstance(error, WSHandshakeError) else None
    if response is None:
        return VenueUnavailableError(f"{found}; try again later", venue=exchange)
    text = response.headers.get("Retry-After", "")
    wait_s = float(text) if text.isdigit() else None
    kind = VenueRateLimitError if int(response.status) in _RATE_LIMIT_STATUSES else VenueUnavailableError
    return kind(f"{found}; try again later", venue=exchange, retry_after_s=wait_s)
