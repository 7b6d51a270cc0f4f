"""Reads which files are data: the manifests of chunks, and the compactions that replace what they name.

The records are those of tickloom_core.manifests; a file that none of them names is no data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

import msgspec
from pyarrow import fs

from tickloom_console.root import AbsentError, Root
from tickloom_core.manifests import (
    COMPACTION_FOLDER,
    MANIFEST_FOLDER,
    RECORD_SUFFIX,
    Compaction,
    DataFile,
    Manifest,
    decode_compaction,
    decode_manifest,
    resolve_files,
)

_READERS: Final = 16

_T = TypeVar("_T")


def read_files(root: Root) -> list[DataFile]:
    """Return the files that are data now.

    Raises:
        AbsentError: a compaction has been replaced since it was listed; begin again.
        TransientError: the root does not answer.
        PermanentError: a record cannot be read, or is of a later format than this program knows.
    """
    # The sink's window is most of a manifest, and there may be tens of thousands.
    manifests = [msgspec.structs.replace(manifest, writer_window="") for manifest in read_manifests(root)]
    # Only now: what covers a manifest that was gone when it was to be read was there before.
    return resolve_files(manifests, read_compactions(root))


def read_manifests(root: Root) -> Iterator[Manifest]:
    """Yield the manifests below a root, partition by partition; what goes while they are read is left out.

    Raises:
        TransientError: the root does not answer.
        PermanentError: a manifest cannot be read, or is of a later format than this program knows.
    """
    for manifest in _read_all(root, MANIFEST_FOLDER, _read_manifest_if_present):
        if manifest is not None:
            yield manifest


def read_compactions(root: Root) -> Iterator[Compaction]:
    """Yield the compactions below a root, all generations.

    Raises:
        AbsentError: one has been replaced since it was listed; begin again.
        TransientError: the root does not answer.
        PermanentError: one cannot be read, or is of a later format than this program knows.
    """
    return _read_all(root, COMPACTION_FOLDER, _read_compaction)


def read_newest(root: Root) -> dict[int, Manifest]:
    """Return the manifest written last of each partition, looking into its newest day only.

    Raises:
        TransientError: as `read_manifests`.
        PermanentError: as `read_manifests`.
    """
    newest: dict[int, Manifest] = {}
    for partition in _list_folders(root, MANIFEST_FOLDER):
        days = _list_folders(root, partition)
        infos = [info for info in root.list_folder(days[-1]) if info.base_name.endswith(RECORD_SUFFIX)] if days else []
        if infos:
            # A bucket's times are whole seconds; names of one stream sort as its sequences do.
            last = max(infos, key=lambda info: (info.mtime_ns, info.base_name))
            manifest = _read_manifest(root, f"{days[-1]}/{last.base_name}")
            newest[manifest.partition] = manifest
    return newest


def _read_all(root: Root, folder: str, read: Callable[[Root, str], _T]) -> Iterator[_T]:
    paths = root.list_files(folder, RECORD_SUFFIX)
    # In a bucket each takes a round trip.
    with ThreadPoolExecutor(_READERS) as readers:
        yield from readers.map(lambda path: read(root, path), paths)


def _list_folders(root: Root, folder: str) -> list[str]:
    infos = root.list_folder(folder)
    return [f"{folder}/{info.base_name}" for info in infos if info.type == fs.FileType.Directory]


def _read_manifest_if_present(root: Root, path: str) -> Manifest | None:
    try:
        return _read_manifest(root, path)
    except AbsentError:
        return None


def _read_manifest(root: Root, path: str) -> Manifest:
    return decode_manifest(root.read(path), f"{root.place}/{path}")


def _read_compaction(root: Root, path: str) -> Compaction:
    return decode_compaction(root.read(path), f"{root.place}/{path}")
