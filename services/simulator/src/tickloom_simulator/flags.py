"""The simulator's command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from tickloom_core.errors import ConfigError
from tickloom_core.flags import parse_flags
from tickloom_simulator import recording

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

VENUES = ("binance", "kraken", "coinbase")


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says.

    Attributes:
        port: the control API's port, 0 for any.
        venue_ports: ports by venue; a venue that is not named gets any.
        replay: the recording to play, None to make data up.
        speed: of the replay: 1 as recorded, 0 as fast as clients read.
        replay_autostart: start the replay when so many streams are subscribed; None waits for the command.
    """

    host: str
    port: int
    venues: tuple[str, ...]
    venue_ports: Mapping[str, int]
    seed: int
    symbols_per_venue: int
    trades_per_s: float
    tickers_per_s: float
    books_per_s: float
    book_levels: int
    trade_id_start: int
    replay: Path | None
    speed: float
    replay_autostart: int | None


def _define() -> flags.FlagValues:
    values = flags.FlagValues()
    flags.DEFINE_boolean("synthetic", None, "make data up: the default", flag_values=values)
    flags.DEFINE_string("replay", None, "play this recording (*.jsonl.gz) instead", flag_values=values)
    flags.DEFINE_string("host", "127.0.0.1", "address to listen on", flag_values=values)
    flags.DEFINE_integer("port", 0, "port of the control API, 0 for any", 0, 65_535, flag_values=values)
    flags.DEFINE_list("venues", list(VENUES), "venues to play", flag_values=values)
    flags.DEFINE_list("venue_ports", [], "ports of venues: binance=18081,kraken=18082", flag_values=values)
    flags.DEFINE_integer("seed", 1, "the same seed makes the same prices", flag_values=values)
    flags.DEFINE_integer("symbols_per_venue", 4, "symbols listed on each venue", 1, 5_000, flag_values=values)
    flags.DEFINE_float("trades_per_s", 200, "trades a second over all symbols of all venues", 0, flag_values=values)
    flags.DEFINE_float("tickers_per_s", 50, "ticker updates a second, likewise", 0, flag_values=values)
    flags.DEFINE_float("books_per_s", 50, "order book updates a second, likewise", 0, flag_values=values)
    flags.DEFINE_integer("book_levels", 50, "levels a side of an order book", 10, 5_000, flag_values=values)
    flags.DEFINE_integer("trade_id_start", 1, "id of each symbol's first trade", 0, flag_values=values)
    flags.DEFINE_float("speed", 1, "of a replay: 1 as recorded, 0 as fast as clients read", 0, flag_values=values)
    flags.DEFINE_integer(
        "replay_autostart", None, "start a replay when so many streams are subscribed", 1, flag_values=values
    )
    return values


def parse_options(argv: Sequence[str]) -> Options:
    """Read the command line, program name first.

    Raises:
        ConfigError: a flag is unknown, or its value cannot be what it says.
    """
    values = _define()
    parse_flags(values, argv)
    if values.replay and values.synthetic:
        raise ConfigError("excludes --replay: give one of them", place="--synthetic")
    unknown = [venue for venue in values.venues if venue not in VENUES]
    if unknown:
        raise ConfigError(f"no venue {', '.join(unknown)}; there is {', '.join(VENUES)}", place="--venues")
    return Options(
        host=values.host,
        port=values.port,
        venues=tuple(values.venues),
        venue_ports=dict(_parse_port(text) for text in values.venue_ports),
        seed=values.seed,
        symbols_per_venue=values.symbols_per_venue,
        trades_per_s=values.trades_per_s,
        tickers_per_s=values.tickers_per_s,
        books_per_s=values.books_per_s,
        book_levels=values.book_levels,
        trade_id_start=values.trade_id_start,
        replay=Path(values.replay) if values.replay else None,
        speed=values.speed,
        replay_autostart=values.replay_autostart,
    )


def _parse_port(text: str) -> tuple[str, int]:
    venue, _, port = text.partition("=")
    if venue not in {*VENUES, *recording.VENUES} or not port.isdigit():
        raise ConfigError(f"{text!r} is not venue=port, as in binance=18081", place="--venue_ports")
    return venue, int(port)
