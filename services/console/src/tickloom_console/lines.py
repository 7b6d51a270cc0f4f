"""Files of JSON lines as pyarrow reads them: with the columns that the Parquet sink gives each channel."""

from __future__ import annotations

from typing import Final, NoReturn

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.json as pj
from pyarrow import fs

from tickloom_core.columns import LEVEL_COUNTS, TickerBuffer

LINES_SUFFIXES: Final = (".ndjson.zst", ".ndjson.lz4")
_ZSTD: Final = ".zst"
_ZSTD_TO_ARROW: Final = ".zstd"

_BEGIN: Final = {"exchange": pa.string(), "symbol": pa.string()}
_CLOCKS: Final = {"exchange_time": pa.timestamp("us", tz="UTC"), "receive_time_ns": pa.int64()}
_PROVENANCE: Final = {"writer": pa.string(), "shard": pa.string(), "epoch": pa.uint64()}

LINES_SCHEMAS: Final[dict[str, pa.Schema]] = {
    channel: pa.schema([pa.field(name, kind) for name, kind in {**_BEGIN, **columns, **_PROVENANCE}.items()])
    for channel, columns in {
        "trades": {
            **_CLOCKS,
            "price": pa.float64(),
            "amount": pa.float64(),
            "side": pa.string(),
            "trade_id": pa.string(),
        },
        "tickers": {**_CLOCKS, **dict.fromkeys(TickerBuffer.numbers, pa.float64())},
        "books": {
            **_CLOCKS,
            "kind": pa.string(),
            "sequence": pa.int64(),
            "previous_sequence": pa.int64(),
            **dict.fromkeys(LEVEL_COUNTS, pa.list_(pa.field("element", pa.float64()))),
        },
        "events": {
            "receive_time_ns": pa.int64(),
            "kind": pa.string(),
            "subject_channel": pa.string(),
            "detail": pa.string(),
            **dict.fromkeys(("count", "range_start_ns", "range_end_ns"), pa.int64()),
        },
    }.items()
}


def make_lines_format(channel: str) -> ds.FileFormat:
    """Return the format of a channel's lines; a line leaves out what is null."""
    options = pj.ParseOptions(explicit_schema=LINES_SCHEMAS[channel], unexpected_field_behavior="ignore")
    return ds.JsonFileFormat(parse_options=options)


def name_to_arrow(path: str) -> str:
    """Return the name by which Arrow knows how a file is compressed, in the file system of `open_lines_filesystem`."""
    return path.removesuffix(_ZSTD) + _ZSTD_TO_ARROW if path.endswith(_ZSTD) else path


def open_lines_filesystem(filesystem: fs.FileSystem) -> fs.FileSystem:
    """Return the file system in which files that end with `.zst` end with `.zstd`: Arrow knows only that as zstd."""
    return fs.PyFileSystem(_Renaming(filesystem))


def _refuse(*_: object) -> NoReturn:
    raise OSError("files are only opened here")


class _Renaming(fs.FileSystemHandler):
    """Opens files under another name; Arrow's datasets ask for nothing else."""

    def __init__(self, filesystem: fs.FileSystem) -> None:
        self._filesystem = filesystem

    def open_input_file(self, path: str) -> pa.NativeFile:
        if path.endswith(_ZSTD_TO_ARROW):
            path = path.removesuffix(_ZSTD_TO_ARROW) + _ZSTD
        return self._filesystem.open_input_file(path)

    def get_type_name(self) -> str:
        return "renaming"

    # The base class asks for all of them.
    open_input_stream = open_output_stream = open_append_stream = _refuse  # type: ignore[assignment]  # refuses anything
    get_file_info = get_file_info_selector = normalize_path = _refuse  # type: ignore[assignment]  # likewise
    create_dir = delete_dir = delete_dir_contents = delete_file = _refuse  # type: ignore[assignment]  # likewise
    delete_root_dir_contents = move = copy_file = _refuse  # type: ignore[assignment]  # likewise
