"""TimescaleDB for tests: PostgreSQL and the extension as WASM, from npm. It shows schema and SQL; COPY crashes it."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

from tests.support.servers import find_free_port

_START_DEADLINE_S = 60.0
_INSTALL_DEADLINE_S = 180.0
_CACHE = Path.home() / ".cache" / "tickloom-servers" / "timescaledb"


def find_missing() -> str | None:
    """Return what is missing to run it, or None."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        return "node and npm are not installed here"
    if not _find_recipe().is_dir():
        return "its recipe is not here: set TICKLOOM_SERVERS to the folder of the test servers"
    return None


def _find_recipe() -> Path:
    """Return the folder with package.json and server.mjs."""
    servers = os.environ.get("TICKLOOM_SERVERS", Path(__file__).parents[3] / "shared" / "servers")
    return Path(servers) / "timescaledb"


class TimescaleServer:
    """One database with the extension created; one client at a time, its data in memory.

    Args:
        log: where it writes what it has to say.
    """

    def __init__(self, log: Path) -> None:
        self._log = log
        self._port = find_free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The database."""
        return f"postgresql://postgres:postgres@127.0.0.1:{self._port}/postgres?sslmode=disable"

    def start(self) -> None:
        """Install it when it is not in the cache yet, start it, and wait until it listens."""
        _install()
        with self._log.open("ab") as log:
            command = ["node", str(_CACHE / "server.mjs"), str(self._port)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=_CACHE)
        end_s = time.monotonic() + _START_DEADLINE_S
        while b"ready" not in self._log.read_bytes():
            assert self._process.poll() is None, f"it ended: {self._log.read_text()[-1000:]}"
            assert time.monotonic() < end_s, "it does not answer"
            time.sleep(0.1)

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=10)
            self._process = None


def _install() -> None:
    """Install it into a folder of its own, and give that its name when it is whole."""
    if _CACHE.is_dir():
        return
    fresh = _CACHE.with_name(f"{_CACHE.name}.{os.getpid()}")
    shutil.copytree(_find_recipe(), fresh, ignore=shutil.ignore_patterns("node_modules"))
    command = ["npm", "install", "--no-audit", "--no-fund", "--silent"]
    subprocess.run(command, cwd=fresh, check=True, timeout=_INSTALL_DEADLINE_S, capture_output=True)
    try:
        fresh.rename(_CACHE)
    except OSError:
        # Another process was faster.
        shutil.rmtree(fresh)
