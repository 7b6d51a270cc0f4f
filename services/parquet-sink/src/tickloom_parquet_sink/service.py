"""The Parquet sink: one loop a partition from JetStream into one store."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import closing
from typing import Final

import structlog

from tickloom_core.bus.connection import connect
from tickloom_core.bus.topology import ensure_topology
from tickloom_core.config import Config
from tickloom_core.errors import ConfigError, TransientError
from tickloom_core.http import serve_health
from tickloom_core.lifecycle import Health, Stop
from tickloom_core.sink import ChunkLimits, SinkLoop
from tickloom_parquet_sink.destination import open_destination
from tickloom_parquet_sink.flags import Options
from tickloom_parquet_sink.store import ParquetStore

log = structlog.get_logger(__name__)

SINK: Final = "parquet"
_DRAIN_S: Final = 5.0
_MAX_CHUNK_BYTES: Final = 1024**3


async def serve(options: Options, config: Config, stop: Stop) -> None:
    """Carry the partitions until `stop`.

    Raises:
        PermanentError: the configuration, the destination or the stream cannot be used.
        TransientError: the bus or the destination does not answer at the start.
    """
    partitions = _choose_partitions(options, config)
    limits = _choose_limits(config)
    health = Health()
    with closing(ParquetStore(open_destination(config))) as store:
        await store.probe()
        log.info("parquet.destination_ready", uri=config.parquet_uri)
        connection = await connect(config.nats, name=options.common.name)
        try:
            await ensure_topology(connection, config.bus)
            health.require("bus connected", lambda: connection.is_connected)
            health.require("partitions open", lambda: store.open_partitions >= set(partitions))
            loop = SinkLoop(connection, SINK, store, limits, health)
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
        log.warning("parquet.chunk_left", partition=partition, error=str(error))


def _choose_partitions(options: Options, config: Config) -> tuple[int, ...]:
    if options.partitions is None:
        return tuple(range(config.bus.partitions))
    if max(options.partitions) >= config.bus.partitions:
        raise ConfigError(
            f"found {max(options.partitions)}, but bus.partitions is {config.bus.partitions}: they count from 0",
            place="--partitions",
        )
    return options.partitions


def _choose_limits(config: Config) -> ChunkLimits:
    sink = config.parquet_sink
    if SINK not in config.bus.sinks:
        raise ConfigError(f"the sink `{SINK}` must be named here, or it has no consumers", path="bus.sinks")
    if sink.chunk_bytes > _MAX_CHUNK_BYTES:
        # Offsets of a chunk's texts are 32 bits wide.
        raise ConfigError(f"at most {_MAX_CHUNK_BYTES}; found {sink.chunk_bytes}", path="parquet_sink.chunk_bytes")
    return ChunkLimits(sink.chunk_rows, sink.chunk_bytes, sink.chunk_window_s)
