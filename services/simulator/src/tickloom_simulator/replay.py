"""Replay: a recording played to whoever subscribed to its streams."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from aiohttp import web

from tickloom_simulator.clock import NS_PER_MS, NS_PER_S, now_ns
from tickloom_simulator.connection import encode_frame, read_agent
from tickloom_simulator.errors import RequestError
from tickloom_simulator.recording import PRICE_UNIT
from tickloom_simulator.subscription import BOOKS, TRADES, DepthRow, Rows, Subscription, TradeRows
from tickloom_simulator.truth import Series
from tickloom_simulator.venues import binance_rest
from tickloom_simulator.venues.binance import BinanceSockets

if TYPE_CHECKING:
    from tickloom_simulator.faults import RateLimit
    from tickloom_simulator.hub import Hub
    from tickloom_simulator.recording import RecordedAnswer, RecordedFrame, Recording

_FRAMES_A_TURN = 200
_POLL_S = 0.002
_DRAIN_DEADLINE_S = 30.0


class ReplayVenue(BinanceSockets):
    """The venue of a recording: its REST answers, and subscriptions to its streams."""

    def __init__(self, recording: Recording) -> None:
        super().__init__(recording.symbols_by_id.get)
        self._recording = recording

    def add_rest_routes(self, app: web.Application, hub: Hub) -> None:
        """Answer the recorded paths with what was recorded, and what load_markets() needs besides."""

        async def answer(request: web.Request) -> web.Response:
            recorded = self._choose_answer(request)
            if request.path.endswith("/depth"):
                symbol = self._recording.symbols_by_id.get(request.query.get("symbol", "").lower(), "")
                agent = read_agent(request.headers.get("User-Agent"))
                hub.settle_books(agent, symbol, json.loads(recorded.body)["lastUpdateId"])
            return web.Response(text=recorded.body, content_type="application/json")

        async def read_time(request: web.Request) -> web.Response:  # noqa: ARG001  # a handler's signature
            return web.json_response({"serverTime": now_ns() // NS_PER_MS})

        for path in self._recording.answers:
            app.router.add_get(path, answer)
        app.router.add_get("/api/v3/time", read_time)
        binance_rest.add_empty_routes(app)

    def write_not_found(self, request: web.Request) -> web.Response:
        """Answer a path that was not recorded."""
        return binance_rest.write_not_found(request)

    def write_rate_limit(self, fault: RateLimit) -> web.Response:
        """Answer a request that came too early."""
        return binance_rest.write_rate_limit(fault)

    def _choose_answer(self, request: web.Request) -> RecordedAnswer:
        """Choose by the symbol when a path was recorded several times."""
        answers = self._recording.answers[request.path]
        wanted = request.query.get("symbol")
        return next((answer for answer in answers if answer.query.get("symbol") == wanted), answers[0])


@dataclass(frozen=True, slots=True)
class ReplayPace:
    """How a recording is played.

    Attributes:
        speed: 1 as recorded, 2 twice as fast, 0 as fast as clients read.
        autostart_streams: start when so many different streams are subscribed; None waits for the command.
    """

    speed: float
    autostart_streams: int | None


class ReplayPlayer:
    """Plays a recording once."""

    def __init__(self, recording: Recording, hub: Hub, pace: ReplayPace) -> None:
        self.is_running = True
        self._recording = recording
        self._hub = hub
        self._pace = pace
        self._state: Literal["waiting", "playing", "finished"] = "waiting"
        self._played_frames = 0
        self._sent_frames = 0

    def start(self) -> None:
        """Start playing.

        Raises:
            RequestError: it plays already, or is over.
        """
        if self._state != "waiting":
            raise RequestError(f"the replay is {self._state}; start another simulator to play it again")
        self._state = "playing"

    def describe(self) -> dict[str, Any]:
        """Return the state for `GET /replay` and `GET /status`."""
        progress = {
            "state": self._state,
            "sent_frames": self._sent_frames,
            "played_frames": self._played_frames,
            "total_frames": len(self._recording.frames),
        }
        return {"replay": progress}

    def change_rates(self, **rates: float) -> None:
        """Refuse: a recording has its own rate.

        Raises:
            RequestError: always.
        """
        raise RequestError(f"cannot set {', '.join(rates)}: a recording has its own rate; start with another --speed")

    async def pause(self) -> None:
        """Hold the recording, and return when everything played was taken by the operating system.

        Raises:
            TimeoutError: a client has not read for half a minute.
        """
        self.is_running = False
        async with asyncio.timeout(_DRAIN_DEADLINE_S):
            await self._drain()

    def resume(self) -> None:
        """Go on."""
        self.is_running = True

    async def run(self) -> None:
        """Wait for the start, play everything, and stay to flush what is delayed, until cancelled."""
        while self._state == "waiting":
            self._autostart()
            self._hub.flush()
            await asyncio.sleep(_POLL_S)
        await self._play()
        self._state = "finished"
        while True:
            self._hub.flush()
            await asyncio.sleep(_POLL_S)

    def _autostart(self) -> None:
        wanted = self._pace.autostart_streams
        streams = {link.subscription.form.stream for link in self._hub.list_links()}
        if wanted is not None and len(streams) >= wanted:
            self.start()

    async def _play(self) -> None:
        frames = self._recording.frames
        played_ns = 0  # how far into the recording, by its own clock
        last_s = time.monotonic()
        while self._played_frames < len(frames):
            now_s = time.monotonic()
            if self.is_running:
                played_ns += int((now_s - last_s) * self._pace.speed * NS_PER_S)
                self._play_turn(frames[0].time_ns + played_ns if self._pace.speed > 0 else None)
            last_s = now_s
            self._hub.flush()
            if self._pace.speed > 0:
                await asyncio.sleep(_POLL_S)
            else:
                await self._drain()

    def _play_turn(self, until_ns: int | None) -> None:
        """Play the frames that are due, or a handful when clients set the pace."""
        frames = self._recording.frames
        end = len(frames) if until_ns is not None else min(len(frames), self._played_frames + _FRAMES_A_TURN)
        while self._played_frames < end:
            frame = frames[self._played_frames]
            if until_ns is not None and frame.time_ns > until_ns:
                return
            self._play_frame(frame)
            self._played_frames += 1

    def _play_frame(self, frame: RecordedFrame) -> None:
        hub = self._hub
        if hub.mutes(frame.channel, frame.symbol):
            return
        subscribed = hub.find_links(frame.channel, frame.symbol)
        links = [link for link in subscribed if link.subscription.form.stream == frame.stream]
        if frame.update_id and links and hub.faults.take_skip(hub.venue, frame.symbol):
            for link in links:
                link.subscription.awaits_snapshot = True
            return
        repeats = 2 if links and hub.faults.take_duplicate(hub.venue, frame.channel) else 1
        for connection, subscription in links:
            encoded = encode_frame(frame.text if subscription.form.wrapped else frame.raw_text)
            hub.queue(connection, [encoded] * repeats, self._count_rows(frame, subscription))
        self._sent_frames += bool(links)

    def _count_rows(self, frame: RecordedFrame, subscription: Subscription) -> tuple[Rows, ...]:
        venue = self._hub.venue
        if frame.trade is not None:
            return (TradeRows(Series(venue, TRADES, frame.symbol, PRICE_UNIT), (frame.trade,)),)
        if frame.update_id:
            series = Series(venue, BOOKS, frame.symbol, 1)
            return (DepthRow(series, frame.update_id, frame.update_id, subscription),)
        return ()

    async def _drain(self) -> None:
        """Wait until everything queued was taken, and let others run at least once."""
        await asyncio.sleep(0)
        while not all(connection.is_drained for connection in tuple(self._hub.connections)):
            self._hub.flush()
            await asyncio.sleep(_POLL_S)
