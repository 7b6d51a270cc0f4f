"""Measures what Tickloom promises into data/bench/results.json; `python -m tests.bench PART` measures a part."""

from __future__ import annotations

import sys

from tests.bench import collecting, compacting, influx, memory, sql, storing
from tests.bench.report import write_report

PARTS = {
    "collecting": collecting.measure,
    "storing": storing.measure,
    "compacting": compacting.measure,
    "influx": influx.measure,
    "sql": sql.measure,
    "memory": memory.measure,
}


def main() -> None:
    """Measure the parts that were named, or all."""
    names = sys.argv[1:] or list(PARTS)
    for name in names:
        if name not in PARTS:
            sys.exit(f"error: no part is called {name}; there are {', '.join(PARTS)}")
    rows = [row for name in names for row in PARTS[name]()]
    write_report(rows)


if __name__ == "__main__":
    main()
