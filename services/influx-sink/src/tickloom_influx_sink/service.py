"""The InfluxDB sink: the stream into points, and a point that says how far it has come."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import structlog

from tickloom_core.config import Config
from tickloom_core.lifecycle import Stop
from tickloom_core.rejections import SetAside
from tickloom_core.sink_service import Sink, SinkOptions, serve_sink
from tickloom_influx_sink.client import read_access
from tickloom_influx_sink.store import InfluxStore, open_store

log = structlog.get_logger(__name__)

SINK: Final = "influx"


async def serve(options: SinkOptions, config: Config, stop: Stop) -> None:
    """Carry the partitions into InfluxDB until `stop`.

    Raises:
        PermanentError: the configuration, InfluxDB or the stream cannot be used.
        TransientError: the bus or InfluxDB does not answer at the start.
    """
    section = config.influx_sink
    access = read_access(section)

    @asynccontextmanager
    async def open_probed_store(set_aside: SetAside) -> AsyncIterator[InfluxStore]:
        async with open_store(section, access, set_aside) as store:
            await store.probe()
            log.info("influx.bucket_ready", url=access.url, org=access.org, bucket=access.bucket)
            yield store

    await serve_sink(options, config, stop, Sink(SINK, "influx_sink", section, open_probed_store))
