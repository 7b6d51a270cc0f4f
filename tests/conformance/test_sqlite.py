"""The suite, for SQLite."""

from __future__ import annotations

from typing import ClassVar

import pytest

from tests.conformance.suite import StoreConformance
from tests.support.media.sql import SqliteFile


class TestSqlite(StoreConformance):
    """A file of SQLite's."""

    refused: ClassVar = frozenset({"NUL in an id", "far time"})

    @pytest.fixture
    def medium(self, tmp_path):
        return SqliteFile(tmp_path / "tickloom.sqlite")

    @pytest.fixture
    def disk(self, make_disk):
        return make_disk(8 * 1024**2)

    @pytest.fixture
    def medium_on_disk(self, disk):
        return SqliteFile(disk.path / "tickloom.sqlite")
