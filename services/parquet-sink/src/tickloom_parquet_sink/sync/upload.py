"""Files to the target, whole or not at all, in bounded memory and no faster than the pace allows.

A bucket gets a file in one request with a streamed body, so that its e_tag is the MD5 of the content and the server
itself refuses what arrives damaged. obstore signs that request but does not send it: it would send as fast as the line
takes, and bounds the time of a whole request, which a slow uplink would exceed again and again.
"""

from __future__ import annotations

import asyncio
import hashlib
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO, Final, Protocol, TypeVar

import aiohttp
import obstore
from yarl import URL

from tickloom_core.config import ParquetSinkConfig
from tickloom_core.errors import TransientError
from tickloom_core.s3 import read_bucket_path, read_s3_access
from tickloom_parquet_sink.bucket import Bucket
from tickloom_parquet_sink.objects import Destination
from tickloom_parquet_sink.sync.pace import Pace

_T = TypeVar("_T")

_SIGNED_FOR: Final = timedelta(hours=1)
"""Time for the request to begin; it may last longer."""
_STALL_S: Final = 20.0
_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, sock_connect=5.0, sock_read=_STALL_S)
_HASHED_BYTES: Final = 1024**2
_MAX_REQUEST_BYTES: Final = 5 * 1024**3
"""What S3 takes in one request."""


@dataclass(frozen=True, slots=True)
class Digest:
    """What a file's content is recognised by."""

    size_bytes: int
    md5: bytes


class Uploader(Protocol):
    """Sends files."""

    async def send(self, file: Path, path: str, digest: Digest) -> None:
        """Send a file; an object of that name is replaced.

        Raises:
            OSError: the local file cannot be read.
            TransientError: nothing is there, try again.
            PermanentError: the target refuses it for good.
        """


class StreamUploader:
    """Writes through a destination: into a folder, or in parts into a bucket.

    Args:
        destination: where to.
        pace: how fast.
    """

    def __init__(self, destination: Destination, pace: Pace) -> None:
        self._destination = destination
        self._pace = pace

    async def send(self, file: Path, path: str, digest: Digest) -> None:  # noqa: ARG002 - it is verified by reading back
        """Write it piece by piece."""
        with file.open("rb") as source:
            async with _in_thread(self._destination.open_writer(path)) as sink:
                while piece := await asyncio.to_thread(source.read, self._pace.piece_bytes):
                    await self._pace.take(len(piece))
                    await asyncio.to_thread(sink.write, piece)


class PacedBucket(Bucket):
    """A bucket that is sent to at a pace.

    Args:
        uri: `s3://bucket/prefix`.
        config: how S3 is reached.
        session: sends the requests.
        pace: how fast.
    """

    def __init__(self, uri: str, config: ParquetSinkConfig, session: aiohttp.ClientSession, pace: Pace) -> None:
        bucket, _, prefix = read_bucket_path(uri, "sync.uri").partition("/")
        super().__init__(bucket, prefix, read_s3_access(config), "sync.uri")
        self._session = session
        self._pace = pace

    async def send(self, file: Path, path: str, digest: Digest) -> None:
        """Send it in one request, or in parts when it is larger than one may be."""
        if digest.size_bytes > _MAX_REQUEST_BYTES:
            await StreamUploader(self, self._pace).send(file, path, digest)
            return
        headers = {"Content-Length": str(digest.size_bytes), "Content-MD5": b64encode(digest.md5).decode()}
        with file.open("rb") as source, self._translate_errors(path):
            url = URL(await obstore.sign_async(self._store, "PUT", path, _SIGNED_FOR), encoded=True)
            try:
                async with asyncio.timeout(_STALL_S) as patience:
                    await self._put(url, self._read_pieces(source, patience), headers)
            except TimeoutError as error:
                raise TransientError(f"{self.place}/{path}: S3 has taken nothing for {_STALL_S:g} s") from error

    async def _put(self, url: URL, body: AsyncIterator[bytes], headers: dict[str, str]) -> None:
        # What is streamed cannot be sent a second time to where a redirection leads.
        request = self._session.put(url, data=body, headers=headers, timeout=_TIMEOUT, allow_redirects=False)
        async with request as answer:
            if answer.status != HTTPStatus.OK:
                raise OSError(f"status code: {answer.status}: {await answer.text()}")

    async def _read_pieces(self, source: BinaryIO, patience: asyncio.Timeout) -> AsyncIterator[bytes]:
        """Yield what is to be sent next; a piece is asked for when the line has taken the one before."""
        while piece := await asyncio.to_thread(source.read, self._pace.piece_bytes):
            patience.reschedule(None)
            await self._pace.take(len(piece))
            patience.reschedule(asyncio.get_running_loop().time() + _STALL_S)
            yield piece

    @property
    def _errors(self) -> tuple[type[Exception], ...]:
        return *super()._errors, aiohttp.ClientError


def read_digest(file: BinaryIO) -> Digest:
    """Return what the rest of a file is recognised by."""
    md5, size_bytes = hashlib.md5(usedforsecurity=False), 0
    while piece := file.read(_HASHED_BYTES):
        md5.update(piece)
        size_bytes += len(piece)
    return Digest(size_bytes, md5.digest())


@asynccontextmanager
async def _in_thread(manager: AbstractContextManager[_T]) -> AsyncIterator[_T]:
    """Enter and leave a context whose steps wait for a disk or a server."""
    value = await asyncio.to_thread(manager.__enter__)
    try:
        yield value
    except BaseException as error:
        await asyncio.to_thread(manager.__exit__, type(error), error, error.__traceback__)
        raise
    await asyncio.to_thread(manager.__exit__, None, None, None)
