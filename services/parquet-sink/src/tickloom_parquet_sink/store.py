"""The store of the Parquet sink: files first, then the manifest that makes them data."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import partial
from threading import BoundedSemaphore, Event
from typing import Final, TypeVar

import structlog

from tickloom_core.bus.identity import StreamIdentity
from tickloom_core.config import ParquetSinkConfig
from tickloom_core.errors import SupersededError
from tickloom_core.manifests import DataFile
from tickloom_core.sink import Chunk, Committed
from tickloom_core.writers import WriterWindow
from tickloom_parquet_sink.destination import Destination
from tickloom_parquet_sink.encoding import EncodedFile, encode_chunk
from tickloom_parquet_sink.formats import choose_format
from tickloom_parquet_sink.manifest import (
    describe_chunk,
    find_first_day,
    find_last,
    find_next_day,
    write_manifest,
)
from tickloom_parquet_sink.partitioning import Layout

log = structlog.get_logger(__name__)

_T = TypeVar("_T")

_ENCODERS: Final = 2
"""Chunks encoded at once: each holds its rows a second time while it is."""
_WRITERS: Final = 8
_STALE_S: Final = 600.0
"""Who was held up for so long looks again where the chain ends: the manifest that it would collide with may be gone by
way of compaction, which leaves manifests alone for longer than this."""


class ParquetStore:
    """Writes chunks to a destination, idempotently: a chunk that comes again becomes the same objects.

    Encoding and writing happen in threads, file after file; the event loop only waits.

    Args:
        destination: where objects go.
        config: how rows become files.

    Raises:
        ConfigError: the settings of the files do not go together.
    """

    def __init__(self, destination: Destination, config: ParquetSinkConfig | None = None) -> None:
        config = config or ParquetSinkConfig()
        self._destination = destination
        self._layout = Layout(config.partition_by)
        self._format = choose_format(config)
        self._open_files = BoundedSemaphore(config.max_open_partitions)
        self._encoders = ThreadPoolExecutor(_ENCODERS, thread_name_prefix="encode")
        self._writers = ThreadPoolExecutor(_WRITERS, thread_name_prefix="write")
        self._next_days: dict[int, str] = {}
        self._seen_s: dict[int, float] = {}
        """When it was last seen where each chain ends, by the wall clock, which goes on while a machine sleeps."""

    async def probe(self) -> None:
        """Find out whether the destination can be written to.

        Raises:
            TransientError: it does not answer.
            PermanentError: it cannot be used; the message says what to mend.
        """
        await _run(self._writers, self._destination.probe)

    async def open_partition(self, partition: int, stream: StreamIdentity) -> Committed:
        """Return what the newest manifest of this stream says.

        Raises:
            TransientError: try again.
            PermanentError: the destination cannot be used, or the manifest not be read.
        """
        await _run(self._writers, self._destination.clear_unfinished)
        self._seen_s[partition] = time.time()
        found = await _run(self._writers, partial(find_last, self._destination, partition, stream))
        if found is None:
            self._next_days[partition] = find_first_day(stream)
            return Committed(0, WriterWindow())
        manifest, day = found
        self._next_days[partition] = find_next_day(manifest.stored_ns, day)
        return Committed(manifest.last_sequence, WriterWindow.unpack(manifest.writer_window))

    async def write(self, chunk: Chunk) -> None:
        """Write the files of a chunk, then its manifest.

        Raises:
            SupersededError: another process has committed another chunk in its place.
            TransientError: it is not known to be committed, try again.
            PermanentError: the destination cannot be used any more.
        """
        abandoned = Event()
        try:
            entries = await self._write_files(chunk, abandoned)
        finally:
            abandoned.set()
        if abs(time.time() - self._seen_s[chunk.partition]) > _STALE_S:
            await self._check_chain(chunk)
        day = self._next_days[chunk.partition]
        manifest = describe_chunk(chunk, entries)
        await _run(self._writers, partial(write_manifest, self._destination, manifest, day))
        self._seen_s[chunk.partition] = time.time()
        self._next_days[chunk.partition] = find_next_day(chunk.stored_ns, day)
        log.debug("parquet.committed", partition=chunk.partition, last=chunk.last_sequence, rows=manifest.rows)

    def close(self) -> None:
        """Begin nothing new; what a thread is writing ends by itself."""
        for threads in (self._encoders, self._writers):
            threads.shutdown(wait=False, cancel_futures=True)

    async def _check_chain(self, chunk: Chunk) -> None:
        found = await _run(self._writers, partial(find_last, self._destination, chunk.partition, chunk.stream))
        last_sequence = found[0].last_sequence if found else 0
        # The chunk itself, when the answer to an earlier attempt was lost, is as good as the one before.
        if last_sequence not in {chunk.first_sequence - 1, chunk.last_sequence}:
            raise SupersededError(
                f"another sink has carried partition {chunk.partition} on to {last_sequence} while this one was held "
                f"up at {chunk.first_sequence - 1}; nothing is stored twice, but let only one have a partition"
            )

    async def _write_files(self, chunk: Chunk, abandoned: Event) -> list[DataFile]:
        """Return what has been written, when all of it has."""
        begun = await _run(self._encoders, partial(self._begin_writes, chunk, abandoned))
        # All are waited for: none may still be writing when the chunk is tried again.
        outcomes = await asyncio.gather(*map(asyncio.wrap_future, begun), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return [write.result() for write in begun]

    def _begin_writes(self, chunk: Chunk, abandoned: Event) -> list[Future[DataFile]]:
        """Encode file after file and hand each to a writer; wait whenever too many are on their way."""
        begun = []
        for file in encode_chunk(chunk, self._layout, self._format):
            self._open_files.acquire()
            write = self._writers.submit(self._write_file, file, abandoned)
            write.add_done_callback(lambda _: self._open_files.release())
            begun.append(write)
            if abandoned.is_set():
                break
        return begun

    def _write_file(self, file: EncodedFile, abandoned: Event) -> DataFile:
        if not abandoned.is_set():
            try:
                self._destination.write(file.entry.path, file.data)
            except BaseException:
                abandoned.set()
                raise
        return file.entry


async def _run(threads: Executor, work: Callable[[], _T]) -> _T:
    return await asyncio.get_running_loop().run_in_executor(threads, work)
