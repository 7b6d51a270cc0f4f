"""Manifests as their paths tell them: which chain they belong to, and where in it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from tickloom_core.errors import PermanentError
from tickloom_core.manifests import MANIFEST_FOLDER, RECORD_SUFFIX, ChainKey

_NAME: Final = re.compile(r"([0-9a-f]{8})-(\d{20})(?:-\d{20})?\.json")
"""Until 2026-11 the last sequence stood in the name too."""


@dataclass(frozen=True, slots=True)
class Link:
    """One chunk's manifest."""

    path: str
    chain: ChainKey
    first_sequence: int


def make_partition_folder(partition: int) -> str:
    """Return the folder of a partition's manifests, which holds one folder a day."""
    return f"{MANIFEST_FOLDER}/{partition:04d}"


def read_partitions(names: Iterable[str]) -> list[int]:
    """Return the partitions among the names in the folder of manifests."""
    return sorted(int(name) for name in names if name.isdecimal())


def read_links(folder: str, names: Iterable[str]) -> list[Link]:
    """Return the manifests among the names in a day's folder, each chain in its order.

    Raises:
        PermanentError: a record has another name: readers would take it for data, and it could not be put in order.
    """
    partition = int(folder.split("/")[1])
    links = []
    for name in names:
        if not name.endswith(RECORD_SUFFIX):
            continue
        found = _NAME.fullmatch(name)
        if found is None:
            raise PermanentError(f"{folder}/{name} has not the name of a manifest; move it out of {MANIFEST_FOLDER}/")
        links.append(Link(f"{folder}/{name}", (partition, found[1]), int(found[2])))
    return sorted(links, key=lambda link: (link.chain, link.first_sequence))
