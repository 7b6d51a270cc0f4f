"""The records of the control plane: profiles, shards, assignments and the plan, as they stand in NATS KV."""

from __future__ import annotations

from typing import Literal

import msgspec

TickerMode = Literal["watch_tickers", "watch_ticker", "unsupported"]


class _Record(msgspec.Struct, frozen=True, kw_only=True):
    """A record of the control plane; newer writers may add fields, so unknown ones are ignored."""


class VenueProfile(_Record, frozen=True):
    """What a venue sent while it was watched (REQUIREMENTS S7, S8)."""

    exchange: str
    mode: TickerMode
    symbols: tuple[str, ...]
    seconds: float
    ticks: int
    bytes_total: int
    reconnects: int
    score: float
    excluded: bool = False
    reason: str = ""
    profiled_ns: int = 0

    @property
    def ticks_per_sec(self) -> float:
        """Ticker updates a second."""
        return self.ticks / self.seconds if self.seconds else 0.0

    @property
    def bytes_per_sec(self) -> float:
        """Bytes a second."""
        return self.bytes_total / self.seconds if self.seconds else 0.0

    @property
    def reconnects_per_min(self) -> float:
        """Reconnects a minute."""
        return self.reconnects * 60 / self.seconds if self.seconds else 0.0


class Shard(_Record, frozen=True):
    """Symbols of one channel of one venue that one collector carries."""

    id: str
    """"<exchange>.<channel>.<n>"."""
    exchange: str
    channel: str
    symbols: tuple[str, ...]
    depth: int = 0
    """Levels of an order book; 0 for other channels."""
    score: float = 1.0


class Assignment(_Record, frozen=True):
    """What one collector is to carry; whoever sees a lower epoch than before ignores it."""

    collector: str
    epoch: int
    shards: tuple[Shard, ...]


class WorkerLoad(_Record, frozen=True):
    """One collector of the plan."""

    collector: str
    total_score: float
    shards: tuple[Shard, ...]


class Plan(_Record, frozen=True):
    """The whole of it, with every score and every total (REQUIREMENTS S9)."""

    epoch: int
    created_ns: int
    workers: tuple[WorkerLoad, ...]
    profiles: tuple[VenueProfile, ...]
    excluded: tuple[VenueProfile, ...] = ()


class Member(_Record, frozen=True):
    """The heartbeat of a collector."""

    collector: str
    epoch: int
    shards: int
    rows_per_s: float
    beat_ns: int
