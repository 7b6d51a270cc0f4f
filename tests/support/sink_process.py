"""A sink as a process that can be killed at any moment and started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.support.media.medium import Medium


class SinkProcess:
    """One sink, by its command line.

    Args:
        folder: for its configuration and its log.
        medium: where it stores.
        config: the sections beside the medium's own: `nats` and `bus`.
        name: its name; two of one folder must differ.
    """

    def __init__(self, folder: Path, medium: Medium, config: dict[str, Any], *, name: str = "sink") -> None:
        self.name = name
        self._path = folder / f"{name}.yaml"
        self._log = folder / f"{name}.log"
        settings = medium.make_settings()
        for section in settings:
            settings[section] |= config.get(section, {})
        self._path.write_text(yaml.safe_dump({"data_dir": str(folder / "data")} | config | settings))
        self._command = [sys.executable, "-m", medium.package, f"--config={self._path}", f"--name={name}"]
        self._environment = os.environ | medium.environment
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """What it has logged, over all starts."""
        return self._log.read_text() if self._log.exists() else ""

    @property
    def exit_code(self) -> int | None:
        """With what it has ended by itself; None while it runs."""
        assert self._process is not None, "it was not started"
        return self._process.poll()

    def start(self) -> None:
        """Start it; it is ready later."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, env=self._environment)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it with a signal and return its exit code."""
        assert self._process is not None, "it does not run"
        self._process.send_signal(number)
        code = self._process.wait(timeout=30)
        self._process = None
        return code

    def kill(self) -> None:
        """End it as a power cut would, if it runs."""
        if self._process is not None:
            self.stop(signal.SIGKILL)
