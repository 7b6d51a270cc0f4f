"""`tickloom sql`: a query over what is stored, as a table, CSV or JSON."""

from __future__ import annotations

import csv
import sys

import msgspec

from tickloom_console.flags import DEFAULT_CONFIG_PATH, SqlFormat, SqlOptions
from tickloom_console.query import Result, Storage
from tickloom_console.root import Root, is_bucket, open_root
from tickloom_console.tables import print_table
from tickloom_core.config import ParquetSinkConfig
from tickloom_core.config_file import load_config


async def print_query(options: SqlOptions) -> None:
    """Run the query and print its answer to standard output.

    Raises:
        ConfigError: the configuration is wrong, or the root is neither a folder nor a bucket.
        PermanentError: nothing is stored, it may not be read, or DuckDB does not accept the query.
        TransientError: the bucket does not answer.
    """
    storage = Storage(_find_root(options))
    try:
        _print(storage.ask(options.query), options.format or ("table" if sys.stdout.isatty() else "csv"))
    except BrokenPipeError:
        sys.stderr.close()  # the reader, such as `head`, has had enough; there is nobody to tell
    finally:
        storage.close()


def _find_root(options: SqlOptions) -> Root:
    if options.root is None:
        config = load_config(options.config_path)
        return open_root(config.parquet_uri, config.parquet_sink)
    is_configured = options.config_path != DEFAULT_CONFIG_PATH or options.config_path.exists()
    if is_bucket(options.root) and is_configured:
        return open_root(options.root, load_config(options.config_path).parquet_sink)
    return open_root(options.root, ParquetSinkConfig())


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
