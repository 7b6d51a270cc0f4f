"""The suite, for NDJSON in a folder."""

from __future__ import annotations

import pytest

from tests.conformance.suite import StoreConformance
from tests.support.media.parquet import ParquetFolder


class TestNdjsonFolder(StoreConformance):
    """Lines of JSON in a folder of this machine."""

    @pytest.fixture
    def medium(self, tmp_path):
        return ParquetFolder(tmp_path / "ndjson", "ndjson")

    @pytest.fixture
    def disk(self, make_disk):
        return make_disk(8 * 1024**2)

    @pytest.fixture
    def medium_on_disk(self, disk):
        return ParquetFolder(disk.path / "ndjson", "ndjson")

    def make_older(self, medium):
        return medium.drop_last_column()
