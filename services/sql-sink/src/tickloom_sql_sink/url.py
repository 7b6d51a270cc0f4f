"""Which database: from the configuration, or from the environment as users of PostgreSQL know it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from tickloom_core.config import Config
from tickloom_core.errors import ConfigError
from tickloom_sql_sink.tables import POSTGRESQL, SQLITE

_SETTING: Final = "sql_sink.url"
_DRIVERS: Final = {
    "postgres": "postgresql+psycopg",
    POSTGRESQL: "postgresql+psycopg",
    SQLITE: "sqlite+pysqlite",
}
_FILE: Final = "tickloom.sqlite"


def choose_url(config: Config, environment: Mapping[str, str] = os.environ) -> URL:
    """Return where the tables are: `sql_sink.url`, else DATABASE_URL, else POSTGRES_*, else a file in `data_dir`.

    Raises:
        ConfigError: the URL cannot be understood, its scheme is not known, or the password is missing.
    """
    settings = config.sql_sink
    if settings.url is not None:
        url = _parse(settings.url, _SETTING)
    elif environment.get("DATABASE_URL"):
        url = _parse(environment["DATABASE_URL"], "DATABASE_URL")
    elif environment.get("POSTGRES_HOST"):
        url = _compose(environment)
    else:
        url = URL.create(_DRIVERS[SQLITE], database=str(Path(config.data_dir) / _FILE))
    if settings.password is not None:
        url = url.set(password=settings.password.resolve())
    return url


def _parse(text: str, place: str) -> URL:
    try:
        url = make_url(text)
    except ArgumentError:
        # Its text is not repeated: a password may stand in it.
        raise ConfigError("expected postgresql://user@host:port/database or sqlite:///path", path=place) from None
    driver = _DRIVERS.get(url.drivername)
    if driver is None:
        known = ", ".join(f"{scheme}://" for scheme in sorted(_DRIVERS))
        raise ConfigError(f"the scheme `{url.drivername}` is not known; there are {known}", path=place)
    if url.get_backend_name() == SQLITE and not url.database:
        raise ConfigError("expected sqlite:///path/of/a/file", path=place)
    if "password" in url.query:
        # Where libpq would find it too, but whoever shows the URL would not hide it.
        url = url.set(password=str(url.query["password"])).difference_update_query(["password"])
    return url.set(drivername=driver)


def _compose(environment: Mapping[str, str]) -> URL:
    port = environment.get("POSTGRES_PORT") or "5432"
    if not port.isdecimal():
        raise ConfigError(f"expected a number, found `{port}`", place="POSTGRES_PORT")
    user = environment.get("POSTGRES_USER") or "postgres"
    return URL.create(
        _DRIVERS[POSTGRESQL],
        username=user,
        password=environment.get("POSTGRES_PASSWORD") or None,
        host=environment["POSTGRES_HOST"],
        port=int(port),
        database=environment.get("POSTGRES_DB") or user,
    )
