"""Reads one partition of the stream for one sink, in order, from the first message that the sink has not committed."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from tickloom_core.bus.connection import Connection
from tickloom_core.bus.subjects import STREAM, make_consumer
from tickloom_core.errors import BusUnavailableError, TopologyError

log = structlog.get_logger(__name__)

_EXPIRES_S: Final = 2.0
_PULL_BYTES: Final = 8 * 1024**2
"""Most bytes of one pull; two of them can be on their way."""
_NS_PER_S: Final = 1_000_000_000
_ACK_TOKENS: Final = 9


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message of the stream.

    Attributes:
        sequence: its number in the stream, never given twice.
        stored_ns: when JetStream stored it, by the server's clock.
        message_id: the `Nats-Msg-Id` under which it was published.
        pending: messages of the partition that were not delivered yet when this one was.
    """

    sequence: int
    stored_ns: int
    subject: str
    message_id: str
    data: bytes
    reply: str
    pending: int


@dataclass(frozen=True, slots=True)
class StreamIdentity:
    """Which stream sequences belong to: a stream that was deleted and made again counts from 1 again."""

    name: str
    created: str


@dataclass(frozen=True, slots=True)
class Standing:
    """The consumer's state by the server's own clock."""

    server_ns: int
    pending: int
    """Messages of the partition that were not delivered yet."""


class PartitionReader:
    """One durable pull consumer. Pulls again by itself; a pull that a disconnect swallowed is repeated.

    Args:
        connection: the bus.
        sink: the name of the sink.
        partition: the partition to read.
        batch: most messages asked for in one pull.
    """

    def __init__(self, connection: Connection, sink: str, partition: int, *, batch: int = 1000) -> None:
        self._connection = connection
        self._consumer = make_consumer(sink, partition)
        self._batch = batch
        self._queue: asyncio.Queue[Msg] = asyncio.Queue()
        self._inbox = ""
        self._subscription: Subscription | None = None
        self._wanted = 0
        self._deadline_s = 0.0
        self._last_sequence = 0

    async def identify_stream(self) -> StreamIdentity:
        """Return which stream this is.

        Raises:
            TopologyError: there is no such stream.
            BusUnavailableError: JetStream does not answer.
        """
        answer = await self._connection.request(f"$JS.API.STREAM.INFO.{STREAM}")
        if "error" in answer:
            raise TopologyError(f"there is no stream {STREAM}: {answer['error'].get('description')}")
        return StreamIdentity(STREAM, str(answer["created"]))

    async def start_after(self, sequence: int) -> None:
        """Deliver from the message behind `sequence`, or from the acknowledgement floor when it is 0.

        May be called again at any time; what was on its way is forgotten.

        Raises:
            TopologyError: the consumer does not exist.
            BusUnavailableError: JetStream does not answer.
        """
        body = {"seq": sequence + 1} if sequence else None
        answer = await self._connection.request(f"$JS.API.CONSUMER.RESET.{STREAM}.{self._consumer}", body)
        if "error" in answer:
            raise TopologyError(
                f"the consumer {self._consumer} cannot be read: {answer['error'].get('description')}; "
                "is the sink's name in bus.sinks?"
            )
        self._last_sequence = sequence
        self._queue = asyncio.Queue()
        queue = self._queue
        await self.close()

        async def receive(message: Msg) -> None:
            queue.put_nowait(message)

        self._inbox = self._connection.client.new_inbox()
        self._subscription = await self._connection.client.subscribe(
            self._inbox, cb=receive, pending_msgs_limit=-1, pending_bytes_limit=-1
        )
        self._wanted = 0

    async def read(self, timeout_s: float) -> Delivery | None:
        """Return the next message, or None when none came in time.

        Messages at or below the last one returned are skipped: after a crash of the server a live consumer is
        delivered messages again, marked as first deliveries.
        """
        end_s = time.monotonic() + timeout_s
        while True:
            await self._pull_when_needed()
            if not self._queue.empty():
                message = self._queue.get_nowait()
            else:
                wait_s = min(end_s, max(self._deadline_s, time.monotonic() + 0.01)) - time.monotonic()
                if wait_s <= 0:
                    return None
                try:
                    async with asyncio.timeout(wait_s):
                        message = await self._queue.get()
                except TimeoutError:
                    if time.monotonic() >= end_s:
                        return None
                    continue
            delivery = self._accept(message)
            if delivery is not None:
                return delivery

    @property
    def is_drained(self) -> bool:
        """Whether everything that arrived was read."""
        return self._queue.empty()

    async def acknowledge(self, delivery: Delivery) -> None:
        """Acknowledge this message and all before it in the partition."""
        await self._connection.client.publish(delivery.reply, b"+ACK")

    async def look(self) -> Standing:
        """Return the consumer's state.

        Raises:
            BusUnavailableError: JetStream does not answer.
            TopologyError: the consumer is gone.
        """
        answer = await self._connection.request(f"$JS.API.CONSUMER.INFO.{STREAM}.{self._consumer}")
        if "error" in answer:
            raise TopologyError(f"the consumer {self._consumer} is gone: {answer['error'].get('description')}")
        return Standing(parse_time_ns(str(answer["ts"])), int(answer["num_pending"]))

    async def close(self) -> None:
        """Stop reading."""
        if self._subscription is not None and self._connection.is_connected:
            await self._subscription.unsubscribe()

    def _accept(self, message: Msg) -> Delivery | None:
        if message.headers and "Status" in message.headers and not message.data:
            # 404, 408 and 409 end a pull, and say how much of it was not delivered; 100 is a heartbeat.
            if message.headers["Status"] != "100":
                self._wanted -= int(message.headers.get("Nats-Pending-Messages", self._wanted))
            return None
        self._wanted -= 1
        delivery = _parse_delivery(message)
        if delivery.sequence <= self._last_sequence:
            return None
        self._last_sequence = delivery.sequence
        return delivery

    async def _pull_when_needed(self) -> None:
        """Ask for more while half of what was asked for is still to come, and again when nothing comes at all."""
        now_s = time.monotonic()
        if self._wanted > self._batch // 2 and now_s < self._deadline_s:
            return
        if now_s >= self._deadline_s:
            self._wanted = 0
        if not self._connection.is_connected:
            self._deadline_s = now_s + 0.1
            self._wanted = 0
            return
        request = {"batch": self._batch, "max_bytes": _PULL_BYTES, "expires": int(_EXPIRES_S * _NS_PER_S)}
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{STREAM}.{self._consumer}"
        await self._connection.client.publish(subject, json.dumps(request).encode(), reply=self._inbox)
        self._wanted = max(0, self._wanted) + self._batch
        self._deadline_s = now_s + _EXPIRES_S + 0.5


def _parse_delivery(message: Msg) -> Delivery:
    """Read `$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>`.

    The format is JetStream's: nats-io/nats-architecture-and-design, ADR-15.
    """
    tokens = message.reply.split(".")
    if len(tokens) < _ACK_TOKENS:
        raise BusUnavailableError(f"a delivery without JetStream metadata: {message.reply!r}")
    # Newer servers put domain and account hash in front; the five last numbers stay where they are.
    at = 5 if len(tokens) == _ACK_TOKENS else 7
    sequence, stored_ns, pending = int(tokens[at]), int(tokens[at + 2]), int(tokens[at + 3])
    message_id = message.headers.get("Nats-Msg-Id", "") if message.headers else ""
    return Delivery(sequence, stored_ns, message.subject, message_id, message.data, message.reply, pending)


def parse_time_ns(text: str) -> int:
    """Return a Go RFC 3339 time ("2026-11-21T04:50:33.539457318Z") as nanoseconds since 1970."""
    seconds, _, fraction = text.rstrip("Z").partition(".")
    whole = int(datetime.fromisoformat(seconds + "+00:00").timestamp())
    return whole * _NS_PER_S + int(fraction.ljust(9, "0") or 0)
