"""The tables: what migrations make is what tables.py says, and what stands in schema/."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from tests.support.postgres import query
from tickloom_core.errors import PermanentError
from tickloom_sql_sink.schema import FLAVOURS, render_schema
from tickloom_sql_sink.tables import FILED, metadata

SCHEMA = Path(__file__).parents[1] / "schema"
MIGRATE = """
import sys
from tickloom_core.config import Config, SqlSinkConfig
from tickloom_sql_sink.migration import migrate
from tickloom_sql_sink.opening import open_database
from tickloom_sql_sink.url import choose_url
migrate(open_database(choose_url(Config(sql_sink=SqlSinkConfig(url=sys.argv[1]))), 1))
"""


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_schema_files(flavour):
    """schema/ shows the tables as tables.py defines them; the head of a file says how it is written anew."""
    assert (SCHEMA / f"{flavour}.sql").read_text() == render_schema(flavour)


async def test_migrations_make_the_tables(postgres_url, open_store):
    """Migrated up from nothing, tables, columns and indexes on PostgreSQL are those of tables.py."""
    opened = await open_store(postgres_url)
    with opened.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "include_object": _is_ours})
        assert compare_metadata(context, metadata) == []


def _is_ours(thing, name, kind, is_reflected, compared_to):
    """Leave out the key that only SQLite has: alembic does not know that an index can be of one dialect."""
    return not (kind == "index" and not is_reflected and thing._ddl_if and thing._ddl_if.dialect == "sqlite")


async def test_sqlite_is_as_the_file_says(tmp_path, open_store):
    """The statements that SQLite keeps are those of schema/sqlite.sql, but for white space."""
    opened = await open_store(f"sqlite:///{tmp_path / 'x.sqlite'}")
    statement = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND tbl_name NOT LIKE 'alembic%'"
    with opened.engine.connect() as connection:
        kept = [row[0] for row in connection.execute(text(statement))]
    written = (SCHEMA / "sqlite.sql").read_text().partition("\n\n")[2].split(";")
    assert _normalise(kept) == _normalise(written)


def _normalise(statements):
    return sorted("".join(statement.split()).replace('"', "") for statement in statements if statement.strip())


async def test_partitioned_where_there_is_no_timescaledb(postgres_url, open_store):
    """On plain PostgreSQL every table of rows is partitioned by its time."""
    await open_store(postgres_url)
    kinds = query(postgres_url, "SELECT relname FROM pg_class WHERE relkind = 'p' ORDER BY 1")
    assert [name for (name,) in kinds] == sorted(table.name for table in FILED)


def test_processes_that_start_together(database_url):
    """Several processes that migrate at once all end well, and the tables are made once."""
    command = [sys.executable, "-c", MIGRATE, database_url]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    endings = [(process.communicate(timeout=60)[1], process.returncode) for process in processes]
    assert endings == [("", 0)] * 3


async def test_tables_of_a_newer_program(database_url, open_store):
    """Tables of a revision that this program does not know are left alone."""
    opened = await open_store(database_url)
    with opened.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(PermanentError, match=r"are of a newer program .*; update this one"):
        await open_store(database_url)
