"""What the parts of the suite stand on: which medium is under test, and the bus in front of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar

import pytest

from tests.conformance.stand import Stand
from tests.support.disk import SmallDisk
from tests.support.media.medium import Medium
from tests.support.servers import NatsServer
from tickloom_core.bus.connection import connect
from tickloom_core.bus.topology import ensure_topology
from tickloom_core.config import BusConfig, NatsConfig

SEED = 20261121
PARTITIONS = 2
STREAM_BYTES = 1024**2


class StoreFixtures:
    """Says which store is under test.

    Attributes:
        refused: which rows of `tests.conformance.nasty` the store cannot hold, by name.
    """

    refused: ClassVar[frozenset[str]] = frozenset()

    @pytest.fixture
    def medium(self) -> Medium:
        """Provide the medium under test, empty."""
        pytest.fail("a store's module says which medium is under test")

    @pytest.fixture
    def disk(self, tmp_path: Path) -> SmallDisk:
        """Provide a small disk, or skip."""
        pytest.skip("a full disk cannot be made for this store")

    @pytest.fixture
    def medium_on_disk(self, disk: SmallDisk) -> Medium:
        """Provide a medium on that disk."""
        pytest.fail("a store's module that provides a disk says what stands on it")

    def free(self, disk: SmallDisk, medium: Medium) -> None:
        """Give the medium room again, and do what its operator must do then."""
        disk.free()

    def make_older(self, medium: Medium) -> str:
        """Make the stored trades look as an older version of the schema left them; return what it did not have."""
        pytest.skip("this store brings its tables up to date before it writes: its migrations have tests of their own")

    @pytest.fixture
    async def stand(self, nats_server: NatsServer, medium: Medium, tmp_path: Path) -> AsyncIterator[Stand]:
        """Provide a bus before the medium under test."""
        async with open_stand(nats_server, medium, tmp_path) as stand:
            yield stand

    @pytest.fixture
    async def stand_on_disk(
        self, nats_server: NatsServer, medium_on_disk: Medium, tmp_path: Path
    ) -> AsyncIterator[Stand]:
        """Provide a bus before the medium on the small disk."""
        async with open_stand(nats_server, medium_on_disk, tmp_path) as stand:
            yield stand


@asynccontextmanager
async def open_stand(server: NatsServer, medium: Medium, folder: Path) -> AsyncIterator[Stand]:
    """Make a stream of two partitions, so small that an outage fills it, with one sink."""
    config = BusConfig(partitions=PARTITIONS, max_bytes=STREAM_BYTES, sinks=(medium.sink,))
    connection = await connect(NatsConfig(url=server.url), name="suite")
    try:
        await ensure_topology(connection, config)
        yield Stand(connection, server.url, config, medium, folder)
    finally:
        await connection.close()
