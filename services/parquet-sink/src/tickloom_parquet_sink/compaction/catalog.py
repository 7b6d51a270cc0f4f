"""What the records of a root say at one moment: chunks, compactions, and how far each chain of chunks is known."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, TypeVar

import msgspec

from tickloom_core.errors import TransientError
from tickloom_core.manifests import (
    COMPACTION_FOLDER,
    MANIFEST_FOLDER,
    RECORD_SUFFIX,
    ChainKey,
    Compaction,
    DataFile,
    DayKey,
    Manifest,
    decode_compaction,
    decode_manifest,
    find_current,
)
from tickloom_parquet_sink.destination import Destination, ObjectAbsentError

_READERS: Final = 16

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Catalog:
    """The records of a root; each by its path.

    Attributes:
        manifests: in the order of the chains.
        compactions: all generations.
        ends: last committed sequence of each chain; no chunk up to it is missing from `manifests`, unless one of
            `compactions` covers it.
    """

    manifests: dict[str, Manifest]
    compactions: dict[str, Compaction]
    ends: dict[ChainKey, int]

    @property
    def current(self) -> dict[DayKey, Compaction]:
        """Return the compaction that counts of each channel, venue and day."""
        return find_current(self.compactions.values())

    def find_newest(self) -> set[str]:
        """Return the paths of the last manifests, one a chain: from these a sink goes on."""
        return set({manifest.chain_key: path for path, manifest in self.manifests.items()}.values())

    def find_named_paths(self) -> set[str]:
        """Return the paths of all files that a manifest or a compaction names."""
        of_chunks = (file.path for manifest in self.manifests.values() for file in manifest.files)
        return {*of_chunks, *(file.path for compaction in self.compactions.values() for file in compaction.files)}


class CatalogReader:
    """Reads catalogs of one root; records never change, so each is read once.

    Args:
        destination: the root.
    """

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        self._manifests: dict[str, Manifest] = {}
        self._compactions: dict[str, Compaction] = {}

    def read(self) -> Catalog:
        """Return what stands there now.

        Raises:
            TransientError: the root does not answer, or another compaction is at work.
            PermanentError: a record cannot be read, or is of a later format than this program knows.
        """
        # A listing may show a chunk and miss the one before it, when both come while it runs. Everything up to the last
        # chunk of one listing is in a second one that begins when the first has ended.
        seen = self._list_records(MANIFEST_FOLDER)
        listed = self._list_records(MANIFEST_FOLDER)
        self._manifests = self._read_new(listed, self._manifests, _decode_lean_manifest)
        # Only now: what covers a manifest that was gone when it was to be read was there before.
        compactions = self._list_records(COMPACTION_FOLDER)
        self._compactions = self._read_new(compactions, self._compactions, decode_compaction)
        if gone := compactions - self._compactions.keys():
            raise TransientError(
                f"{self._destination.place}/{min(gone)} was there and is gone: another compaction is at work; "
                "start this one when it has ended"
            )
        return Catalog(
            dict(sorted(self._manifests.items(), key=lambda item: _key_manifest(item[1]))),
            self._compactions,
            _find_ends(manifest for path, manifest in self._manifests.items() if path in seen),
        )

    def _list_records(self, folder: str) -> set[str]:
        objects = self._destination.list_objects(folder)
        return {found.path for found in objects if found.path.endswith(RECORD_SUFFIX)}

    def _read_new(
        self, paths: Iterable[str], known: dict[str, _T], decode: Callable[[bytes, str], _T]
    ) -> dict[str, _T]:
        """Return the records of these paths, without those that are gone by now."""

        def read(path: str) -> _T | None:
            try:
                return known.get(path) or decode(self._destination.read(path), f"{self._destination.place}/{path}")
            except ObjectAbsentError:
                return None

        ordered = sorted(paths)
        with ThreadPoolExecutor(_READERS) as readers:
            records = zip(ordered, readers.map(read, ordered), strict=True)
            return {path: record for path, record in records if record is not None}


def find_chunk_files(catalog: Catalog) -> dict[DayKey, list[DataFile]]:
    """Return the files of chunks that no compaction covers, by channel, venue and day, in the order of the chains."""
    current = catalog.current
    files: dict[DayKey, list[DataFile]] = {}
    for manifest in catalog.manifests.values():
        if manifest.last_sequence > catalog.ends.get(manifest.chain_key, 0):
            continue
        for file in manifest.files:
            compaction = current.get(file.day_key)
            if compaction is None or not compaction.covers(manifest):
                files.setdefault(file.day_key, []).append(file)
    return files


def _decode_lean_manifest(data: bytes, place: str) -> Manifest:
    """Read a manifest without the sink's window, which is most of it: a day has tens of thousands."""
    return msgspec.structs.replace(decode_manifest(data, place), writer_window="")


def _key_manifest(manifest: Manifest) -> tuple[int, str, str, int]:
    return manifest.partition, manifest.stream.created, manifest.stream.name, manifest.first_sequence


def _find_ends(manifests: Iterable[Manifest]) -> dict[ChainKey, int]:
    ends: dict[ChainKey, int] = {}
    for manifest in manifests:
        ends[manifest.chain_key] = max(manifest.last_sequence, ends.get(manifest.chain_key, 0))
    return ends
