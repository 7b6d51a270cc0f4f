"""What all sinks have in common as services: their command line, and one loop a partition from the bus into a store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final

import structlog
from absl import flags as absl_flags

from tickloom_core.bus.connection import connect
from tickloom_core.bus.ownership import make_claim
from tickloom_core.bus.topology import ensure_topology
from tickloom_core.config import ChunkConfig, Config
from tickloom_core.errors import ConfigError, TransientError
from tickloom_core.flags import CommonOptions, define_common_flags, read_common_options
from tickloom_core.http import serve_health
from tickloom_core.lifecycle import Health, Stop
from tickloom_core.rejections import Rejections, SetAside
from tickloom_core.sink import ChunkLimits, SinkLoop, Store

log = structlog.get_logger(__name__)

_DRAIN_S: Final = 5.0
_MAX_CHUNK_BYTES: Final = 1024**3


@dataclass(frozen=True, slots=True)
class SinkOptions:
    """What a sink can be told on the command line.

    Attributes:
        partitions: those that this process carries; None: all of them.
    """

    common: CommonOptions
    partitions: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class Sink:
    """One kind of sink.

    Attributes:
        name: its name in bus.sinks.
        section: its section of the configuration, for messages.
        chunks: what ends a chunk.
        open_store: opens the store, given how refused rows are set aside; closes it at the end of the block.
    """

    name: str
    section: str
    chunks: ChunkConfig
    open_store: Callable[[SetAside], AbstractAsyncContextManager[Store]]


def define_sink_flags(values: absl_flags.FlagValues, *, name: str) -> None:
    """Define the flags of a sink on `values`; `name` is the service's default name."""
    define_common_flags(values, name=name)
    absl_flags.DEFINE_list(
        "partitions",
        None,
        "Partitions that this process carries, such as 0,1; all by default. No two processes may share one.",
        flag_values=values,
    )


def read_sink_options(values: absl_flags.FlagValues) -> SinkOptions:
    """Return the options of parsed flags.

    Raises:
        ConfigError: a value is wrong.
    """
    return SinkOptions(read_common_options(values), _read_partitions(values["partitions"].value))


async def serve_sink(options: SinkOptions, config: Config, stop: Stop, sink: Sink) -> None:
    """Carry the partitions until `stop`.

    Raises:
        PermanentError: the configuration, the store or the stream cannot be used.
        TransientError: the bus or the store does not answer at the start.
    """
    partitions = _choose_partitions(options, config)
    limits = _choose_limits(sink, config)
    health = Health()
    connection = await connect(config.nats, name=options.common.name)
    try:
        await ensure_topology(connection, config.bus)
        async with sink.open_store(Rejections(connection, sink.name).set_aside) as store:
            loop = SinkLoop(connection, sink.name, store, limits, health, make_claim(options.common.name))
            health.require("bus connected", lambda: connection.is_connected)
            health.require("partitions open", lambda: loop.open_partitions >= set(partitions))
            async with serve_health(health, host=options.common.http_host, port=options.common.http_port):
                await _carry_all(loop, partitions, stop)
    finally:
        await connection.close()


async def _carry_all(loop: SinkLoop, partitions: Collection[int], stop: Stop) -> None:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_carry(loop, partition, stop)) for partition in partitions]
        await stop.wait()
        # A loop may be waiting for a store that does not answer; what it has not committed is delivered again.
        await asyncio.wait(tasks, timeout=_DRAIN_S)
        for task in tasks:
            task.cancel()


async def _carry(loop: SinkLoop, partition: int, stop: Stop) -> None:
    try:
        await loop.run(partition, stop)
    except TransientError as error:
        if not stop.is_set:
            raise
        log.warning("sink.chunk_left", partition=partition, error=str(error))


def _read_partitions(texts: list[str] | None) -> tuple[int, ...] | None:
    if texts is None:
        return None
    if not texts or not all(text.isdecimal() for text in texts):
        raise ConfigError(f"expected numbers such as 0,1; found `{','.join(texts)}`", place="--partitions")
    return tuple(sorted({int(text) for text in texts}))


def _choose_partitions(options: SinkOptions, config: Config) -> tuple[int, ...]:
    if options.partitions is None:
        return tuple(range(config.bus.partitions))
    if max(options.partitions) >= config.bus.partitions:
        raise ConfigError(
            f"found {max(options.partitions)}, but bus.partitions is {config.bus.partitions}: they count from 0",
            place="--partitions",
        )
    return options.partitions


def _choose_limits(sink: Sink, config: Config) -> ChunkLimits:
    chunks = sink.chunks
    if sink.name not in config.bus.sinks:
        raise ConfigError(f"the sink `{sink.name}` must be named here, or it has no consumers", path="bus.sinks")
    if chunks.chunk_bytes > _MAX_CHUNK_BYTES:
        # Offsets of a chunk's texts are 32 bits wide.
        raise ConfigError(f"at most {_MAX_CHUNK_BYTES}; found {chunks.chunk_bytes}", path=f"{sink.section}.chunk_bytes")
    return ChunkLimits(chunks.chunk_rows, chunks.chunk_bytes, chunks.chunk_window_s)
