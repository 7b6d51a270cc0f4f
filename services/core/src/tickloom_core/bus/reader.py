"""Reads one partition of the stream for one sink, in order and without a hole, and acknowledges what is committed.

A sink has two consumers a partition. The durable one (tickloom_core.bus.topology) is never read: it stands for what the
sink has committed, keeps the messages behind it in the stream, and is moved by a reset. Messages come through a
consumer of the reader's own, in memory, that needs no acknowledgement and begins where the reader says: nobody else can
take messages of it, nothing is delivered again because a store was slow, and its deliveries are numbered from 1. When a
number is not the one that follows, or the consumer is gone, a new one begins behind the last message that was read.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import uuid4

import structlog
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from prometheus_client import Counter

from tickloom_core.bus.connection import Connection
from tickloom_core.bus.identity import StreamIdentity
from tickloom_core.bus.subjects import STREAM, make_consumer, make_partition_filter
from tickloom_core.errors import BusUnavailableError, TopologyError

log = structlog.get_logger(__name__)

_EXPIRES_S: Final = 2.0
_PULL_BYTES: Final = 8 * 1024**2
"""Most bytes of one pull; two of them can be on their way."""
_INACTIVE_S: Final = 30.0
"""How long the server remembers a consumer that nobody pulls from: longer than a store is written to."""
_NS_PER_S: Final = 1_000_000_000
_ACK_TOKENS: Final = 9
_PAUSE_S: Final = 0.25
_HEARTBEAT: Final = "100"
_LOST_STATUSES: Final = frozenset({"503", "409"})
"""The consumer is gone: nobody answers a pull, or it was deleted while one waited."""
_NO_SUCH_CONSUMER: Final = 10014

_RESTARTS = Counter("tickloom_sink_reader_restarts", "New consumers because deliveries did not arrive", ["consumer"])


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message of the stream.

    Attributes:
        sequence: its number in the stream, never given twice.
        delivery: counts the deliveries of the reader's consumer from 1.
        stored_ns: when JetStream stored it, by the server's clock.
        message_id: the `Nats-Msg-Id` under which it was published.
        pending: messages of the partition that were not delivered yet when this one was.
    """

    sequence: int
    delivery: int
    stored_ns: int
    subject: str
    message_id: str
    data: bytes
    pending: int


@dataclass(frozen=True, slots=True)
class Standing:
    """The reader's state by the server's own clock."""

    server_ns: int
    pending: int
    """Messages of the partition that were not delivered yet."""


class PartitionReader:
    """Reads one partition for one sink. Pulls again by itself; a pull that a disconnect swallowed is repeated.

    Args:
        connection: the bus.
        sink: the name of the sink.
        partition: the partition to read.
        batch: most messages asked for in one pull.
    """

    def __init__(self, connection: Connection, sink: str, partition: int, *, batch: int = 1000) -> None:
        self._connection = connection
        self._durable = make_consumer(sink, partition)
        self._filter = make_partition_filter(partition)
        self._batch = batch
        self._queue: asyncio.Queue[Msg] = asyncio.Queue()
        self._consumer = ""
        self._inbox = ""
        self._subscription: Subscription | None = None
        self._wanted = 0
        self._deadline_s = 0.0
        self._last_sequence = 0
        self._last_delivery = 0

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
        """Deliver from the message behind `sequence`, or behind the last acknowledged one when it is 0.

        Raises:
            TopologyError: the sink's consumer does not exist.
            BusUnavailableError: JetStream does not answer.
        """
        if sequence:
            await self.acknowledge(sequence)
        answer = await self._connection.request(f"$JS.API.CONSUMER.INFO.{STREAM}.{self._durable}")
        self._check(answer)
        self._last_sequence = sequence or int(answer["ack_floor"]["stream_seq"])
        await self._begin()

    async def read(self, timeout_s: float) -> Delivery | None:
        """Return the next message, or None when none came in time.

        Raises:
            TopologyError: the server refuses the reader.
        """
        end_s = time.monotonic() + timeout_s
        while True:
            if not self._inbox and not await self._begin_again():
                await asyncio.sleep(min(_PAUSE_S, timeout_s))
                return None
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
            delivery = await self._accept(message)
            if delivery is not None:
                return delivery

    @property
    def is_drained(self) -> bool:
        """Whether everything that arrived was read."""
        return self._queue.empty() and bool(self._inbox)

    async def acknowledge(self, sequence: int) -> None:
        """Acknowledge the message of this sequence and all before it in the partition; the stream can forget them.

        Raises:
            TopologyError: the sink's consumer does not exist.
            BusUnavailableError: JetStream does not answer.
        """
        answer = await self._connection.request(
            f"$JS.API.CONSUMER.RESET.{STREAM}.{self._durable}", {"seq": sequence + 1}
        )
        self._check(answer)

    async def look(self) -> Standing | None:
        """Return the reader's state; None when its consumer is gone, to be made anew by the next `read`.

        Raises:
            BusUnavailableError: JetStream does not answer.
        """
        if not self._inbox:
            return None
        answer = await self._connection.request(f"$JS.API.CONSUMER.INFO.{STREAM}.{self._consumer}")
        if "error" in answer:
            await self._leave("it is gone")
            return None
        return Standing(parse_time_ns(str(answer["ts"])), int(answer["num_pending"]))

    async def close(self) -> None:
        """Stop reading; the server forgets the reader's consumer by itself."""
        self._inbox = ""
        subscription, self._subscription = self._subscription, None
        if subscription is not None and self._connection.is_connected:
            await subscription.unsubscribe()

    async def _begin(self) -> None:
        """Make a consumer that begins behind the last message that was read."""
        await self.close()
        consumer = f"{self._durable}-{uuid4().hex[:12]}"
        body = {
            "stream_name": STREAM,
            "config": {
                "name": consumer,
                "ack_policy": "none",
                "deliver_policy": "by_start_sequence",
                "opt_start_seq": self._last_sequence + 1,
                "filter_subject": self._filter,
                "mem_storage": True,
                "num_replicas": 1,
                "inactive_threshold": int(_INACTIVE_S * _NS_PER_S),
            },
            "action": "create",
        }
        answer = await self._connection.request(f"$JS.API.CONSUMER.CREATE.{STREAM}.{consumer}.{self._filter}", body)
        self._check(answer)
        queue: asyncio.Queue[Msg] = asyncio.Queue()

        async def receive(message: Msg) -> None:
            queue.put_nowait(message)

        inbox = self._connection.client.new_inbox()
        self._subscription = await self._connection.client.subscribe(
            inbox, cb=receive, pending_msgs_limit=-1, pending_bytes_limit=-1
        )
        self._consumer, self._queue, self._inbox = consumer, queue, inbox
        self._last_delivery = self._wanted = 0

    async def _begin_again(self) -> bool:
        try:
            await self._begin()
        except BusUnavailableError as error:
            log.debug("reader.restart_delayed", consumer=self._durable, error=str(error))
            return False
        _RESTARTS.labels(self._durable).inc()
        return True

    async def _leave(self, reason: str) -> None:
        log.info("reader.restarting", consumer=self._consumer, after=self._last_sequence, reason=reason)
        await self.close()

    async def _accept(self, message: Msg) -> Delivery | None:
        if message.headers and "Status" in message.headers and not message.data:
            await self._note_status(message.headers["Status"], message.headers)
            return None
        self._wanted -= 1
        delivery = _parse_delivery(message)
        if delivery.delivery != self._last_delivery + 1:
            await self._leave(f"delivery {delivery.delivery} came where {self._last_delivery + 1} was due")
            return None
        self._last_delivery, self._last_sequence = delivery.delivery, delivery.sequence
        return delivery

    async def _note_status(self, status: str, headers: dict[str, str]) -> None:
        if status in _LOST_STATUSES and "Nats-Pending-Messages" not in headers:
            await self._leave(f"a pull was answered {status}")
        elif status != _HEARTBEAT:
            # 404, 408 and 409 end a pull, and say how much of it was not delivered.
            self._wanted -= int(headers.get("Nats-Pending-Messages", self._wanted))

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

    def _check(self, answer: dict[str, Any]) -> None:
        error = answer.get("error")
        if error is None:
            return
        if error.get("err_code") == _NO_SUCH_CONSUMER:
            raise TopologyError(
                f"the consumer {self._durable} does not exist; is the sink in bus.sinks? start it again"
            )
        raise BusUnavailableError(f"JetStream does not let {self._durable} be read: {error.get('description')}")


def _parse_delivery(message: Msg) -> Delivery:
    """Read `$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>`.

    The format is JetStream's: nats-io/nats-architecture-and-design, ADR-15.
    """
    tokens = message.reply.split(".")
    if len(tokens) < _ACK_TOKENS:
        raise BusUnavailableError(f"a delivery without JetStream metadata: {message.reply!r}")
    # Newer servers put domain and account hash in front; the five last numbers stay where they are.
    at = 5 if len(tokens) == _ACK_TOKENS else 7
    sequence, delivery, stored_ns, pending = (int(token) for token in tokens[at : at + 4])
    message_id = message.headers.get("Nats-Msg-Id", "") if message.headers else ""
    return Delivery(sequence, delivery, stored_ns, message.subject, message_id, message.data, pending)


def parse_time_ns(text: str) -> int:
    """Return a Go RFC 3339 time ("2026-11-21T04:50:33.539457318Z") as nanoseconds since 1970."""
    seconds, _, fraction = text.rstrip("Z").partition(".")
    whole = int(datetime.fromisoformat(seconds + "+00:00").timestamp())
    return whole * _NS_PER_S + int(fraction.ljust(9, "0") or 0)
