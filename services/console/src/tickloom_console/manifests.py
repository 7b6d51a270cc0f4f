"""Reads the manifests of the Parquet sink: which files are data (docs/data-format.md).

`<root>/_manifest/<partition>/<day>/<stream>-<first>-<last>.json`; a file that no manifest names is no data.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

import msgspec
from pyarrow import fs

from tickloom_console.root import Root
from tickloom_core.errors import PermanentError

_FORMAT: Final = 1
_FOLDER: Final = "_manifest"
_SUFFIX: Final = ".json"
_READERS: Final = 16


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


def read_manifests(root: Root) -> Iterator[Manifest]:
    """Yield the manifests below a root, partition by partition.

    Raises:
        TransientError: the root does not answer.
        PermanentError: a manifest cannot be read, or is of a later format than this program knows.
    """
    paths = root.list_files(_FOLDER, _SUFFIX)
    # In a bucket each takes a round trip.
    with ThreadPoolExecutor(_READERS) as readers:
        yield from readers.map(partial(_read, root), paths)


def read_newest(root: Root) -> dict[int, Manifest]:
    """Return the manifest written last of each partition, looking into its newest day only.

    Raises:
        TransientError: as `read_manifests`.
        PermanentError: as `read_manifests`.
    """
    newest: dict[int, Manifest] = {}
    for partition in _list_folders(root, _FOLDER):
        days = _list_folders(root, partition)
        infos = [info for info in root.list_folder(days[-1]) if info.base_name.endswith(_SUFFIX)] if days else []
        if infos:
            # A bucket's times are whole seconds; names of one stream sort as its sequences do.
            last = max(infos, key=lambda info: (info.mtime_ns, info.base_name))
            manifest = _read(root, f"{days[-1]}/{last.base_name}")
            newest[manifest.partition] = manifest
    return newest


def _list_folders(root: Root, folder: str) -> list[str]:
    infos = root.list_folder(folder)
    return [f"{folder}/{info.base_name}" for info in infos if info.type == fs.FileType.Directory]


def _read(root: Root, path: str) -> Manifest:
    place = f"{root.place}/{path}"
    try:
        manifest = msgspec.json.decode(root.read(path), type=Manifest)
    except msgspec.DecodeError as error:
        raise PermanentError(f"{place} is no readable manifest: {error}") from error
    if manifest.format > _FORMAT:
        raise PermanentError(f"{place} has format {manifest.format}, this program knows {_FORMAT}; upgrade it")
    return manifest
