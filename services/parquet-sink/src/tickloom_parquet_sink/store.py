"""The store of the Parquet sink: files first, then the manifest that makes them data."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Event
from typing import Final, TypeVar

import structlog

from tickloom_core.bus.reader import StreamIdentity
from tickloom_core.errors import TickloomError
from tickloom_core.sink import Chunk, Committed
from tickloom_core.writers import WriterWindow
from tickloom_parquet_sink.destination import Destination
from tickloom_parquet_sink.encoding import EncodedFile, encode_chunk
from tickloom_parquet_sink.manifest import (
    describe_chunk,
    find_day,
    find_first_day,
    find_last,
    write_manifest,
)

log = structlog.get_logger(__name__)

_T = TypeVar("_T")

_THREADS: Final = 8
_ENCODERS: Final = 2
"""Chunks encoded at once: each holds its rows a second time while it is."""


class ParquetStore:
    """Writes chunks to a destination, idempotently: a chunk that comes again becomes the same objects.

    Encoding and writing happen in threads; the event loop only waits.

    Args:
        destination: where objects go.
    """

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="parquet")
        self._encoding = asyncio.Semaphore(_ENCODERS)
        self._last_days: dict[int, str] = {}

    @property
    def open_partitions(self) -> frozenset[int]:
        """Partitions of which it is known what is committed."""
        return frozenset(self._last_days)

    async def probe(self) -> None:
        """Find out whether the destination can be written to.

        Raises:
            TransientError: it does not answer.
            PermanentError: it cannot be used; the message says what to mend.
        """
        await self._run(self._destination.probe)

    async def open_partition(self, partition: int, stream: StreamIdentity) -> Committed:
        """Return what the newest manifest of this stream says.

        Raises:
            TransientError: try again.
            PermanentError: the destination cannot be used, or the manifest not be read.
        """
        await self._run(partial(self._destination.clear_unfinished, partition))
        found = await self._run(partial(find_last, self._destination, partition, stream))
        if found is None:
            self._last_days[partition] = find_first_day(stream)
            return Committed(0, WriterWindow())
        manifest, day = found
        self._last_days[partition] = day
        return Committed(manifest.last_sequence, manifest.writers)

    async def write(self, chunk: Chunk) -> None:
        """Write the files of a chunk, then its manifest.

        Raises:
            TransientError: nothing is committed, try again.
            PermanentError: the destination cannot be used any more.
        """
        async with self._encoding:
            files = await self._run(partial(encode_chunk, chunk))
        await self._write_files(chunk.partition, files)
        # A server's clock may step back over midnight; the newest manifest must stay in the newest folder.
        day = max(find_day(chunk.stored_ns), self._last_days[chunk.partition])
        manifest = describe_chunk(chunk, [file.entry for file in files])
        await self._run(partial(write_manifest, self._destination, manifest, day))
        self._last_days[chunk.partition] = day
        log.debug("parquet.committed", partition=chunk.partition, last=chunk.last_sequence, rows=manifest.rows)

    def close(self) -> None:
        """Begin nothing new; what a thread is writing ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _write_files(self, partition: int, files: Sequence[EncodedFile]) -> None:
        has_failed = Event()

        def write(file: EncodedFile) -> None:
            if has_failed.is_set():
                return
            try:
                self._destination.write(partition, file.entry.path, file.data)
            except TickloomError:
                has_failed.set()
                raise

        # All are waited for: none may still be writing when the chunk is tried again.
        writes = [self._run(partial(write, file)) for file in files]
        for outcome in await asyncio.gather(*writes, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    async def _run(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)
