"""The tables as SQL; `python -m tickloom_sql_sink.schema postgresql|timescaledb|sqlite` prints what is in `schema/`.

For people who read, review or grant; the sink makes its tables by itself.
"""

from __future__ import annotations

import sys
from typing import Final

from sqlalchemy import create_mock_engine
from sqlalchemy.schema import CreateIndex, CreateTable

from tickloom_sql_sink.tables import FILED, POSTGRESQL, SQLITE, get_time_column, metadata

TIMESCALEDB: Final = "timescaledb"
FLAVOURS: Final = {
    POSTGRESQL: "postgresql+psycopg://",
    TIMESCALEDB: "postgresql+psycopg://",
    SQLITE: "sqlite://",
}
_HEAD: Final = "-- Written by `python -m tickloom_sql_sink.schema {flavour}`; do not edit.\n"
_PARTITIONED: Final = "\n PARTITION BY"


def render_schema(flavour: str) -> str:
    """Return the statements that make the tables, as the newest migration leaves them."""
    times = {table.name: get_time_column(table) for table in FILED} if flavour == TIMESCALEDB else {}
    statements: list[tuple[str, int, str]] = []

    def note(statement: CreateTable | CreateIndex, *_: object) -> None:
        text = str(statement.compile(dialect=engine.dialect)).strip()
        if isinstance(statement, CreateTable):
            name = statement.element.name
            # What becomes a hypertable must not be partitioned before.
            statements.append((name, 0, text.partition(_PARTITIONED)[0] if name in times else text))
            if name in times:
                call = f"SELECT create_hypertable('{name}', '{times[name]}', create_default_indexes => false)"
                statements.append((name, 1, call))
        else:
            statements.append((str(statement.element.table), 2, text))

    engine = create_mock_engine(FLAVOURS[flavour], note)
    metadata.create_all(engine, checkfirst=False)
    return "\n".join([_HEAD.format(flavour=flavour), *[f"{_tidy(text)};\n" for _, _, text in sorted(statements)]])


def main() -> None:
    """Print the schema of the flavour that the command line names."""
    if sys.argv[1:] not in [[flavour] for flavour in FLAVOURS]:
        sys.exit(f"error: name one of {', '.join(FLAVOURS)}")
    sys.stdout.write(render_schema(sys.argv[1]))


def _tidy(text: str) -> str:
    return "\n".join(line.rstrip().replace("\t", "    ") for line in text.splitlines())


if __name__ == "__main__":
    main()
