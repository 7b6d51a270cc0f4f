"""Stream, consumers and buckets: made by whoever starts first, the same whoever that is.

The sinks' consumers are made here too, before anyone publishes: the stream has interest retention, and a message
without a consumer would be gone at once.
"""

from __future__ import annotations

from typing import Any, Final

import structlog

from tickloom_core.bus.connection import Connection
from tickloom_core.bus.subjects import (
    LEADER_BUCKET,
    MEMBERS_BUCKET,
    OWNERS_BUCKET,
    PLAN_BUCKET,
    PRESENCE_BUCKET,
    PROFILES_BUCKET,
    REJECTED_ROOT,
    REJECTED_STREAM,
    STREAM,
    SUBJECT_ROOT,
    make_consumer,
    make_partition_filter,
)
from tickloom_core.config import BusConfig
from tickloom_core.errors import TopologyError

log = structlog.get_logger(__name__)

_NS_PER_S: Final = 1_000_000_000
_PARTITIONS_KEY: Final = "tickloom.partitions"
_MIN_SERVER_VERSION: Final = (2, 14)
_NAME_TAKEN: Final = 10058
_REJECTED_MAX_BYTES: Final = 256 * 1024**2
_EPHEMERAL_TTL_S: Final = 15
_BUCKETS: Final[dict[str, dict[str, Any]]] = {
    LEADER_BUCKET: {"storage": "memory", "max_age": _EPHEMERAL_TTL_S * _NS_PER_S},
    MEMBERS_BUCKET: {"storage": "memory", "max_age": _EPHEMERAL_TTL_S * _NS_PER_S},
    OWNERS_BUCKET: {"storage": "memory", "max_age": _EPHEMERAL_TTL_S * _NS_PER_S},
    PLAN_BUCKET: {"storage": "file"},
    PRESENCE_BUCKET: {"storage": "file"},
    PROFILES_BUCKET: {"storage": "file"},
}


async def ensure_topology(connection: Connection, config: BusConfig) -> None:
    """Make what is missing on the bus; do nothing when all of it stands.

    Raises:
        TopologyError: the stream exists with another number of partitions, or the server refuses a definition.
        BusUnavailableError: JetStream does not answer.
    """
    if connection.server_version < _MIN_SERVER_VERSION:
        found, needed = (".".join(map(str, version)) for version in (connection.server_version, _MIN_SERVER_VERSION))
        raise TopologyError(f"this is nats-server {found}; consumers can be reset from {needed} on: update the server")
    await _ensure_stream(connection, config)
    await _create(connection, f"$JS.API.STREAM.CREATE.{REJECTED_STREAM}", _describe_rejected_stream(config))
    for bucket, definition in _BUCKETS.items():
        body = _describe_bucket(bucket, definition, config.replicas)
        await _create(connection, f"$JS.API.STREAM.CREATE.KV_{bucket}", body)
    for sink in config.sinks:
        for partition in range(config.partitions):
            await _ensure_consumer(connection, sink, partition)


async def _ensure_stream(connection: Connection, config: BusConfig) -> None:
    answer = await connection.request(f"$JS.API.STREAM.INFO.{STREAM}")
    if "error" in answer:
        await _create(connection, f"$JS.API.STREAM.CREATE.{STREAM}", _describe_stream(config))
        answer = await connection.request(f"$JS.API.STREAM.INFO.{STREAM}")
    stored = answer["config"].get("metadata", {}).get(_PARTITIONS_KEY)
    if stored != str(config.partitions):
        raise TopologyError(
            f"the stream {STREAM} has {stored or 'no known number of'} partitions, the configuration says "
            f"{config.partitions}; the number is fixed for the stream's life: set bus.partitions to "
            f"{stored or 'its own'}, or delete the stream once its sinks have drained it"
        )


def _describe_stream(config: BusConfig) -> dict[str, Any]:
    return {
        "name": STREAM,
        "subjects": [f"{SUBJECT_ROOT}.>"],
        "storage": "file",
        "compression": "s2",
        "retention": "interest",
        "discard": "new",
        "max_bytes": config.max_bytes,
        "num_replicas": config.replicas,
        "duplicate_window": int(config.dedup_window_s * _NS_PER_S),
        "metadata": {_PARTITIONS_KEY: str(config.partitions)},
    }


def _describe_rejected_stream(config: BusConfig) -> dict[str, Any]:
    return {
        "name": REJECTED_STREAM,
        "subjects": [f"{REJECTED_ROOT}.>"],
        "storage": "file",
        "compression": "s2",
        "retention": "limits",
        "discard": "old",
        "max_bytes": _REJECTED_MAX_BYTES,
        "num_replicas": config.replicas,
    }


def _describe_bucket(bucket: str, definition: dict[str, Any], replicas: int) -> dict[str, Any]:
    return {
        "name": f"KV_{bucket}",
        "subjects": [f"$KV.{bucket}.>"],
        "max_msgs_per_subject": 1,
        "allow_rollup_hdrs": True,
        "deny_delete": True,
        "allow_direct": True,
        "discard": "new",
        "num_replicas": replicas,
        **definition,
    }


async def _ensure_consumer(connection: Connection, sink: str, partition: int) -> None:
    """Make the consumer that stands for what a sink has committed; nothing is ever pulled from it."""
    consumer = make_consumer(sink, partition)
    answer = await connection.request(f"$JS.API.CONSUMER.INFO.{STREAM}.{consumer}")
    if "error" not in answer:
        return
    subject_filter = make_partition_filter(partition)
    body = {
        "stream_name": STREAM,
        "config": {
            "name": consumer,
            "durable_name": consumer,
            "ack_policy": "all",
            "deliver_policy": "all",
            "filter_subject": subject_filter,
        },
        "action": "create",
    }
    await _create(connection, f"$JS.API.CONSUMER.CREATE.{STREAM}.{consumer}.{subject_filter}", body)
    log.info("topology.consumer_made", consumer=consumer, filter=subject_filter)


async def _create(connection: Connection, subject: str, body: dict[str, Any]) -> None:
    answer = await connection.request(subject, body)
    error = answer.get("error")
    # Two services that start together both create; the second may find the first's definition, in its own words.
    if error and error.get("err_code") != _NAME_TAKEN:
        raise TopologyError(f"JetStream refuses {subject}: {error.get('description')}; correct the bus settings")
