"""What nobody needs any more: records and files that compactions have replaced, and files that no record names.

A record goes before its files, so that no record ever names a file that is not there. A manifest goes when all of its
files have been replaced for the time of grace; the last one of each chain stays, since a sink goes on from it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from tickloom_core.config import CompactionConfig
from tickloom_core.errors import PermanentError
from tickloom_core.manifests import DataFile, DayKey, make_compaction_path
from tickloom_parquet_sink.compaction.catalog import Catalog
from tickloom_parquet_sink.compaction.days import NS_PER_S, is_closed
from tickloom_parquet_sink.destination import Destination, ObjectAbsentError, ObjectInfo

_DELETERS: Final = 16

_OF_CHUNK: Final = re.compile(r"(?P<partition>\d{4,})-(?P<stream>[0-9a-f]{8})-(?P<first_sequence>\d{20})-")
_OF_COMPACTION: Final = re.compile(r"\d{6,}-[0-9a-f]{8}\.parquet$")


@dataclass(frozen=True, slots=True)
class Replaced:
    """A record that is not needed any more, and the files that go with it."""

    path: str
    files: tuple[DataFile, ...]

    @property
    def paths(self) -> tuple[str, ...]:
        """Return what is to be deleted, in this order."""
        return (self.path, *(file.path for file in self.files))


def find_replaced(catalog: Catalog, rules: CompactionConfig, now_ns: int) -> Iterator[Replaced]:
    """Yield the manifests and compactions whose files have all been replaced for long enough."""
    settled = {
        key: compaction
        for key, compaction in catalog.current.items()
        if now_ns >= compaction.committed_ns + rules.grace_s * NS_PER_S
    }
    newest = catalog.find_newest()
    for path, manifest in catalog.manifests.items():
        covering = [settled.get(file.day_key) for file in manifest.files]
        is_replaced = all(compaction is not None and compaction.covers(manifest) for compaction in covering)
        if is_replaced and path not in newest and is_closed(_find_date(manifest.stored_ns), rules, now_ns):
            yield Replaced(path, manifest.files)
    for path, compaction in catalog.compactions.items():
        successor = settled.get(compaction.day_key)
        if successor is not None and successor.generation > compaction.generation:
            yield Replaced(path, compaction.files)


def check_successors(destination: Destination, catalog: Catalog, replaced: Iterable[Replaced]) -> None:
    """See that what replaces these files is there.

    Raises:
        PermanentError: it is not.
        TransientError: the destination does not answer.
    """
    days: set[DayKey] = {file.day_key for record in replaced for file in record.files}
    current = catalog.current
    for compaction in (current[key] for key in sorted(days)):
        for file in compaction.files:
            info = destination.look(file.path)
            if info is None or info.size_bytes != file.bytes:
                found = "is not there" if info is None else f"has {info.size_bytes} bytes"
                raise PermanentError(
                    f"{destination.place}/{file.path} {found}, but {make_compaction_path(compaction)} says that it has "
                    f"{file.bytes}; restore it from a backup, or remove that record while the files that it replaces "
                    "are still there; nothing was removed"
                )


def find_orphans(
    objects: Iterable[ObjectInfo], catalog: Catalog, rules: CompactionConfig, now_ns: int
) -> Iterator[ObjectInfo]:
    """Yield the data files that crashes have left behind; the objects were listed before the catalog was read.

    What belongs to a chunk behind the last committed one may still be on its way.
    """
    named = catalog.find_named_paths()
    for found in objects:
        if found.path in named or now_ns < found.modified_ns + rules.grace_s * NS_PER_S:
            continue
        name = found.path.rpartition("/")[2]
        chunk = _OF_CHUNK.match(name)
        if chunk:
            end = catalog.ends.get((int(chunk["partition"]), chunk["stream"]), 0)
            if int(chunk["first_sequence"]) <= end:
                yield found
        elif _OF_COMPACTION.match(name):
            yield found


def remove_all(destination: Destination, paths: Iterable[Sequence[str]], is_stopping: Callable[[], bool]) -> None:
    """Delete objects, those of one sequence one behind the other; what is left when the program is to end stays.

    Raises:
        TransientError: some are left; try again.
        PermanentError: the destination cannot be used.
    """

    def remove(group: Sequence[str]) -> None:
        for path in group:
            if is_stopping():
                return
            # A local folder that another thread leaves empty may go before this deletion is made durable in it.
            with suppress(ObjectAbsentError):
                destination.delete(path)

    with ThreadPoolExecutor(_DELETERS) as deleters:
        for _ in deleters.map(remove, paths):
            pass


def _find_date(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns // NS_PER_S, UTC).date().isoformat()
