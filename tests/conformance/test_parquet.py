"""The suite, for Parquet in a folder."""

from __future__ import annotations

import pytest

from tests.conformance.suite import StoreConformance
from tests.support.media.parquet import ParquetFolder


class TestParquetFolder(StoreConformance):
    """Parquet in a folder of this machine; it holds whatever comes."""

    @pytest.fixture
    def medium(self, tmp_path):
        return ParquetFolder(tmp_path / "parquet")

    @pytest.fixture
    def disk(self, make_disk):
        return make_disk(8 * 1024**2)

    @pytest.fixture
    def medium_on_disk(self, disk):
        return ParquetFolder(disk.path / "parquet")

    def make_older(self, medium):
        return medium.drop_last_column()
