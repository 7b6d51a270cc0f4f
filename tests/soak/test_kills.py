"""The long form of the kill tests: all sinks at once, 200 kills of all that can be killed."""

from __future__ import annotations

import pytest

from tests.support.influx import InfluxServer, find_influxd
from tests.support.installation import Installation
from tests.support.media.influx import InfluxBucket
from tests.support.media.parquet import ParquetBucket
from tests.support.media.sql import PostgresDatabase, SqliteFile
from tests.support.postgres import PostgresServer, has_postgres
from tests.support.s3 import S3Server
from tests.support.servers import find_program

pytestmark = pytest.mark.soak

KILLS = 100
"""In each of the two halves."""
SEED = 20261121
TICKS_PER_S = 5000


@pytest.mark.timeout(3000)
@pytest.mark.parametrize("database", ["postgres", "sqlite"])
def test_kills(tmp_path, nats_server, database):
    """A hundred kills of three sinks and their servers, with PostgreSQL and with SQLite: every row is stored once."""
    weed, influxd = find_program("weed"), find_influxd()
    if weed is None or influxd is None or not has_postgres():
        pytest.skip("a server is missing: `make setup` installs weed and PostgreSQL, TICKLOOM_INFLUXD names InfluxDB")
    s3, influx, postgres = S3Server(tmp_path, weed), InfluxServer(tmp_path, influxd), PostgresServer(tmp_path)
    try:
        s3.start()
        influx.start()
        if database == "postgres":
            postgres.start()
        tables = {
            "postgres": PostgresDatabase(postgres, "postgres"),
            "sqlite": SqliteFile(tmp_path / "tickloom.sqlite"),
        }
        media = (ParquetBucket(s3, "market/kills"), InfluxBucket(influx, "kills"), tables[database])
        installation = Installation(tmp_path, nats_server, media, TICKS_PER_S)
        with installation.running():
            installation.wait_for_flow()
            died = installation.kill(KILLS, SEED)
            assert min(died.values()) >= KILLS // len(installation.victims)
            installation.assert_stored_once(installation.end_load())
            installation.assert_nothing_lies_about()
    finally:
        postgres.stop()
        influx.kill()
        s3.kill()
