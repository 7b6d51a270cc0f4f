"""The simulator as a service: builds the venues, serves them, and makes data until it is told to stop."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tickloom_simulator.control import Control, Source
from tickloom_simulator.exchange import Exchange
from tickloom_simulator.faults import FaultRegistry
from tickloom_simulator.generator import Generator, Rates
from tickloom_simulator.hub import Hub
from tickloom_simulator.instrument import InstrumentSettings
from tickloom_simulator.listing import Listing
from tickloom_simulator.recording import read_recording
from tickloom_simulator.replay import ReplayPace, ReplayPlayer, ReplayVenue
from tickloom_simulator.server import RestFormat, build_venue_app, start_server
from tickloom_simulator.truth import Truth
from tickloom_simulator.venues import binance, coinbase, kraken

if TYPE_CHECKING:
    from collections.abc import Callable

    from tickloom_simulator.flags import Options
    from tickloom_simulator.market import Market
    from tickloom_simulator.venues.venue import Venue

_log = logging.getLogger(__name__)

_VENUES: dict[str, tuple[Callable[[int, int], list[Market]], Callable[[Listing], Venue]]] = {
    "binance": (binance.list_markets, binance.Binance),
    "kraken": (kraken.list_markets, kraken.Kraken),
    "coinbase": (coinbase.list_markets, coinbase.Coinbase),
}
# Trades that REST remembers, over all symbols, and the least for one symbol.
_HISTORY_TRADES = 500_000
_LEAST_HISTORY_TRADES = 1_000
_BEAT_S = 1.0
_CLOSE_DEADLINE_S = 5.0


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything that runs: what serves, what makes data, and what remembers."""

    truth: Truth
    faults: FaultRegistry
    hubs: dict[str, Hub]
    rests: dict[str, RestFormat]
    exchanges: dict[str, Exchange]
    source: Source


def build_stage(options: Options) -> Stage:
    """Build what the options ask for.

    Raises:
        ReplayError: the recording cannot be read or replayed.
    """
    truth, faults = Truth(), FaultRegistry()
    if options.replay is not None:
        recording = read_recording(options.replay)
        replay_venue = ReplayVenue(recording)
        hub = Hub(recording.venue, replay_venue, truth, faults)
        player = ReplayPlayer(recording, hub, ReplayPace(options.speed, options.replay_autostart))
        return Stage(truth, faults, {hub.venue: hub}, {hub.venue: replay_venue}, {}, player)
    settings = InstrumentSettings(
        seed=options.seed,
        book_levels=options.book_levels,
        first_trade_id=options.trade_id_start,
        history_trades=max(
            _LEAST_HISTORY_TRADES, _HISTORY_TRADES // (options.symbols_per_venue * max(1, len(options.venues)))
        ),
    )
    exchanges: dict[str, Exchange] = {}
    for name in options.venues:
        list_markets, open_venue = _VENUES[name]
        venue = open_venue(Listing(list_markets(options.symbols_per_venue, options.seed), settings))
        exchanges[name] = Exchange(venue, Hub(name, venue, truth, faults))
    rates = Rates(options.trades_per_s, options.tickers_per_s, options.books_per_s)
    return Stage(
        truth=truth,
        faults=faults,
        hubs={name: exchange.hub for name, exchange in exchanges.items()},
        rests={name: exchange.venue for name, exchange in exchanges.items()},
        exchanges=exchanges,
        source=Generator(tuple(exchanges.values()), rates, options.seed),
    )


async def run(options: Options) -> None:
    """Serve until SIGTERM or SIGINT; print where, as one line of JSON, when ready.

    Raises:
        ReplayError: the recording cannot be read or replayed.
        OSError: a port is taken.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    stage = build_stage(options)
    async with AsyncExitStack() as servers:
        venues: dict[str, str] = {}
        for name, hub in stage.hubs.items():
            app = build_venue_app(stage.rests[name], hub)
            runner, venues[name] = await start_server(app, options.host, options.venue_ports.get(name, 0))
            servers.push_async_callback(runner.cleanup)
        control = Control(stage.truth, stage.faults, stage.hubs, exchanges=stage.exchanges, source=stage.source)
        runner, address = await start_server(control.build_app(), options.host, options.port)
        servers.push_async_callback(runner.cleanup)
        sys.stdout.write(json.dumps({"control": address, "venues": venues}) + "\n")
        sys.stdout.flush()
        await _make_data(stage, stop)


async def _make_data(stage: Stage, stop: asyncio.Event) -> None:
    """Make data and heartbeats until told to stop, then close the sockets."""
    async with asyncio.TaskGroup() as tasks:
        workers = [tasks.create_task(stage.source.run()), tasks.create_task(_beat(list(stage.hubs.values())))]
        await stop.wait()
        _log.info("stopping")
        for worker in workers:
            worker.cancel()
    try:
        async with asyncio.timeout(_CLOSE_DEADLINE_S):
            for hub in stage.hubs.values():
                await hub.close_sockets("clean")
    except TimeoutError:
        _log.warning("some clients did not let go of their sockets within %.0f s", _CLOSE_DEADLINE_S)


async def _beat(hubs: list[Hub]) -> None:
    while True:
        await asyncio.sleep(_BEAT_S)
        for hub in hubs:
            hub.beat()
