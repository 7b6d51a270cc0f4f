"""`tickloom sql`: a query over what is stored, as a table, CSV or JSON."""

from __future__ import annotations

import csv
import sys

import msgspec

from tickloom_console.flags import SqlFormat, SqlOptions
from tickloom_console.manifests import find_root
from tickloom_console.query import Result, Storage
from tickloom_console.tables import print_table
from tickloom_core.config_file import load_config


async def print_query(options: SqlOptions) -> None:
    """Run the query and print its answer to standard output.

    Raises:
        ConfigError: the configuration is wrong, or the data is not on a local disk.
        PermanentError: nothing is stored, or DuckDB does not accept the query.
    """
    root = find_root(options.root or load_config(options.config_path).parquet_uri)
    storage = Storage(root)
    try:
        _print(storage.ask(options.query), options.format or ("table" if sys.stdout.isatty() else "csv"))
    except BrokenPipeError:
        sys.stderr.close()  # the reader, such as `head`, has had enough; there is nobody to tell
    finally:
        storage.close()


def _print(result: Result, chosen: SqlFormat) -> None:
    if chosen == "table":
        print_table(result.columns, result.rows)
    elif chosen == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(result.columns)
        writer.writerows(result.rows)
    else:
        rows = [dict(zip(result.columns, row, strict=True)) for row in result.rows]
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(rows), indent=2).decode() + "\n")
