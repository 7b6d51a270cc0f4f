"""Cuts venues into shards and packs the shards onto collectors (REQUIREMENTS S9).

How a venue's score becomes the scores of its shards: the score was measured on the tickers of the profiled symbols, so
one symbol scores `score / profiled symbols`. The channels of a symbol share that by `CHANNEL_WEIGHTS`, and a shard has
the sum over its symbols. Where every symbol was profiled and every channel has the same symbols, the shards of a venue
add up to the venue's score; where more symbols are collected than were profiled, they add up to as much more.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from tickloom_core.config import ChannelName, VenueConfig
from tickloom_core.plan import Shard, WorkerLoad
from tickloom_planner.profile import VenueStudy

CHANNEL_WEIGHTS: Final[Mapping[ChannelName, float]] = MappingProxyType(
    {
        "tickers": 1.0,  # at most a few updates a second and symbol
        "trades": 2.0,  # as many as the market makes, in bursts
        "books": 6.0,  # ten updates a second and symbol, each with tens of levels
    }
)
"""How the work of one symbol divides over its channels."""


def make_shards(study: VenueStudy, venue: VenueConfig, *, shard_symbols: int) -> list[Shard]:
    """Cut the channels of one venue into shards of at most `shard_symbols` symbols, as even as can be."""
    profile = study.profile
    symbol_score = profile.score / max(1, len(profile.symbols))
    weights = sum(CHANNEL_WEIGHTS[channel] for channel, symbols in study.symbols.items() if symbols)
    shards: list[Shard] = []
    for channel, symbols in sorted(study.symbols.items()):
        for number, chunk in enumerate(_cut_evenly(symbols, shard_symbols)):
            shard = Shard(
                id=f"{profile.exchange}.{channel}.{number}",
                exchange=profile.exchange,
                channel=channel,
                symbols=tuple(chunk),
                depth=venue.channels[channel].depth if channel == "books" else 0,
                score=symbol_score * len(chunk) * CHANNEL_WEIGHTS[channel] / weights,
            )
            shards.append(shard)
    return shards


def pack_shards(shards: Iterable[Shard], collectors: Sequence[str]) -> tuple[WorkerLoad, ...]:
    """Give each shard, heaviest first, to the collector that has least (longest processing time first).

    The result depends on what is given and not on its order: equal scores go by shard id, equal loads by collector.
    """
    names = sorted(collectors, key=_natural_order)
    held: dict[str, list[Shard]] = {name: [] for name in names}
    heap = [(0.0, position) for position in range(len(names))]
    for shard in sorted(shards, key=lambda shard: (-shard.score, shard.id)):
        load, position = heapq.heappop(heap)
        held[names[position]].append(shard)
        heapq.heappush(heap, (load + shard.score, position))
    return tuple(
        WorkerLoad(
            collector=name, total_score=sum((shard.score for shard in held[name]), 0.0), shards=tuple(held[name])
        )
        for name in names
    )


def name_collectors(count: int) -> list[str]:
    """Return the names that a stateful set of `count` collectors has."""
    return [f"collector-{number}" for number in range(count)]


def _cut_evenly(symbols: Sequence[str], size: int) -> Iterable[Sequence[str]]:
    parts = -(-len(symbols) // size)
    for part in range(parts):
        yield symbols[part * len(symbols) // parts : (part + 1) * len(symbols) // parts]


def _natural_order(name: str) -> tuple[int, str]:
    """Order `collector-10` after `collector-9`."""
    return len(name), name
