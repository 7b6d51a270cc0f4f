"""The configuration: one YAML file, typed, the same for every service and every size of installation.

Every setting has a default except the venues. Unknown keys are refused with the nearest known one.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from tickloom_core.errors import ConfigError

Positive = Annotated[int, Meta(gt=0)]
PositiveSeconds = Annotated[float, Meta(gt=0)]
Seconds = Annotated[float, Meta(ge=0)]

Feed = Literal["auto", "native", "ccxt"]
ChannelName = Literal["trades", "tickers", "books"]
StoredChannel = Literal["trades", "tickers", "books", "events"]
LayoutColumn = Literal["exchange", "symbol", "dt", "year", "month", "day", "hour"]


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the file."""


class SecretReference(_Section, frozen=True):
    """Where a secret is found; the secret itself never stands in the file."""

    env: str | None = None
    """Name of an environment variable."""
    file: str | None = None
    """Path of a file whose text, stripped, is the secret."""

    def resolve(self) -> str:
        """Return the secret.

        Raises:
            ConfigError: neither or both of env and file are given, or what they name is missing or empty.
        """
        if (self.env is None) == (self.file is None):
            raise ConfigError("a secret is referred to by exactly one of `env: NAME` and `file: PATH`")
        if self.env is not None:
            value = os.environ.get(self.env, "")
            if not value:
                raise ConfigError("this environment variable is empty or not set; export it", place=self.env)
            return value
        path = Path(self.file or "")
        try:
            value = path.read_text().strip()
        except OSError as error:
            raise ConfigError(f"the secret cannot be read: {error.strerror}", place=str(path)) from error
        if not value:
            raise ConfigError("the file of this secret is empty", place=str(path))
        return value


class NatsConfig(_Section, frozen=True):
    """How to reach NATS."""

    url: str = "nats://127.0.0.1:4222"
    token: SecretReference | None = None
    connect_timeout_s: PositiveSeconds = 5.0


class BusConfig(_Section, frozen=True):
    """The stream; its shape is stored with it, and a different one is a start-up error."""

    partitions: Annotated[int, Meta(ge=1, le=1024)] = 4
    replicas: Annotated[int, Meta(ge=1, le=5)] = 1
    max_bytes: Positive = 2 * 1024**3
    dedup_window_s: PositiveSeconds = 300.0
    sinks: tuple[str, ...] = ("parquet",)
    """Names of the sinks that must have seen a message before it leaves the stream."""


class ChannelConfig(_Section, frozen=True):
    """One channel of one venue."""

    symbols: Literal["all"] | tuple[str, ...] = "all"
    depth: Annotated[int, Meta(ge=1, le=1000)] = 20
    """Levels a side that are kept of an order book."""


class VenueConfig(_Section, frozen=True):
    """One venue, by its ccxt id."""

    channels: dict[ChannelName, ChannelConfig] = {}
    feed: Feed = "auto"
    endpoint: str | None = None
    """Host and port that replace those of every URL of the venue, such as `http://127.0.0.1:18081`; paths are kept."""
    options: dict[str, Any] = {}
    """Merged into ccxt's own options of the venue."""
    api_key: SecretReference | None = None
    api_secret: SecretReference | None = None
    api_password: SecretReference | None = None
    spot_only: bool = True
    max_symbols: Positive | None = None
    """Upper bound of what `symbols: all` selects."""


class PlannerConfig(_Section, frozen=True):
    """Profiling and packing (REQUIREMENTS S7 to S9)."""

    profile_seconds: PositiveSeconds = 30.0
    profile_symbol_limit: Positive = 20
    profile_request_timeout_s: PositiveSeconds = 8.0
    profile_concurrency: Positive = 4
    workers: Literal["auto"] | Positive = "auto"
    shard_symbols: Positive = 100
    """Most symbols in one shard."""
    member_wait_s: PositiveSeconds = 10.0
    """How long the planner waits for the first collector when workers is auto."""


class CollectorConfig(_Section, frozen=True):
    """Batching, publishing and what is kept while the bus is away."""

    batch_rows: Positive = 2000
    batch_bytes: Positive = 256 * 1024
    batch_ms: Positive = 20
    in_flight: Annotated[int, Meta(ge=1, le=4096)] = 256
    """Messages sent and not yet acknowledged."""
    ack_timeout_s: PositiveSeconds = 5.0
    buffer_bytes: Positive = 32 * 1024**2
    """Memory for messages that wait to be sent."""
    spool_dir: str | None = None
    """Folder for what does not fit in memory; by default `<data_dir>/spool`."""
    spool_max_bytes: Annotated[int, Meta(ge=0)] = 1024**3
    subscribe_interval_ms: Annotated[int, Meta(ge=0)] = 100
    subscribe_in_flight: Positive = 5
    backoff_base_s: PositiveSeconds = 0.5
    backoff_max_s: PositiveSeconds = 30.0
    max_reconnect_attempts: Annotated[int, Meta(ge=-1)] = -1
    """-1: for ever."""
    drain_timeout_s: PositiveSeconds = 20.0


class ChunkConfig(_Section, frozen=True):
    """What ends a chunk, whichever comes first; the same settings in every sink."""

    chunk_rows: Positive = 50_000
    chunk_bytes: Positive = 16 * 1024**2
    """Bytes of messages; with the chunk that is being written, twice this is what a partition holds in memory."""
    chunk_window_s: PositiveSeconds = 1.0
    """JetStream time; about the delay until rows can be read."""


class ParquetSinkConfig(ChunkConfig, frozen=True):
    """Chunks and files."""

    uri: str | None = None
    """Folder or `s3://bucket/prefix`; by default `<data_dir>/parquet`."""
    chunk_rows: Positive = 500_000
    chunk_bytes: Positive = 32 * 1024**2
    chunk_window_s: PositiveSeconds = 5.0
    format: Literal["parquet", "ndjson"] = "parquet"
    compression: Literal["zstd", "snappy", "lz4"] = "zstd"
    compression_level: int | None = None
    """By default 3 for zstd; snappy has none."""
    partition_by: tuple[LayoutColumn, ...] = ("exchange", "dt")
    """Columns that become folders, in this order."""
    max_open_partitions: Positive = 350
    """Files that are open at once: encoded, and not written yet."""
    s3_endpoint: str | None = None
    s3_region: str = "us-east-1"
    s3_access_key: SecretReference | None = None
    s3_secret_key: SecretReference | None = None


class CompactionConfig(_Section, frozen=True):
    """Closed days as one sorted file a venue and channel, and how long they are kept."""

    closed_after_s: Seconds = 3600.0
    """How long after midnight UTC a day is closed."""
    grace_s: Seconds = 3600.0
    """How long replaced files stay for readers that have them open."""
    compression_level: Annotated[int, Meta(ge=1, le=22)] = 9
    memory_bytes: Positive = 512 * 1024**2
    """Bound of what is sorted in memory at once."""
    retention_days: dict[StoredChannel, Positive] = {}
    """Days after which closed days are removed, by channel; what is not named is kept for ever."""


class SyncConfig(_Section, frozen=True):
    """From a local folder to a bucket."""

    uri: str | None = None
    """`s3://bucket/prefix`, or another folder."""
    interval_s: PositiveSeconds = 60.0
    bandwidth_bytes_per_s: Positive | None = None
    delete_after_s: Seconds | None = None
    """Age at which local files go that are confirmed in the target; by default they stay."""


class InfluxSinkConfig(ChunkConfig, frozen=True):
    """InfluxDB 2."""

    url: str = "http://127.0.0.1:8086"
    bucket: str = "market_data"
    org: str | None = None
    """By default the environment's INFLUXDB_ORG."""
    token: SecretReference | None = None
    """By default the environment's INFLUXDB_TOKEN."""
    request_lines: Positive = 5000
    requests_in_flight: Annotated[int, Meta(ge=1, le=64)] = 4
    timeout_s: PositiveSeconds = 10.0


class SqlSinkConfig(ChunkConfig, frozen=True):
    """PostgreSQL, TimescaleDB or SQLite."""

    url: str | None = None
    """By default the environment's DATABASE_URL, else its POSTGRES_*, else `sqlite:///<data_dir>/tickloom.sqlite`."""
    password: SecretReference | None = None
    partition_days: Positive = 1
    """Days in one partition, or in one chunk of a hypertable."""
    retention_days: dict[StoredChannel, Positive] = {}
    """Days after which rows are removed, by channel; 30 for what is not named."""


class LogConfig(_Section, frozen=True):
    """Logs: for people on a terminal, JSON for machines."""

    format: Literal["auto", "console", "json"] = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"


class Config(_Section, frozen=True):
    """The whole file."""

    data_dir: str = "data"
    venues: dict[str, VenueConfig] = {}
    nats: NatsConfig = NatsConfig()
    bus: BusConfig = BusConfig()
    planner: PlannerConfig = PlannerConfig()
    collector: CollectorConfig = CollectorConfig()
    parquet_sink: ParquetSinkConfig = ParquetSinkConfig()
    compaction: CompactionConfig = CompactionConfig()
    sync: SyncConfig = SyncConfig()
    influx_sink: InfluxSinkConfig = InfluxSinkConfig()
    sql_sink: SqlSinkConfig = SqlSinkConfig()
    log: LogConfig = LogConfig()

    @property
    def parquet_uri(self) -> str:
        """Where Parquet goes."""
        return self.parquet_sink.uri or str(Path(self.data_dir) / "parquet")

    @property
    def spool_dir(self) -> Path:
        """Where collectors keep what the bus does not take."""
        return Path(self.collector.spool_dir or Path(self.data_dir) / "spool")
