"""docs/sql-sink.md says what the tables are, and its queries run."""

from __future__ import annotations

import inspect
import re

import pytest
from sqlalchemy import BigInteger, DateTime, Double, Integer, Text, text
from sqlalchemy.dialects.postgresql import ARRAY

from tests.docs.pages import find_page, read_code
from tickloom_sql_sink import url
from tickloom_sql_sink.tables import FILED, get_time_column, metadata

PAGE = find_page("sql-sink")
KINDS = {BigInteger: "integer", DateTime: "time", Double: "number", Integer: "integer", Text: "text"}


def name_kind(column):
    return f"{KINDS[type(column.type.item_type)]}s" if isinstance(column.type, ARRAY) else KINDS[type(column.type)]


@pytest.mark.parametrize("table", metadata.sorted_tables, ids=lambda table: table.name)
def test_columns(table):
    """The page has each table's columns in order, with kind and nullability, and marks the time of filing."""
    section = PAGE.text.partition(f"\n### {table.name}\n")[2].partition("\n#")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if "| `" in line[:3]]
    assert [(read_code(row[0]), row[1], row[2]) for row in rows] == [
        (column.name, name_kind(column), "yes" if column.nullable else "no") for column in table.columns
    ]
    marked = [read_code(row[0]) for row in rows if "⏱" in row[0]]
    assert marked == ([get_time_column(table)] if table in FILED else [])


async def test_queries(database_url, open_store, make_trades, make_chunk):
    """The queries of the page run on both dialects, and the first one tells the trades of a day."""
    opened = await open_store(database_url)
    await opened.commit(make_chunk([make_trades(1), make_trades(2, exchange="kraken")]))
    with opened.engine.connect() as connection:
        answers = [connection.execute(text(block)).all() for block in PAGE.find_blocks("sql")]
    assert len(answers) == 3
    assert answers[0] == [("binance", "BTC/USDT", 3, 60_001.0), ("kraken", "BTC/USDT", 3, 60_001.0)]


def test_variables():
    """The page names the variables of the environment that are read."""
    rows = PAGE.find_rows("variable")
    assert rows.keys() == set(re.findall(r"\b(?:POSTGRES_[A-Z]+|DATABASE_URL)\b", inspect.getsource(url)))
