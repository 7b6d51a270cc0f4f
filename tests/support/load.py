"""A collector that makes up what it collects: ticks at a set rate through the real publisher and spool.

    python -m tests.support.load --config=tickloom.yaml --ticks_per_s=5000 --truth=truth.json

It goes on until SIGTERM, then waits until everything is acknowledged, writes the truth and ends with 0. The truth is
`{channel: [[first key, last key], …]}`: the keys (tests.support.ticks) of all rows that the bus has acknowledged.
Of a hundred rows 94 are trades, 3 tickers, 2 order books, 1 an event; venues and symbols take turns, and a symbol stays
in its partition.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.ticks import Tape, read_keys
from tickloom_core.bus.connection import connect
from tickloom_core.bus.publisher import Publisher, PublisherLimits
from tickloom_core.bus.spool import Loss, Outgoing, Spool
from tickloom_core.bus.subjects import find_partition
from tickloom_core.bus.topology import ensure_topology
from tickloom_core.config import Config
from tickloom_core.config_file import load_config
from tickloom_core.errors import TransientError
from tickloom_core.lifecycle import Stop, run
from tickloom_core.wire import decode

VENUES = ("binance", "kraken", "coinbase")
SYMBOLS_A_VENUE = 40
SHARES = {"trades": 94, "tickers": 3, "books": 2, "events": 1}
TURN_S = 0.05
DRAIN_S = 120.0

Group = tuple[str, int, tuple[str, ...]]
"""A venue, a partition, and the venue's symbols in it: what one batch can hold."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """What is made up."""

    ticks_per_s: int
    symbols_a_venue: int


class Truth:
    """The keys of the rows that are acknowledged."""

    def __init__(self) -> None:
        self._keys: dict[str, list[int]] = {channel: [] for channel in SHARES}

    def note(self, message: Outgoing) -> None:
        """Note an acknowledged batch."""
        self._keys[message.channel] += read_keys(decode(message.payload))

    def describe(self) -> dict[str, list[list[int]]]:
        """Return inclusive ranges of keys by channel."""
        return {channel: list(_find_ranges(sorted(keys))) for channel, keys in self._keys.items()}


def main() -> int:
    """Read the command line and run until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--ticks_per_s", type=int, default=5000)
    parser.add_argument("--symbols_a_venue", type=int, default=SYMBOLS_A_VENUE)
    parser.add_argument("--truth", type=Path, required=True)
    options = parser.parse_args()
    config = load_config(options.config)
    pattern, truth = Pattern(options.ticks_per_s, options.symbols_a_venue), Truth()
    code = run(lambda stop: publish(config, pattern, truth, stop))
    options.truth.write_text(json.dumps(truth.describe()))
    return code


async def publish(config: Config, pattern: Pattern, truth: Truth, stop: Stop) -> None:
    """Publish until `stop`, then until all is acknowledged.

    Raises:
        TransientError: it is not, in time.
    """
    connection = await connect(config.nats, name="load")
    await ensure_topology(connection, config.bus)
    settings = config.collector
    spool = Spool(config.spool_dir, max_bytes=settings.spool_max_bytes)
    limits = PublisherLimits(settings.in_flight, settings.ack_timeout_s, settings.buffer_bytes)
    losses: list[Loss] = []
    publisher = Publisher(connection, limits, spool, losses.extend)
    publisher.observe_acks(truth.note)
    sending = asyncio.create_task(publisher.run())
    try:
        await make_ticks(publisher, config.bus.partitions, pattern, stop)
        left = await publisher.drain(DRAIN_S)
    finally:
        sending.cancel()
        await asyncio.wait([sending])
        await connection.close()
    if left or losses:
        raise TransientError(f"{left} batches are not acknowledged after {DRAIN_S} s, lost: {losses}")


async def make_ticks(publisher: Publisher, partitions: int, pattern: Pattern, stop: Stop) -> None:
    """Submit rows at the rate, by the clock: what a slow turn leaves behind the next one makes good."""
    tape = Tape("load")
    groups = itertools.cycle(group_symbols(partitions, pattern.symbols_a_venue))
    start_s = time.monotonic()
    made = 0
    while not await stop.wait(TURN_S):
        due = int((time.monotonic() - start_s) * pattern.ticks_per_s) - made
        made += due
        for channel, share in SHARES.items():
            rows = due * share // sum(SHARES.values())
            if rows:
                exchange, partition, symbols = next(groups)
                batch = tape.make(channel, rows, exchange=exchange, partition=partition, symbols=symbols)
                publisher.submit(batch)


def group_symbols(partitions: int, symbols_a_venue: int) -> list[Group]:
    """Return which symbols of which venue lie in which partition."""
    groups: dict[tuple[str, int], list[str]] = {}
    for exchange, number in itertools.product(VENUES, range(symbols_a_venue)):
        symbol = f"C{number:03d}/USDT"
        groups.setdefault((exchange, find_partition(exchange, symbol, partitions)), []).append(symbol)
    return [(exchange, partition, tuple(symbols)) for (exchange, partition), symbols in groups.items()]


def _find_ranges(keys: Iterable[int]) -> Iterator[list[int]]:
    """Return the spans of keys that follow each other; a key that comes twice begins a span of its own."""
    span: list[int] = []
    for key in keys:
        if span and key == span[1] + 1:
            span[1] = key
        else:
            if span:
                yield span
            span = [key, key]
    if span:
        yield span


if __name__ == "__main__":
    raise SystemExit(main())
