"""Which database: the setting, the environment, or a file."""

from __future__ import annotations

import pytest

from tickloom_core.config import Config, SecretReference, SqlSinkConfig
from tickloom_core.errors import ConfigError
from tickloom_sql_sink.url import choose_url

POSTGRES = {"POSTGRES_HOST": "db", "POSTGRES_PORT": "5433", "POSTGRES_DB": "market", "POSTGRES_USER": "loom"}


def choose(url=None, environment=None, password=None):
    config = Config(data_dir="data", sql_sink=SqlSinkConfig(url=url, password=password))
    return choose_url(config, environment or {}).render_as_string(hide_password=False)


@pytest.mark.parametrize(
    ("url", "environment", "chosen"),
    [
        (None, {}, "sqlite+pysqlite:///data/tickloom.sqlite"),
        ("sqlite:////srv/x.sqlite", {"DATABASE_URL": "postgres://h/d"}, "sqlite+pysqlite:////srv/x.sqlite"),
        ("postgres://u@h:5433/d", {}, "postgresql+psycopg://u@h:5433/d"),
        ("postgresql://u:p%40@h/d?sslmode=require", {}, "postgresql+psycopg://u:p%40@h/d?sslmode=require"),
        ("postgresql://u@/d?host=/run/pg&password=x", {}, "postgresql+psycopg://u:x@/d?host=%2Frun%2Fpg"),
        (None, {"DATABASE_URL": "postgres://h/d", **POSTGRES}, "postgresql+psycopg://h/d"),
        (None, POSTGRES, "postgresql+psycopg://loom@db:5433/market"),
        (
            None,
            {"POSTGRES_HOST": "db", "POSTGRES_PASSWORD": "a/b"},
            "postgresql+psycopg://postgres:a%2Fb@db:5432/postgres",
        ),
    ],
)
def test_choice(url, environment, chosen):
    """The setting comes first, then DATABASE_URL, then POSTGRES_*, then a file in data_dir."""
    assert choose(url, environment) == chosen


def test_password(tmp_path):
    """A password that is referred to replaces the one in the URL."""
    (tmp_path / "password").write_text("s3:cret\n")
    password = SecretReference(file=str(tmp_path / "password"))
    assert choose("postgresql://u:old@h/d", password=password) == "postgresql+psycopg://u:s3%3Acret@h/d"


@pytest.mark.parametrize(
    ("url", "environment", "words"),
    [
        (
            "mysql://h/d",
            {},
            r"sql_sink\.url: the scheme `mysql` is not known; there are postgres://, postgresql://, sqlite",
        ),
        ("nonsense", {}, r"sql_sink\.url: expected postgresql://"),
        ("sqlite://", {}, r"sql_sink\.url: expected sqlite:///path"),
        (None, {"DATABASE_URL": "oracle://h/d"}, "DATABASE_URL: the scheme `oracle` is not known"),
        (None, {"POSTGRES_HOST": "h", "POSTGRES_PORT": "x"}, "POSTGRES_PORT: expected a number, found `x`"),
    ],
)
def test_what_cannot_be_understood(url, environment, words):
    """A URL that names no database says where it stands and what is expected, and repeats no password."""
    with pytest.raises(ConfigError, match=words):
        choose(url, environment)
