"""The SQL sink: one loop a partition from JetStream into one database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from tickloom_core.config import Config
from tickloom_core.lifecycle import Stop
from tickloom_core.rejections import SetAside
from tickloom_core.sink_service import Sink, SinkOptions, serve_sink
from tickloom_sql_sink.opening import open_database
from tickloom_sql_sink.store import SqlStore
from tickloom_sql_sink.upkeep import keep_up
from tickloom_sql_sink.url import choose_url

SINK: Final = "sql"


async def serve(options: SinkOptions, config: Config, stop: Stop) -> None:
    """Carry the partitions until `stop`.

    Raises:
        PermanentError: the configuration, the database or the stream cannot be used.
        TransientError: the bus or the database does not answer at the start.
    """
    await serve_sink(options, config, stop, Sink(SINK, "sql_sink", config.sql_sink, partial(open_store, config)))


@asynccontextmanager
async def open_store(config: Config, set_aside: SetAside) -> AsyncIterator[SqlStore]:
    """Open the store that the configuration names, its tables made and looked after while the block runs.

    Raises:
        PermanentError: the configuration or the database cannot be used.
        TransientError: the database does not answer.
    """
    settings = config.sql_sink
    store = SqlStore(open_database(choose_url(config), settings.partition_days), set_aside)
    try:
        await store.prepare()
        upkeep = asyncio.create_task(keep_up(store, settings.retention_days))
        try:
            yield store
        finally:
            upkeep.cancel()
            await asyncio.wait([upkeep])
            if not upkeep.cancelled():
                # It ends by itself only by a bug.
                upkeep.result()
    finally:
        await store.close()
