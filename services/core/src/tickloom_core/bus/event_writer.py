"""Events of services that have no feed: each is one message on the bus, sent at once."""

from __future__ import annotations

import time
from typing import Final

import structlog

from tickloom.marketdata.v1.header_pb2 import Header
from tickloom_core.bus.connection import Connection
from tickloom_core.bus.subjects import make_subject
from tickloom_core.columns import EventBuffer
from tickloom_core.events import Event
from tickloom_core.wire import encode

log = structlog.get_logger(__name__)

_ATTEMPTS: Final = 3


class EventWriter:
    """Writes events to the bus.

    Args:
        connection: the bus.
        writer: the service's name; with the time of its start it names the batches for ever.
    """

    def __init__(self, connection: Connection, writer: str) -> None:
        self._connection = connection
        self._writer = f"{writer}.{time.time_ns():x}"
        self._sequence = 0

    async def write(self, event: Event, partition: int) -> bool:
        """Write one event into a partition; return whether the bus has it. It is in the log in any case."""
        log.warning("event.written", kind=event.kind, exchange=event.exchange, partition=partition, detail=event.detail)
        self._sequence += 1
        buffer = EventBuffer()
        buffer.append(event)
        header = Header(
            exchange=event.exchange,
            channel=buffer.channel,
            writer=self._writer,
            writer_sequence=self._sequence,
            partition=partition,
        )
        subject = make_subject(partition, buffer.channel, event.exchange)
        data, headers = encode(header, buffer), {"Nats-Msg-Id": f"{self._writer}-{self._sequence}"}
        for _ in range(_ATTEMPTS):
            if await self._connection.store(subject, data, headers):
                return True
        log.error("event.not_written", kind=event.kind, detail=event.detail)
        return False
