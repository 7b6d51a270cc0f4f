"""The Parquet sink: the stream into files, and manifests that make them data."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from typing import Final

import structlog

from tickloom_core.config import Config
from tickloom_core.lifecycle import Stop
from tickloom_core.rejections import SetAside
from tickloom_core.sink_service import Sink, SinkOptions, serve_sink
from tickloom_parquet_sink.destination import open_destination
from tickloom_parquet_sink.store import ParquetStore

log = structlog.get_logger(__name__)

SINK: Final = "parquet"


async def serve(options: SinkOptions, config: Config, stop: Stop) -> None:
    """Carry the partitions into Parquet until `stop`.

    Raises:
        PermanentError: the configuration, the destination or the stream cannot be used.
        TransientError: the bus or the destination does not answer at the start.
    """

    @asynccontextmanager
    async def open_store(_: SetAside) -> AsyncIterator[ParquetStore]:
        with closing(ParquetStore(open_destination(config), config.parquet_sink)) as store:
            await store.probe()
            log.info("parquet.destination_ready", uri=config.parquet_uri)
            yield store

    await serve_sink(options, config, stop, Sink(SINK, "parquet_sink", config.parquet_sink, open_store))
