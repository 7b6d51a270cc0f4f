"""Brings the tables to the newest revision, whichever process comes first."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError

from tickloom_core.errors import PermanentError
from tickloom_sql_sink.database import Database

_FOLDER = Path(__file__).parent / "migrations"


def migrate(database: Database) -> None:
    """Make the tables, or bring them up to date, in one transaction; processes that come meanwhile wait.

    Raises:
        TransientError: the database does not answer.
        PermanentError: the tables may not be made, or are of a newer program.
    """
    config = Config()
    config.set_main_option("script_location", str(_FOLDER))
    with database.begin() as connection:
        database.lock_schema(connection)
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise PermanentError(
                f"the tables in {database.place} are of a newer program ({error}); update this one"
            ) from error
    database.settle()
