"""Reads the manifests of the Parquet sink: which files are data (docs/data-format.md).

`<root>/_manifest/<partition>/<day>/<stream>-<first>-<last>.json`; a file that no manifest names is no data.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from tickloom_core.errors import ConfigError, PermanentError

_FORMAT: Final = 1
_FOLDER: Final = "_manifest"


class DataFile(msgspec.Struct, frozen=True):
    """One Parquet file; `path` is relative to the root."""

    path: str
    channel: str
    exchange: str
    dt: str
    rows: int
    bytes: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """One committed chunk; fields that nobody reads here are left out."""

    format: int
    partition: int
    last_sequence: int
    stored_ns: int
    files: tuple[DataFile, ...]
    rows: dict[str, int]


def find_root(uri: str) -> Path:
    """Return the local folder that a URI names.

    Raises:
        ConfigError: it is not on this machine's disks.
    """
    if uri.startswith("file://"):
        return Path(uri.removeprefix("file://"))
    if "://" in uri:
        raise ConfigError(
            f"{uri} is not on a local disk, which is all that `tickloom sql` and `tickloom status` can read; "
            "mount or copy it and give that folder with --root"
        )
    return Path(uri)


def read_manifests(root: Path) -> Iterator[Manifest]:
    """Yield the manifests below a root, partition by partition.

    Raises:
        PermanentError: a manifest cannot be read, or is of a later format than this program knows.
    """
    for path in sorted((root / _FOLDER).glob("*/*/*.json")):
        yield _read(path)


def read_newest(root: Path) -> dict[int, Manifest]:
    """Return the manifest written last of each partition, looking into its newest day only.

    Raises:
        PermanentError: as `read_manifests`.
    """
    newest: dict[int, Manifest] = {}
    for folder in sorted((root / _FOLDER).glob("[0-9]*")):
        days = sorted(day for day in folder.iterdir() if day.is_dir())
        paths = list(days[-1].glob("*.json")) if days else []
        if paths:
            manifest = _read(max(paths, key=lambda path: path.stat().st_mtime_ns))
            newest[manifest.partition] = manifest
    return newest


def _read(path: Path) -> Manifest:
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except (OSError, msgspec.DecodeError) as error:
        raise PermanentError(f"{path} is no readable manifest: {error}") from error
    if manifest.format > _FORMAT:
        raise PermanentError(f"{path} has format {manifest.format}, this program knows {_FORMAT}; upgrade it")
    return manifest
