"""The suite, for InfluxDB."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar
from uuid import uuid4

import pytest

from tests.conformance.suite import StoreConformance
from tests.support.influx import InfluxServer, find_influxd
from tests.support.media.influx import InfluxBucket

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxServer]:
    """Provide a running server that this module may kill; each test has a bucket of its own."""
    program = find_influxd()
    if program is None:
        pytest.skip("no InfluxDB: name influxd in TICKLOOM_INFLUXD, or have it on PATH")
    server = InfluxServer(tmp_path_factory.mktemp("influx"), program)
    server.start()
    yield server
    server.kill()


class TestInflux(StoreConformance):
    """A bucket of InfluxDB's."""

    refused: ClassVar = frozenset(
        {"infinite price", "far time", "long symbol in trades", "long symbol in tickers", "empty ticker"}
    )

    @pytest.fixture
    def medium(self, server):
        return InfluxBucket(server, f"conformance-{uuid4().hex[:8]}")

    @pytest.fixture
    def disk(self, make_disk):
        return make_disk(64 * 1024**2)

    @pytest.fixture
    def medium_on_disk(self, disk):
        program = find_influxd()
        assert program is not None, "it was there for the module's server"
        server = InfluxServer(disk.path, program)
        server.start()
        yield InfluxBucket(server, "full")
        server.kill()

    def free(self, disk, medium):
        disk.free()
        # A shard that could not be opened for want of room stays closed until influxd is started again.
        medium.interrupt()
        medium.restore()

    def make_older(self, medium):
        return medium.drop_price()
