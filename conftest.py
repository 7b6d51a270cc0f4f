"""Fixtures of all tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.servers import NatsServer, find_corpus


@pytest.fixture
def nats_server(tmp_path: Path) -> Iterator[NatsServer]:
    """Provide a running nats-server."""
    folder = tmp_path / "nats"
    folder.mkdir()
    server = NatsServer(folder)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def corpus() -> Path:
    """Provide the recorded exchange traffic, or skip."""
    folder = find_corpus()
    if folder is None:
        pytest.skip("recorded exchange traffic is not here: set TICKLOOM_CORPUS to its folder")
    return folder
