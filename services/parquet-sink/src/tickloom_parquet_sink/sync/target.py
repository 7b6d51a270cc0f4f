"""The target: a file counts as there when its content has been compared with the local one, and not before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

import aiohttp

from tickloom_core.config import Config
from tickloom_core.errors import PermanentError, TransientError
from tickloom_core.lifecycle import Health
from tickloom_core.manifests import (
    Compaction,
    DayKey,
    Manifest,
    decode_compaction,
    decode_manifest,
    make_compaction_folder,
)
from tickloom_core.s3 import S3_SCHEME
from tickloom_parquet_sink.destination import open_destination_at
from tickloom_parquet_sink.objects import Destination, ObjectAbsentError, ObjectInfo
from tickloom_parquet_sink.sync.metrics import FILES, LOOP
from tickloom_parquet_sink.sync.pace import Pace
from tickloom_parquet_sink.sync.source import Commit
from tickloom_parquet_sink.sync.upload import Digest, PacedBucket, StreamUploader, Uploader, read_digest

_P = ParamSpec("_P")
_T = TypeVar("_T")

_FILES_IN_FLIGHT: Final = 8
"""A file costs three round trips, however small it is."""


class Target:
    """Where committed data goes.

    Its methods raise TransientError when trying again can help and PermanentError when somebody must mend something.

    Args:
        destination: the target's objects.
        uploader: sends files to it.
        pace: how fast records may leave; the uploader keeps to it by itself.
        health: told that the loop turns.
    """

    def __init__(self, destination: Destination, uploader: Uploader, pace: Pace, health: Health) -> None:
        self._destination = destination
        self._uploader = uploader
        self._pace = pace
        self._health = health
        self._slots = asyncio.Semaphore(_FILES_IN_FLIGHT)

    @property
    def place(self) -> str:
        """The root as a person would name it."""
        return self._destination.place

    async def list_names(self, folder: str) -> list[str]:
        """Return the names in a folder; none when it is not there."""
        return await self._ask(self._destination.list_names, folder)

    async def list_paths(self, folder: str) -> set[str]:
        """Return the paths of all objects below a folder."""
        return await self._ask(lambda: {info.path for info in self._destination.list_objects(folder)})

    async def is_there(self, commit: Commit) -> bool:
        """Say whether a record is there.

        Raises:
            PermanentError: one of its name is there and is another.
        """
        try:
            found = await self._ask(self._destination.read, commit.path)
        except ObjectAbsentError:
            return False
        if found != commit.data:
            raise PermanentError(
                f"{self.place}/{commit.path} is there with other content: another folder is synced to the same place, "
                "or days are compacted in both; nothing is removed; give each folder a sync.uri of its own, and "
                "compact in one of the two only"
            )
        return True

    async def read_chunk(self, path: str) -> Manifest:
        """Return a manifest of the target.

        Raises:
            PermanentError: it cannot be understood.
        """
        return decode_manifest(await self._ask(self._destination.read, path), f"{self.place}/{path}")

    async def create(self, commit: Commit) -> None:
        """Make a record be there, after all files that it names.

        Raises:
            PermanentError: one of its name is there and is another.
        """
        await self._pace.take(len(commit.data))
        if await self._ask(self._destination.create, commit.path, commit.data):
            FILES.inc()
        elif not await self.is_there(commit):
            raise TransientError(f"{self.place}/{commit.path} has just been removed there")

    async def find_compaction(self, day_key: DayKey) -> Compaction | None:
        """Return the target's own compaction that counts for a channel, venue and day."""
        folder = make_compaction_folder(day_key)
        names = await self.list_names(folder)
        if not names:
            return None
        path = f"{folder}/{max(names)}"
        return decode_compaction(await self._ask(self._destination.read, path), f"{self.place}/{path}")

    async def find_size(self, path: str) -> int | None:
        """Return the bytes of an object; None when it is not there."""
        info = await self._ask(self._destination.look, path)
        return None if info is None else info.size_bytes

    async def deliver(self, file: Path, path: str, commit: Commit) -> bool:
        """Make a file be there with the local content; return whether it had to be sent.

        What is there with other content is replaced: it is cut short, or no record there names it yet. One of equal
        size whose record is there stays: one of the two copies is damaged, and nobody here knows which.

        Args:
            file: the local one.
            path: of the object.
            commit: what names it.

        Raises:
            FileNotFoundError: the local file is gone.
            PermanentError: the copies differ, or the record there is another.
        """
        async with self._slots:
            digest = await self._ask(_read_file_digest, file)
            found = await self._ask(self._destination.look, path)
            if found is not None:
                if await self._is_equal(found, digest):
                    return False
                if await self.is_there(commit) and found.size_bytes == digest.size_bytes:
                    raise PermanentError(
                        f"{self.place}/{path} has the size of the local file and other content: one of them is "
                        "damaged; nothing is removed; read both, and delete the bad one, a local one with its record"
                    )
            await self._uploader.send(file, path, digest)
            arrived = await self._ask(self._destination.look, path)
            if arrived is None or not await self._is_equal(arrived, digest):
                raise TransientError(f"{self.place}/{path} is not there with the content that was sent")
        FILES.inc()
        return True

    async def _ask(self, function: Callable[_P, _T], *arguments: _P.args, **options: _P.kwargs) -> _T:
        self._health.beat(LOOP)
        return await asyncio.to_thread(function, *arguments, **options)

    async def _is_equal(self, found: ObjectInfo, digest: Digest) -> bool:
        """Compare an object with a file; by reading it back where its tag does not say what is in it."""
        if found.size_bytes != digest.size_bytes:
            return False
        if found.e_tag == digest.md5.hex():
            return True
        return digest == await self._ask(_read_object_digest, self._destination, found.path)


@asynccontextmanager
async def open_target(uri: str, config: Config, health: Health) -> AsyncIterator[Target]:
    """Provide the target at `uri`, with the configuration's way to S3 and bound of the bandwidth.

    Raises:
        ConfigError: the URI or the endpoint cannot be understood, or a secret is missing.
    """
    pace = Pace(config.sync.bandwidth_bytes_per_s, health)
    if not uri.startswith(S3_SCHEME):
        folder = open_destination_at(uri, config.parquet_sink, setting="sync.uri")
        yield Target(folder, StreamUploader(folder, pace), pace, health)
        return
    async with aiohttp.ClientSession(trust_env=True) as session:
        bucket = PacedBucket(uri, config.parquet_sink, session, pace)
        yield Target(bucket, bucket, pace, health)


def _read_file_digest(file: Path) -> Digest:
    with file.open("rb") as stream:
        return read_digest(stream)


def _read_object_digest(destination: Destination, path: str) -> Digest:
    with destination.open_reader(path) as stream:
        return read_digest(stream)
