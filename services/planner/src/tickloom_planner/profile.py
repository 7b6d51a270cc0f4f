"""Watches each venue for a while to learn what it sends (REQUIREMENTS S5, S7, S8)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog

from tickloom_core.config import ChannelName, Config, VenueConfig
from tickloom_core.errors import ConfigError
from tickloom_core.lifecycle import find_root_cause
from tickloom_core.plan import TickerMode, VenueProfile
from tickloom_planner.selection import make_exclusion
from tickloom_planner.traffic import Traffic
from tickloom_venues.capabilities import Capabilities, read_capabilities
from tickloom_venues.errors import InvalidEndpointError, UnknownSymbolError, VenueError, classify
from tickloom_venues.exclusion import is_terminal_exclusion_error, iter_tickers
from tickloom_venues.markets import Market, load_markets, resolve_symbols
from tickloom_venues.opening import close_venue, open_venue

if TYPE_CHECKING:
    from tickloom_venues.opening import Exchange

log = structlog.get_logger(__name__)

RECONNECT_WEIGHT: Final = 2000
"""Bytes a second that one reconnect a minute counts as (REQUIREMENTS S8)."""
LOWEST_SCORE: Final = 1.0
PROFILE_MAX_AGE_S: Final = 24 * 3600
_NS_PER_S: Final = 1_000_000_000
_MARKET_REQUESTS: Final = 4
"""Requests that the longest `load_markets` of ccxt's venues makes one after the other."""
_RETRY_S: Final = 0.5
_REASON_CHARACTERS: Final = 300


@dataclass(frozen=True, slots=True)
class VenueStudy:
    """What the planner knows of one venue: its profile, and the symbols of each of its channels."""

    profile: VenueProfile
    symbols: Mapping[ChannelName, tuple[str, ...]]


class Profiler:
    """Profiles venues side by side.

    Args:
        config: the configuration.
        place: where it came from, for messages.
        agent: how requests and handshakes name themselves.
        known: profiles of an earlier run by venue, used again while younger than a day and of the same symbols.
    """

    def __init__(self, config: Config, *, place: str, agent: str, known: Mapping[str, VenueProfile]) -> None:
        self._config = config
        self._settings = config.planner
        self._place = place
        self._agent = agent
        self._known = known
        self._slots = asyncio.Semaphore(config.planner.profile_concurrency)

    async def study_all(self, venues: Iterable[str]) -> list[VenueStudy]:
        """Profile these venues, at most `profile_concurrency` at a time; one that fails is excluded with the reason.

        Raises:
            ConfigError: the configuration asks a venue for what it does not have.
        """
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._study(name)) for name in sorted(venues)]
        except ExceptionGroup as errors:
            raise find_root_cause(errors) from errors
        return [task.result() for task in tasks]

    async def _study(self, name: str) -> VenueStudy:
        venue = self._config.venues[name]
        async with self._slots:
            try:
                exchange = open_venue(name, venue, agent=self._agent)
            except InvalidEndpointError as error:
                raise self._mistake(f"{name}.endpoint", str(error)) from error
            exchange.timeout = int(self._settings.profile_request_timeout_s * 1000)
            capabilities = read_capabilities(exchange)
            try:
                study = await self._measure(name, exchange, capabilities)
            except VenueError as error:
                reason = " ".join(str(error).split())[:_REASON_CHARACTERS]
                log.warning("profile.excluded", exchange=name, reason=reason)
                study = VenueStudy(make_exclusion(name, capabilities.tickers, reason), {})
            finally:
                await close_venue(exchange)
        if not study.profile.excluded:
            profile = study.profile
            log.info("profile.done", exchange=name, score=round(profile.score, 1), ticks=profile.ticks)
        return study

    async def _measure(self, name: str, exchange: Exchange, capabilities: Capabilities) -> VenueStudy:
        venue = self._config.venues[name]
        self._check_channels(name, venue, capabilities)
        if capabilities.tickers == "unsupported" and "tickers" in venue.channels:
            return VenueStudy(make_exclusion(name, "unsupported", "it has neither watchTickers nor watchTicker"), {})
        deadline_s = self._settings.profile_request_timeout_s * _MARKET_REQUESTS
        markets = await load_markets(exchange, deadline_s=deadline_s)
        symbols = self._resolve(name, venue, markets)
        everything = tuple(dict.fromkeys(symbol for chosen in symbols.values() for symbol in chosen))
        sample = everything[: self._settings.profile_symbol_limit]
        if not sample:
            return VenueStudy(make_exclusion(name, capabilities.tickers, "it lists no market that was asked for"), {})
        earlier = self._known.get(name)
        if earlier is not None and is_usable(earlier, capabilities.tickers, sample):
            log.info("profile.reused", exchange=name, age_s=(time.time_ns() - earlier.profiled_ns) // _NS_PER_S)
            return VenueStudy(earlier, symbols)
        log.info("profile.watching", exchange=name, symbols=len(sample), seconds=self._settings.profile_seconds)
        watch = _Watch(exchange, capabilities, self._config.collector.subscribe_interval_ms)
        return VenueStudy(await watch.run(name, sample, seconds=self._settings.profile_seconds), symbols)

    def _check_channels(self, name: str, venue: VenueConfig, capabilities: Capabilities) -> None:
        for channel, mode in (("trades", capabilities.trades), ("books", capabilities.books)):
            if channel in venue.channels and mode == "unsupported":
                message = f"{name} streams no {channel}; take the channel out of the configuration"
                raise self._mistake(f"{name}.channels.{channel}", message)

    def _resolve(
        self, name: str, venue: VenueConfig, markets: Mapping[str, Market]
    ) -> dict[ChannelName, tuple[str, ...]]:
        symbols: dict[ChannelName, tuple[str, ...]] = {}
        for channel, wanted in sorted(venue.channels.items()):
            try:
                found = resolve_symbols(
                    markets, wanted.symbols, venue=name, spot_only=venue.spot_only, limit=venue.max_symbols
                )
            except UnknownSymbolError as error:
                raise self._mistake(f"{name}.channels.{channel}.symbols", str(error)) from error
            symbols[channel] = tuple(found)
        return symbols

    def _mistake(self, path: str, message: str) -> ConfigError:
        return ConfigError(message, place=self._place, path=f"venues.{path}")


class _Watch:
    """Watches the tickers of one venue."""

    def __init__(self, exchange: Exchange, capabilities: Capabilities, subscribe_interval_ms: int) -> None:
        self._exchange = exchange
        self._capabilities = capabilities
        self._interval_s = subscribe_interval_ms / 1000
        self._traffic = Traffic(exchange)
        self._last_error: VenueError | None = None

    async def run(self, name: str, symbols: tuple[str, ...], *, seconds: float) -> VenueProfile:
        """Watch for so long and return the profile.

        Raises:
            VenueError: the venue failed in a way that excludes it, or nothing came but errors.
        """
        mode = self._capabilities.tickers
        begin_s = time.monotonic()
        if mode != "unsupported":
            await self._count(mode, symbols, seconds)
        traffic = self._traffic
        if self._last_error is not None and traffic.bytes_total == 0:
            raise self._last_error
        measured = VenueProfile(
            exchange=name,
            mode=mode,
            symbols=symbols,
            seconds=time.monotonic() - begin_s,
            ticks=traffic.ticks,
            bytes_total=traffic.bytes_total,
            reconnects=traffic.reconnects,
            score=LOWEST_SCORE,
            profiled_ns=time.time_ns(),
        )
        return msgspec.structs.replace(measured, score=score_profile(measured))

    async def _count(self, mode: TickerMode, symbols: tuple[str, ...], seconds: float) -> None:
        size = self._capabilities.symbols_per_call if mode == "watch_tickers" else 1
        calls = [list(symbols[first : first + size]) for first in range(0, len(symbols), size)]
        try:
            async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
                for index, call in enumerate(calls):
                    group.create_task(self._receive(mode, call, after_s=index * self._interval_s))
        except TimeoutError:
            log.debug("profile.window_over", exchange=self._exchange.id)
        except ExceptionGroup as errors:
            raise find_root_cause(errors) from errors

    async def _receive(self, mode: TickerMode, symbols: list[str], *, after_s: float) -> None:
        await asyncio.sleep(after_s)
        while True:
            try:
                result = await self._ask(mode, symbols)
            except Exception as error:  # every error of ccxt is mapped: it ends the profile or passes
                venue_error = classify(error, venue=self._exchange.id, exchange=self._exchange)
                if is_terminal_exclusion_error(error):
                    raise venue_error from error
                self._last_error = venue_error
                await asyncio.sleep(_RETRY_S)
            else:
                self._traffic.ticks += sum(1 for _ in iter_tickers(result))

    async def _ask(self, mode: TickerMode, symbols: list[str]) -> Any:  # noqa: ANN401 (ccxt's tickers)
        if mode == "watch_tickers":
            return await self._exchange.watch_tickers(symbols)
        return await self._exchange.watch_ticker(symbols[0])


def score_profile(profile: VenueProfile) -> float:
    """Return bytes a second plus 2000 for each reconnect a minute, at least 1.0 (REQUIREMENTS S8)."""
    return max(LOWEST_SCORE, profile.bytes_per_sec + RECONNECT_WEIGHT * profile.reconnects_per_min)


def is_usable(profile: VenueProfile, mode: TickerMode, symbols: tuple[str, ...]) -> bool:
    """Say whether an earlier profile stands for these symbols: it is younger than a day and of the same ones."""
    age_s = (time.time_ns() - profile.profiled_ns) / _NS_PER_S
    return 0 <= age_s < PROFILE_MAX_AGE_S and profile.mode == mode and profile.symbols == symbols
