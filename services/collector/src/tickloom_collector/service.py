"""The collector: carries the shards that the planner assigns to it, from venue frames to acknowledged batches."""

from __future__ import annotations

import asyncio
import time
from importlib.metadata import version
from typing import Final

import structlog

from tickloom_collector.assignments import AssignmentWatch
from tickloom_collector.batcher import Batcher, make_writer
from tickloom_collector.events import EventLog
from tickloom_collector.feeds.feed import FeedContext
from tickloom_collector.feeds.selection import check_feeds
from tickloom_collector.flags import Options
from tickloom_collector.heartbeat import beat, find_last_presence_ns, keep_presence
from tickloom_collector.roster import Roster
from tickloom_core.bus.connection import Connection, connect
from tickloom_core.bus.publisher import Publisher, PublisherLimits
from tickloom_core.bus.spool import Loss, Spool
from tickloom_core.bus.topology import ensure_topology
from tickloom_core.config import Config, VenueConfig
from tickloom_core.http import serve_health
from tickloom_core.lifecycle import Health, Stop
from tickloom_core.plan import Assignment, Member

log = structlog.get_logger(__name__)

AGENT: Final = f"tickloom-collector/{version('tickloom-collector')}"


async def serve(options: Options, config: Config, stop: Stop) -> None:
    """Collect until asked to end, then drain.

    Raises:
        ConfigError: the configuration asks for what there is not.
        BusUnavailableError: NATS cannot be reached at the start.
        TopologyError: the stream is not the configured one.
    """
    check_feeds(config)
    connection = await connect(config.nats, name=options.name)
    try:
        await ensure_topology(connection, config.bus)
        health = Health()
        collector = Collector(options.name, config, connection)
        health.require("bus", lambda: connection.is_connected)
        health.require("feeds", collector.roster.is_complete)
        async with serve_health(health, host=options.http_host, port=options.http_port):
            await collector.run(stop, health)
    finally:
        await connection.close()


class Collector:
    """The parts of one collector, put together."""

    def __init__(self, name: str, config: Config, connection: Connection) -> None:
        limits = config.collector
        self._name = name
        self._config = config
        self._connection = connection
        self._publisher = Publisher(
            connection,
            PublisherLimits(limits.in_flight, limits.ack_timeout_s, limits.buffer_bytes),
            Spool(config.spool_dir / name, limits.spool_max_bytes),
            self._record_losses,
        )
        self._batcher = Batcher(make_writer(name), config.bus.partitions, limits, self._publisher.submit)
        self._events = EventLog(self._batcher)
        self._rows_told = 0
        self.roster = Roster(self._make_context, self._events, limits)

    async def run(self, stop: Stop, health: Health) -> None:
        """Follow the assignment until asked to end; then close the feeds and drain."""
        self.roster.absent_since_ns = await find_last_presence_ns(self._connection, self._name)
        watch = AssignmentWatch(self._connection, self._name, self._apply, health)
        async with asyncio.TaskGroup() as group:
            publishing = group.create_task(self._publisher.run())
            watching = group.create_task(watch.run())
            beating = group.create_task(beat(self._connection, self._describe, self._may_be_present, health))
            log.info("collector.running", name=self._name)
            await stop.wait()
            watching.cancel()
            beating.cancel()
            await asyncio.wait([watching, beating])
            was_present, last = self._may_be_present(), self._describe(0)
            await self.roster.close()
            self._batcher.flush()
            left = await self._publisher.drain(self._config.collector.drain_timeout_s)
            publishing.cancel()
        if was_present and self._connection.is_connected:
            await keep_presence(self._connection, last)
        log.info("collector.drained", rows=self._batcher.rows, left_messages=left)

    async def _apply(self, assignment: Assignment) -> None:
        self._batcher.epoch = assignment.epoch
        await self.roster.apply(assignment)
        if self._may_be_present():
            await keep_presence(self._connection, self._describe(0))

    def _may_be_present(self) -> bool:
        return self.roster.has_told_absence

    def _make_context(self, exchange: str) -> FeedContext:
        return FeedContext(
            exchange=exchange,
            agent=AGENT,
            venue=self._config.venues.get(exchange, VenueConfig()),
            limits=self._config.collector,
            batcher=self._batcher,
            events=self._events,
        )

    def _record_losses(self, losses: list[Loss]) -> None:
        self._events.record_losses(losses)

    def _describe(self, seconds: float) -> Member:
        rows = self._batcher.rows - self._rows_told
        if seconds > 0:
            self._rows_told = self._batcher.rows
        return Member(
            collector=self._name,
            epoch=self._batcher.epoch,
            shards=len(self.roster),
            rows_per_s=rows / seconds if seconds > 0 else 0.0,
            beat_ns=time.time_ns(),
        )
