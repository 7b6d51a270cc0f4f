"""Runs the migrations in the transaction of whoever asks for them: see tickloom_sql_sink.migration."""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
