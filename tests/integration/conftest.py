"""Fixtures of the tests that run the whole system."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.servers import NatsServer
from tests.support.simulator import Simulator, running_simulator
from tests.support.stack import Stack, make_config, running_stack

MakeStack = Callable[..., Stack]


@pytest.fixture
def make_stack(tmp_path: Path, nats_server: NatsServer) -> Iterator[MakeStack]:
    """Provide a function that starts simulator and services; all of it ends with the test."""
    with ExitStack() as resources:

        def make(*simulator_flags: str, adjust: Callable[[dict[str, Any]], None] | None = None) -> Stack:
            simulator = resources.enter_context(running_simulator(tmp_path, *simulator_flags))
            config = make_config(tmp_path, simulator, nats_server.url)
            if adjust is not None:
                adjust(config)
            return resources.enter_context(running_stack(Stack(tmp_path, nats_server, simulator, config)))

        yield make


@pytest.fixture
def simulator(tmp_path: Path) -> Iterator[Simulator]:
    """Provide a running simulator of the three venues."""
    with running_simulator(tmp_path, "--synthetic") as running:
        yield running
