"""The Parquet sink's media: a folder and a bucket, with Parquet or NDJSON in it, read through the manifests."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, Literal

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from tests.support.media.medium import Medium
from tests.support.s3 import S3_KEY, S3Server
from tests.support.ticks import Row
from tickloom_core.columns import LEVEL_COUNTS, EventBuffer, TickerBuffer
from tickloom_core.manifests import MANIFEST_FOLDER, DataFile, Manifest, decode_manifest, resolve_files

_NAMES = ("exchange", "symbol")
_CLOCKS = ("exchange_time_us", "receive_time_ns")
_RANGES = ("count", "range_start_ns", "range_end_ns")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ACTIVE_FOLDER = "_active"
_NO_DATA = (f"{ACTIVE_FOLDER}/", f"{MANIFEST_FOLDER}/")

Format = Literal["parquet", "ndjson"]


class ParquetFiles(Medium):
    """Files below a root.

    Args:
        files: the root, as pyarrow sees it.
        format_: what the files are.
    """

    package: ClassVar = "tickloom_parquet_sink"
    sink: ClassVar = "parquet"
    columns: ClassVar = {
        "trades": (*_NAMES, *_CLOCKS, "price", "amount", "side", "trade_id", "epoch"),
        "tickers": (*_NAMES, *_CLOCKS, *TickerBuffer.numbers, "epoch"),
        "books": (*_NAMES, *_CLOCKS, "kind", "sequence", "previous_sequence", *LEVEL_COUNTS, "epoch"),
        "events": (*_NAMES, "receive_time_ns", *(n for n in EventBuffer.texts if n != "symbol"), *_RANGES, "epoch"),
    }

    def __init__(self, files: fs.FileSystem, format_: Format) -> None:
        self._files = files
        self._format = format_

    def read_columns(self, channel: str, names: tuple[str, ...]) -> list[tuple[Any, ...]]:
        """Read the files that manifests name, each with the schema that it has."""
        paths = [file.path for file in self._list_files() if file.channel == channel]
        return [row for path in paths for row in self._read_file(path, names)]

    def count_rows(self, channel: str = "trades") -> int:
        """Add up what the manifests say."""
        return sum(file.rows for file in self._list_files() if file.channel == channel)

    def read_manifests(self) -> list[Manifest]:
        """Return all manifests."""
        return [
            decode_manifest(self._read_bytes(path), path)
            for path in self._list_objects()
            if path.startswith(f"{MANIFEST_FOLDER}/")
        ]

    def keep(self, channel: str, row: Row) -> Row:
        """JSON has no infinities."""
        kept = super().keep(channel, row)
        if self._format == "ndjson":
            return {
                name: None if isinstance(value, float) and math.isinf(value) else value for name, value in kept.items()
            }
        return kept

    def find_litter(self) -> list[str]:
        """Compare files and manifests; what `_active` holds is nobody's yet."""
        objects = self._list_objects()
        named = {file.path: file for manifest in self.read_manifests() for file in manifest.files}
        data = {path: size for path, size in objects.items() if not path.startswith(_NO_DATA)}
        litter = [f"{path} is named by no manifest" for path in sorted(data.keys() - named.keys())]
        litter += [f"{path} is named by a manifest and missing" for path in sorted(named.keys() - data.keys())]
        for path, file in named.items():
            if path in data and data[path] != file.bytes:
                litter.append(f"{path} has {data[path]} bytes, its manifest says {file.bytes}")
        return litter

    def _list_files(self) -> list[DataFile]:
        return resolve_files(self.read_manifests(), [])

    def _list_objects(self) -> dict[str, int]:
        """Return the size of every object by its path."""
        selector = fs.FileSelector("", recursive=True, allow_not_found=True)
        return {info.path: info.size for info in self._files.get_file_info(selector) if info.type == fs.FileType.File}

    def _read_bytes(self, path: str) -> bytes:
        with self._files.open_input_stream(path, compression=None) as stream:
            return bytes(stream.read())

    def _read_file(self, path: str, names: tuple[str, ...]) -> Iterable[tuple[Any, ...]]:
        if self._format == "ndjson":
            with self._files.open_input_stream(path) as stream:
                lines = [msgspec.json.decode(line) for line in stream.read().splitlines()]
            for line in lines:
                if "exchange_time" in line:
                    line["exchange_time_us"] = _parse_time_us(line["exchange_time"])
            return [tuple(map(line.get, names)) for line in lines]
        with self._files.open_input_file(path) as file:
            table = pq.ParquetFile(file).read()
        if "exchange_time" in table.column_names:
            table = table.append_column("exchange_time_us", table["exchange_time"].cast(pa.int64()))
        columns = [table[name].to_pylist() if name in table.column_names else [None] * len(table) for name in names]
        return zip(*columns, strict=True)


class ParquetFolder(ParquetFiles):
    """A folder of this machine."""

    def __init__(self, root: Path, format_: Format = "parquet") -> None:
        root.mkdir(parents=True)
        super().__init__(fs.SubTreeFileSystem(str(root), fs.LocalFileSystem()), format_)
        self._root = root
        self._active = root / ACTIVE_FOLDER
        self._away = root.with_name(f"{root.name}.away")
        self._elsewhere: tempfile.TemporaryDirectory[str] | None = None

    def make_settings(self, *, port: int | None = None) -> dict[str, Any]:
        """Return the section of the sink."""
        return {"parquet_sink": {"uri": str(self._root), "format": self._format}}

    def interrupt(self) -> None:
        """Let unfinished files lie on another file system: the system refuses to give them a name in this one."""
        self._elsewhere = tempfile.TemporaryDirectory(dir="/dev/shm")
        assert Path(self._elsewhere.name).stat().st_dev != self._root.stat().st_dev
        if self._active.exists():
            self._active.rename(self._away)
        self._active.symlink_to(self._elsewhere.name)

    def restore(self) -> None:
        """Put them back where they were."""
        self._active.unlink()
        if self._away.exists():
            self._away.rename(self._active)
        assert self._elsewhere is not None, "it is not interrupted"
        self._elsewhere.cleanup()

    def drop_last_column(self) -> str:
        """Rewrite the trades as a version without the schema's last column did, and return its name."""
        rewrite = {"parquet": _rewrite_parquet, "ndjson": _rewrite_ndjson}[self._format]
        names = {rewrite(self._root / file.path) for file in self._list_files() if file.channel == "trades"}
        return names.pop()


class ParquetBucket(ParquetFiles):
    """A prefix in a bucket of a server."""

    environment: ClassVar = {"S3_ACCESS": S3_KEY[0], "S3_SECRET": S3_KEY[1]}

    def __init__(self, server: S3Server, prefix: str, format_: Format = "parquet") -> None:
        super().__init__(fs.SubTreeFileSystem(prefix, server.open_filesystem()), format_)
        self._server = server
        self._prefix = prefix
        self.server_port = server.port

    def make_settings(self, *, port: int | None = None) -> dict[str, Any]:
        """Return the section of the sink."""
        section = {
            "uri": f"s3://{self._prefix}",
            "format": self._format,
            "s3_endpoint": f"http://127.0.0.1:{port or self.server_port}",
            "s3_access_key": {"env": "S3_ACCESS"},
            "s3_secret_key": {"env": "S3_SECRET"},
        }
        return {"parquet_sink": section}

    def interrupt(self) -> None:
        """Kill the server."""
        self._server.kill()

    def restore(self) -> None:
        """Start it again."""
        self._server.start()


def _parse_time_us(text: str) -> int:
    """Read a time of RFC 3339, also of a year with more digits than datetime knows."""
    year, rest = text.removesuffix("Z").split("-", 1)
    cycles, year_in_cycle = divmod(int(year) - 2000, 400)
    time = datetime.fromisoformat(f"{2000 + year_in_cycle}-{rest}").replace(tzinfo=UTC)
    return (time - _EPOCH + cycles * timedelta(days=146_097)) // timedelta(microseconds=1)


def _rewrite_parquet(path: Path) -> str:
    table = pq.ParquetFile(path).read()
    name: str = table.column_names[-1]
    pq.write_table(table.drop_columns(name), path)
    return name


def _rewrite_ndjson(path: Path) -> str:
    with pa.input_stream(path) as stream:
        rows = [msgspec.json.decode(line) for line in stream.read().splitlines()]
    (name,) = {next(reversed(row)) for row in rows}
    with pa.output_stream(path) as stream:
        for row in rows:
            del row[name]
            stream.write(msgspec.json.encode(row) + b"\n")
    return name
