"""Names on the bus: subjects, partitions, streams, buckets and consumers. Every name stands here and only here."""

from __future__ import annotations

from typing import Final
from zlib import crc32

STREAM: Final = "MARKETDATA"
REJECTED_STREAM: Final = "MD_REJECTED"
SUBJECT_ROOT: Final = "md"
REJECTED_ROOT: Final = "md_rejected"

LEADER_BUCKET: Final = "tickloom_leader"
MEMBERS_BUCKET: Final = "tickloom_members"
PLAN_BUCKET: Final = "tickloom_plan"
OWNERS_BUCKET: Final = "tickloom_owners"
PRESENCE_BUCKET: Final = "tickloom_presence"
PROFILES_BUCKET: Final = "tickloom_profiles"

LEADER_KEY: Final = "planner"
PLAN_KEY: Final = "plan"


def find_partition(exchange: str, symbol: str, partitions: int) -> int:
    """Return the partition of a symbol: crc32 of "exchange/symbol" modulo the number of partitions."""
    return crc32(f"{exchange}/{symbol}".encode()) % partitions


def make_subject(partition: int, channel: str, exchange: str) -> str:
    """Return the subject of a batch."""
    return f"{SUBJECT_ROOT}.{partition}.{channel}.{exchange}"


def make_rejected_subject(sink: str, subject: str) -> str:
    """Return where a sink sets a message aside that came on `subject`."""
    return f"{REJECTED_ROOT}.{sink}.{subject}"


def make_partition_filter(partition: int) -> str:
    """Return the subjects of one partition."""
    return f"{SUBJECT_ROOT}.{partition}.>"


def make_consumer(sink: str, partition: int) -> str:
    """Return the durable consumer of a sink for one partition."""
    return f"{sink}-{partition}"


def make_assignment_key(collector: str) -> str:
    """Return the key in the plan bucket under which a collector finds its shards."""
    return f"assignments.{collector}"


def make_owner_key(sink: str, partition: int) -> str:
    """Return the key in the owners bucket under which the owner of a partition stands."""
    return f"{sink}.{partition}"


def make_displaced_key(sink: str, partition: int) -> str:
    """Return the key in the owners bucket under which a displaced owner of a partition stands."""
    return f"{sink}.{partition}.displaced"
