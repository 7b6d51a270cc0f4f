"""The rows of the benchmark: a name, a value, a goal, and whether it is reached."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

RESULTS = Path("data/bench/results.json")


@dataclass(frozen=True, slots=True)
class Row:
    """One measured figure; without a goal it is for information."""

    name: str
    value: float
    unit: str
    goal: str = ""
    ok: bool = True


def at_least(name: str, value: float, unit: str, goal: float) -> Row:
    """Return a row whose value should reach the goal."""
    return Row(name, value, unit, f">= {goal:g}", ok=value >= goal)


def at_most(name: str, value: float, unit: str, goal: float) -> Row:
    """Return a row whose value should not exceed the goal."""
    return Row(name, value, unit, f"<= {goal:g}", ok=value <= goal)


def write_report(rows: list[Row]) -> None:
    """Write the rows as JSON and print them as a table."""
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    table = Table("measured", "value", "unit", "goal", "reached", min_width=100)
    for row in rows:
        table.add_row(
            row.name, f"{row.value:,.4g}" if row.value < 100 else f"{row.value:,.0f}", row.unit, row.goal, _mark(row)
        )
    Console(width=110).print(table)


def _mark(row: Row) -> str:
    return ("yes" if row.ok else "NO") if row.goal else ""
