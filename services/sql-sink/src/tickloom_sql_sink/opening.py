"""From a URL to the database behind it."""

from __future__ import annotations

from sqlalchemy import URL

from tickloom_sql_sink.database import Database
from tickloom_sql_sink.postgres import open_postgres
from tickloom_sql_sink.sqlite import open_sqlite
from tickloom_sql_sink.tables import SQLITE


def open_database(url: URL, partition_days: int) -> Database:
    """Return the database at a URL of `choose_url`; PostgreSQL is not connected yet.

    Raises:
        PermanentError: the folder of the file cannot be made.
    """
    return open_sqlite(url) if url.get_backend_name() == SQLITE else open_postgres(url, partition_days)
