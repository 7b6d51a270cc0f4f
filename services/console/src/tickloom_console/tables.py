"""Tables for people: drawn on a terminal, aligned plain text when piped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import IO

from rich.console import Console
from rich.table import Table


def make_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str = "") -> Table:
    """Return a table; columns that hold numbers only are aligned to the right."""
    cells = [list(row) for row in rows]
    table = Table(title=title or None, title_justify="left")
    for position, column in enumerate(columns):
        is_number = bool(cells) and all(isinstance(row[position], int | float) for row in cells)
        table.add_column(column, justify="right" if is_number else "left")
    for row in cells:
        table.add_row(*(format_cell(value) for value in row))
    return table


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str = "", file: IO[str] | None = None
) -> None:
    """Print a table in the way that suits where it goes."""
    console = Console(file=file, highlight=False, markup=False)
    cells = [list(row) for row in rows]
    if console.is_terminal:
        console.print(make_table(columns, cells, title=title))
        return
    if title:
        print(title, file=file)
    lines = [list(columns), *([format_cell(value) for value in row] for row in cells)]
    widths = [max(len(line[position]) for line in lines) for position in range(len(columns))]
    for line in lines:
        text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print(text.rstrip(), file=file)


def format_cell(value: object) -> str:
    """Return a value as text: numbers with separators, nothing for null."""
    if value is None:
        return ""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)
