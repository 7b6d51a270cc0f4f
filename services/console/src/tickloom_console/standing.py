"""What stands on the bus: the stream, and how far each sink is behind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tickloom_core.bus.connection import Connection
from tickloom_core.bus.subjects import STREAM, make_consumer
from tickloom_core.config import BusConfig


@dataclass(frozen=True, slots=True)
class ConsumerStanding:
    """How far one sink is behind in one partition.

    Attributes:
        behind: messages that the sink has not committed.
    """

    sink: str
    partition: int
    behind: int


@dataclass(frozen=True, slots=True)
class StreamStanding:
    """The stream."""

    messages: int
    size_bytes: int
    max_bytes: int


async def read_stream(connection: Connection) -> StreamStanding | None:
    """Return the state of the stream, or None when there is none.

    Raises:
        BusUnavailableError: JetStream does not answer.
    """
    answer = await connection.request(f"$JS.API.STREAM.INFO.{STREAM}")
    if "error" in answer:
        return None
    state: dict[str, Any] = answer["state"]
    return StreamStanding(state["messages"], state["bytes"], answer["config"]["max_bytes"])


async def read_consumers(connection: Connection, bus: BusConfig) -> list[ConsumerStanding]:
    """Return how far the sinks are behind; a consumer that does not exist is left out.

    Raises:
        BusUnavailableError: JetStream does not answer.
    """
    standings: list[ConsumerStanding] = []
    for sink in bus.sinks:
        for partition in range(bus.partitions):
            answer = await connection.request(f"$JS.API.CONSUMER.INFO.{STREAM}.{make_consumer(sink, partition)}")
            if "error" not in answer:
                standing = ConsumerStanding(sink, partition, answer["num_pending"])
                standings.append(standing)
    return standings
