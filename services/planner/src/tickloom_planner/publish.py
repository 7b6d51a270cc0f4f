"""The planner's part of the control plane: leadership, profiles, assignments and the plan in NATS KV (DESIGN §4)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

import msgspec
import structlog

from tickloom.marketdata.v1.header_pb2 import Header
from tickloom_core.bus.connection import Connection
from tickloom_core.bus.kv import Bucket, open_bucket
from tickloom_core.bus.subjects import (
    LEADER_BUCKET,
    LEADER_KEY,
    MEMBERS_BUCKET,
    PLAN_BUCKET,
    PLAN_KEY,
    PROFILES_BUCKET,
    find_partition,
    make_assignment_key,
    make_subject,
)
from tickloom_core.bus.topology import ensure_topology
from tickloom_core.columns import EventBuffer
from tickloom_core.config import BusConfig
from tickloom_core.errors import BusUnavailableError, PermanentError
from tickloom_core.events import EXCLUDED, Event
from tickloom_core.lifecycle import Health
from tickloom_core.plan import Assignment, Plan, VenueProfile
from tickloom_core.wire import encode

log = structlog.get_logger(__name__)

REFRESH_S: Final = 4.0
"""How often the leader says that it lives; the bucket forgets it after 15 s."""
_MEMBER_POLL_S: Final = 0.2
_ASSIGNMENT_PREFIX: Final = make_assignment_key("")


class _Leader(msgspec.Struct, frozen=True):
    """What stands under the leader's key."""

    planner: str


class PlanBoard:
    """What one planner writes and reads in NATS KV.

    Attributes:
        epoch: the number that this planner's assignments carry; 0 until `lead`.
    """

    def __init__(self, connection: Connection, bus: BusConfig, health: Health, *, planner: str) -> None:
        self._connection = connection
        self._bus = bus
        self._health = health
        self._planner = planner
        self._published: Plan | None = None
        self.epoch = 0

    @property
    def has_published(self) -> bool:
        """Whether this planner's plan stands."""
        return self._published is not None

    async def lead(self) -> None:
        """Make what is missing on the bus, take the lead and with it an epoch above all earlier ones.

        The epoch is the revision of the leader's key. That bucket lives in memory: after a restart of NATS its
        revisions begin again, so the epoch of the stored plan is a lower bound; collectors would ignore a lower one.

        Raises:
            TopologyError: the stream is not the one that is configured.
            BusUnavailableError: JetStream does not answer.
        """
        await ensure_topology(self._connection, self._bus)
        revision = await (await self._bucket(LEADER_BUCKET)).write(LEADER_KEY, _Leader(self._planner))
        earlier = await (await self._bucket(PLAN_BUCKET)).read(PLAN_KEY, Plan)
        self.epoch = max(revision, earlier.epoch + 1 if earlier else 0)

    async def read_profiles(self, exchanges: Iterable[str]) -> dict[str, VenueProfile]:
        """Return what an earlier planner measured, by venue."""
        bucket = await self._bucket(PROFILES_BUCKET)
        found = {exchange: await bucket.read(exchange, VenueProfile) for exchange in exchanges}
        return {exchange: profile for exchange, profile in found.items() if profile is not None}

    async def write_profiles(self, profiles: Iterable[VenueProfile]) -> None:
        """Keep what was measured, for the next planner."""
        bucket = await self._bucket(PROFILES_BUCKET)
        for profile in profiles:
            await bucket.write(profile.exchange, profile)

    async def wait_for_members(self, wait_s: float) -> list[str]:
        """Return the collectors that are alive; when there are none, wait so long for the first."""
        bucket = await self._bucket(MEMBERS_BUCKET)
        members = await bucket.list_keys()
        try:
            async with asyncio.timeout(wait_s):
                while not members:
                    await asyncio.sleep(_MEMBER_POLL_S)
                    members = await bucket.list_keys()
        except TimeoutError:
            log.warning("plan.no_members", waited_s=wait_s)
        return members

    async def publish(self, plan: Plan) -> None:
        """Write each collector's assignment, empty ones for collectors that are no longer planned, then the plan.

        Raises:
            BusUnavailableError: JetStream does not answer.
        """
        bucket = await self._bucket(PLAN_BUCKET)
        planned = {worker.collector: worker.shards for worker in plan.workers}
        keys = await bucket.list_keys()
        known = {key.removeprefix(_ASSIGNMENT_PREFIX) for key in keys if key.startswith(_ASSIGNMENT_PREFIX)}
        for collector in sorted(known | planned.keys()):
            assignment = Assignment(collector=collector, epoch=plan.epoch, shards=planned.get(collector, ()))
            await bucket.write(make_assignment_key(collector), assignment)
        await bucket.write(PLAN_KEY, plan)
        self._published = plan

    async def announce_excluded(self, profiles: Iterable[VenueProfile]) -> None:
        """Write an `excluded` event for each venue that could not be profiled (REQUIREMENTS S5).

        Raises:
            BusUnavailableError: JetStream does not answer.
        """
        for profile in profiles:
            partition = find_partition(profile.exchange, "", self._bus.partitions)
            writer = f"{self._planner}.{self.epoch}.{profile.exchange}"
            header = Header(
                exchange=profile.exchange, channel="events", epoch=self.epoch, writer=writer, writer_sequence=1
            )
            header.partition = partition
            buffer = EventBuffer()
            buffer.append(Event(EXCLUDED, profile.exchange, profile.reason))
            subject = make_subject(partition, "events", profile.exchange)
            if not await self._connection.store(subject, encode(header, buffer), {"Nats-Msg-Id": f"{writer}-1"}):
                raise BusUnavailableError(f"JetStream does not take the event that {profile.exchange} is excluded")

    async def keep(self) -> None:
        """Renew the leader's key for ever, and publish again when the bus has lost the plan.

        Raises:
            PermanentError: another planner has published since.
        """
        while True:
            self._health.beat("leader")
            await asyncio.sleep(REFRESH_S)
            try:
                await self._renew()
            except BusUnavailableError as error:
                log.warning("leader.not_renewed", error=str(error))

    async def _renew(self) -> None:
        await ensure_topology(self._connection, self._bus)
        await (await self._bucket(LEADER_BUCKET)).write(LEADER_KEY, _Leader(self._planner))
        if self._published is None:
            return
        stored = await (await self._bucket(PLAN_BUCKET)).read(PLAN_KEY, Plan)
        if stored is not None and stored.epoch > self.epoch:
            raise PermanentError(
                f"another planner has published epoch {stored.epoch} after this one's {self.epoch}; run one planner"
            )
        if stored is None:
            log.warning("plan.lost", epoch=self.epoch)
            await self.publish(self._published)

    async def _bucket(self, name: str) -> Bucket:
        return await open_bucket(self._connection, name)
