"""What happens to the collection itself. Nothing may be missing without a row that says so: this is that row."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Final

CONNECT: Final = "connect"
DISCONNECT: Final = "disconnect"
RECONNECT: Final = "reconnect"
EXCLUDED: Final = "excluded"
DROPPED: Final = "dropped"
GAP: Final = "gap"
DUPLICATE: Final = "duplicate"
RESYNC: Final = "resync"
ERROR: Final = "error"
CONTENTION: Final = "contention"

INSTALLATION: Final = "tickloom"
"""Stands for the venue where an event is about Tickloom itself."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to the collection itself.

    Attributes:
        kind: what happened, such as "connect"; docs/operations.md lists the kinds.
        exchange: the venue, or INSTALLATION.
        detail: one sentence for people.
        symbol: the symbol concerned, or empty for the whole venue.
        channel: the channel concerned, or empty for all of them.
        count: how many rows are concerned, when that is known.
        first_ns: receive time before or at the first row concerned.
        last_ns: receive time at or behind the last row concerned.
        receive_ns: when it was noticed.
    """

    kind: str
    exchange: str
    detail: str
    symbol: str = ""
    channel: str = ""
    count: int | None = None
    first_ns: int | None = None
    last_ns: int | None = None
    receive_ns: int = field(default_factory=time.time_ns)
