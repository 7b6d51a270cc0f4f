"""Fixtures of the bus tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tickloom_core.bus.connection import Connection, connect
from tickloom_core.bus.topology import ensure_topology
from tickloom_core.config import BusConfig, NatsConfig


@pytest.fixture
def bus_config() -> BusConfig:
    """One partition, one sink."""
    return BusConfig(partitions=1, max_bytes=64 * 1024**2)


@pytest.fixture
async def connection(nats_server, bus_config) -> AsyncIterator[Connection]:
    """Provide a connection to a server on which the topology stands."""
    connection = await connect(NatsConfig(url=nats_server.url), name="test")
    await ensure_topology(connection, bus_config)
    yield connection
    await connection.close()
