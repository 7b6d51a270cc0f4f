"""What the stores' modules share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.disk import SmallDisk

# Their assertions are the suite's.
for module in ("content", "delivery", "stand", "trouble"):
    pytest.register_assert_rewrite(f"tests.conformance.{module}")


@pytest.fixture
def make_disk(tmp_path: Path) -> Iterator[Callable[[int], SmallDisk]]:
    """Provide a function that mounts a disk of so many bytes, or skips; it goes with the test."""
    with ExitStack() as resources:

        def make(size_bytes: int) -> SmallDisk:
            if os.geteuid() != 0:
                pytest.skip("only root can mount a small disk")
            return resources.enter_context(SmallDisk(tmp_path / "disk", size_bytes))

        yield make
