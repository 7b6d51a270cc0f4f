"""The guarded publisher: every message is acknowledged, kept, or said to be lost.

`nats-py`'s `publish_async` leaves futures that never end on error replies and on acknowledgements lost in a disconnect
(nats-io/nats.py#985), so this publishes with a reply inbox of its own. A message has one deadline; when it passes, or
JetStream answers that it is full or away, the message is sent again under the same `Nats-Msg-Id`, oldest first. What
waits is kept in memory, then on disk (`Spool`), then dropped and counted (`Loss`).

Order: messages are sent in the order in which they were submitted. When one fails, nothing new is sent until the
failed ones are through, one as a probe first; what was in flight behind it may be stored before it.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import json
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import nats.errors
import structlog
from nats.aio.msg import Msg
from prometheus_client import Counter, Gauge, Histogram

from tickloom_core.bus.connection import Connection
from tickloom_core.bus.spool import Loss, Outgoing, Spool

log = structlog.get_logger(__name__)

_HEADER_ID: Final = "Nats-Msg-Id"
_PROBE_BASE_S: Final = 0.1
_PROBE_MAX_S: Final = 2.0
_TICK_S: Final = 0.25
_STATUS_NO_RESPONDERS: Final = "503"
_TRANSIENT_CODES: Final = frozenset({408, 429, 500, 503})

_PUBLISHED = Counter("tickloom_published_messages", "Messages acknowledged by JetStream", ["channel"])
_PUBLISHED_ROWS = Counter("tickloom_published_rows", "Rows acknowledged by JetStream", ["channel"])
_RESENT = Counter("tickloom_resent_messages", "Messages sent again", ["reason"])
_DROPPED_ROWS = Counter("tickloom_dropped_rows", "Rows that neither bus, memory nor disk could take", ["channel"])
_WAITING = Gauge("tickloom_publisher_waiting_bytes", "Bytes that wait to be sent", ["place"])
_ACK_SECONDS = Histogram(
    "tickloom_publish_ack_seconds",
    "From sending a message to its acknowledgement",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
_FRAME_TO_ACK_SECONDS = Histogram(
    "tickloom_frame_to_ack_seconds",
    "From receiving the oldest frame of a batch to the batch's acknowledgement",
    buckets=(0.005, 0.01, 0.015, 0.02, 0.025, 0.03, 0.035, 0.04, 0.05, 0.06, 0.08, 0.1, 0.15, 0.25, 0.5, 1, 5, 30),
)


@dataclass(frozen=True, slots=True)
class PublisherLimits:
    """Bounds of the publisher."""

    in_flight: int
    ack_timeout_s: float
    buffer_bytes: int


@dataclass(slots=True)
class _Sent:
    order: int
    message: Outgoing
    sent_s: float


class Publisher:
    """Publishes messages in order and knows the fate of each.

    Args:
        connection: the bus.
        limits: how much is in flight, how long an acknowledgement may take, how much waits in memory.
        spool: where messages wait that do not fit in memory.
        on_losses: called with what had to be dropped, once the bus takes messages again and the spool is drained.
    """

    def __init__(
        self,
        connection: Connection,
        limits: PublisherLimits,
        spool: Spool,
        on_losses: Callable[[list[Loss]], None],
    ) -> None:
        self._connection = connection
        self._client = connection.client
        self._limits = limits
        self._spool = spool
        self._on_losses = on_losses
        self._inbox = self._client.new_inbox()
        self._orders = itertools.count(1)
        self._tokens = itertools.count(1)
        self._in_flight: dict[str, _Sent] = {}
        self._failed: list[tuple[int, Outgoing]] = []
        self._waiting: deque[tuple[int, Outgoing]] = deque()
        self._waiting_bytes = 0
        self._spooled_ids: set[str] = set()
        self._losses: dict[tuple[str, str], Loss] = {
            (loss.exchange, loss.channel): loss for loss in spool.load_losses()
        }
        self._blocked_until_s: float | None = None
        self._probe_delay_s = _PROBE_BASE_S
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._on_ack: Callable[[Outgoing], None] | None = None
        connection.on_reconnect(self._forget_in_flight)

    @property
    def is_blocked(self) -> bool:
        """Whether the bus takes nothing at this moment."""
        return self._blocked_until_s is not None or not self._connection.is_connected

    @property
    def waiting_bytes(self) -> int:
        """Bytes that wait in memory and on disk."""
        return self._waiting_bytes + self._spool.size_bytes

    def observe_acks(self, observer: Callable[[Outgoing], None]) -> None:
        """Call `observer` with each message once JetStream has acknowledged it; it must not block."""
        self._on_ack = observer

    def submit(self, message: Outgoing) -> None:
        """Take a message; never blocks and never fails: it is sent, kept or counted as lost."""
        self._idle.clear()
        if self._spool.is_empty and self._waiting_bytes + len(message.payload) <= self._limits.buffer_bytes:
            self._waiting.append((next(self._orders), message))
            self._waiting_bytes += len(message.payload)
        elif not self._spool.append(message):
            self._note_loss(message)
        self._wake.set()

    async def run(self) -> None:
        """Send until cancelled."""
        subscription = await self._client.subscribe(f"{self._inbox}.*", cb=self._receive_ack)
        try:
            while True:
                await self._send_what_may_go()
                self._watch_deadlines()
                self._note_idle()
                self._report_state()
                self._wake.clear()
                if not self._may_send():
                    try:
                        async with asyncio.timeout(self._pause_s()):
                            await self._wake.wait()
                    except TimeoutError:
                        continue
                else:
                    await asyncio.sleep(0)
        finally:
            if self._connection.is_connected:
                await subscription.unsubscribe()

    async def drain(self, deadline_s: float) -> int:
        """Wait until everything submitted is acknowledged; write what is not to disk when the deadline passes.

        `run` must be going on. Returns the number of messages that were left for the next start.
        """
        self._wake.set()
        try:
            async with asyncio.timeout(deadline_s):
                await self._idle.wait()
        except TimeoutError:
            log.warning("publisher.drain_incomplete", in_flight=len(self._in_flight), waiting=len(self._waiting))
        return self._save_rest()

    # ------------------------------------------------------------------ sending

    def _may_send(self) -> bool:
        if self._blocked_until_s is not None and time.monotonic() < self._blocked_until_s:
            return False
        if not self._connection.is_connected:
            return False
        window = 1 if self._blocked_until_s is not None else self._limits.in_flight
        has_work = bool(self._failed or self._waiting or not self._spool.is_empty)
        return has_work and len(self._in_flight) < window

    async def _send_what_may_go(self) -> None:
        while self._may_send():
            order, message = self._take_next()
            if message is None:
                continue
            token = str(next(self._tokens))
            self._in_flight[token] = _Sent(order, message, time.monotonic())
            headers = {_HEADER_ID: message.message_id}
            try:
                await self._client.publish(
                    message.subject, message.payload, reply=f"{self._inbox}.{token}", headers=headers
                )
            except nats.errors.MaxPayloadError:
                del self._in_flight[token]
                log.error("publisher.too_large", subject=message.subject, size_bytes=len(message.payload))
                self._note_loss(message)
            except (nats.errors.Error, OSError) as error:
                self._fail(token, reason=type(error).__name__)

    def _take_next(self) -> tuple[int, Outgoing | None]:
        if self._failed:
            return heapq.heappop(self._failed)
        if not self._waiting:
            for message in self._spool.read_segment():
                self._spooled_ids.add(message.message_id)
                self._waiting.append((next(self._orders), message))
                self._waiting_bytes += len(message.payload)
            if not self._waiting:
                return 0, None
        order, message = self._waiting.popleft()
        self._waiting_bytes -= len(message.payload)
        return order, message

    def _pause_s(self) -> float:
        if self._blocked_until_s is None:
            return _TICK_S
        return min(_TICK_S, max(0.01, self._blocked_until_s - time.monotonic()))

    # ------------------------------------------------------------------ answers

    async def _receive_ack(self, answer: Msg) -> None:
        token = answer.subject.rpartition(".")[2]
        if token not in self._in_flight:
            return
        if answer.headers and answer.headers.get("Status") == _STATUS_NO_RESPONDERS:
            self._fail(token, reason="no_responders")
        elif b'"error"' in answer.data:
            self._receive_error(token, answer.data)
        else:
            self._accept(token)
        self._wake.set()

    def _accept(self, token: str) -> None:
        sent = self._in_flight.pop(token)
        message = sent.message
        _PUBLISHED.labels(message.channel).inc()
        _PUBLISHED_ROWS.labels(message.channel).inc(message.rows)
        _ACK_SECONDS.observe(time.monotonic() - sent.sent_s)
        _FRAME_TO_ACK_SECONDS.observe(max(0.0, time.time() - message.first_ns / 1e9))
        if message.message_id in self._spooled_ids:
            self._spooled_ids.discard(message.message_id)
            self._spool.acknowledge(message.message_id)
        if self._on_ack is not None:
            self._on_ack(message)
        if self._blocked_until_s is not None:
            log.info("publisher.flowing", waiting_bytes=self.waiting_bytes)
            self._blocked_until_s = None
            self._probe_delay_s = _PROBE_BASE_S
        if self._losses:
            self._tell_losses()
        self._note_idle()

    def _receive_error(self, token: str, data: bytes) -> None:
        error = json.loads(data)["error"]
        if error.get("code") in _TRANSIENT_CODES:
            self._fail(token, reason=str(error.get("err_code")))
            return
        sent = self._in_flight.pop(token)
        log.error("publisher.refused", subject=sent.message.subject, error=error.get("description"))
        self._note_loss(sent.message)
        self._note_idle()

    def _fail(self, token: str, *, reason: str) -> None:
        sent = self._in_flight.pop(token)
        heapq.heappush(self._failed, (sent.order, sent.message))
        _RESENT.labels(reason).inc()
        if self._blocked_until_s is None:
            log.warning("publisher.blocked", reason=reason, subject=sent.message.subject)
        self._probe_delay_s = min(_PROBE_MAX_S, self._probe_delay_s * 2)
        # Jitter keeps many collectors from probing a recovering server in step.
        self._blocked_until_s = time.monotonic() + self._probe_delay_s * random.uniform(0.5, 1.0)  # noqa: S311

    def _watch_deadlines(self) -> None:
        limit_s = time.monotonic() - self._limits.ack_timeout_s
        for token in [token for token, sent in self._in_flight.items() if sent.sent_s < limit_s]:
            self._fail(token, reason="no_ack")

    def _note_idle(self) -> None:
        if not (self._in_flight or self._failed or self._waiting) and self._spool.is_empty:
            self._idle.set()

    def _forget_in_flight(self) -> None:
        """Send again what was in flight: acknowledgements do not cross a reconnect."""
        for token in list(self._in_flight):
            self._fail(token, reason="reconnect")
        self._wake.set()

    # ------------------------------------------------------------------ losses

    def _note_loss(self, message: Outgoing) -> None:
        _DROPPED_ROWS.labels(message.channel).inc(message.rows)
        loss = Loss(message.exchange, message.channel, 1, message.rows, message.first_ns, message.last_ns)
        key = (message.exchange, message.channel)
        known = self._losses.get(key)
        if known is None:
            log.error("publisher.dropping", exchange=message.exchange, channel=message.channel)
        self._losses[key] = known.merge(loss) if known else loss

    def _tell_losses(self) -> None:
        if not self._spool.is_empty:
            return
        losses, self._losses = list(self._losses.values()), {}
        self._on_losses(losses)

    def _save_rest(self) -> int:
        rest = [(sent.order, sent.message) for sent in self._in_flight.values()]
        rest += [*self._failed, *self._waiting]
        rest.sort(key=lambda item: item[0])
        left = 0
        for _, message in rest:
            if message.message_id in self._spooled_ids:
                continue
            left += 1
            if not self._spool.append(message):
                self._note_loss(message)
        self._spool.save_losses(list(self._losses.values()))
        self._spool.close()
        return left

    def _report_state(self) -> None:
        _WAITING.labels("memory").set(self._waiting_bytes)
        _WAITING.labels("disk").set(self._spool.size_bytes)
