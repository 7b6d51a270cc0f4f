"""Faults: what is done to clients on purpose, by whom it was asked and for how long."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import count
from typing import Literal, TypeAlias, TypeVar

import msgspec

from tickloom_simulator.errors import RequestError


class _Fault(msgspec.Struct, tag_field="kind", forbid_unknown_fields=True, kw_only=True):
    """What every fault has: a venue, and seconds after which it lifts itself (never when None)."""

    venue: str
    seconds: float | None = None


class Close(_Fault, tag="close"):
    """Close the venue's sockets now: `clean` with a close frame after all data, `abort` with a TCP reset."""

    mode: Literal["clean", "abort"] = "clean"


class Mute(_Fault, tag="mute"):
    """Make nothing for a channel, a symbol or both, while sockets stay open and heartbeats go on."""

    channel: str | None = None
    symbol: str | None = None


class AckWithoutData(_Fault, tag="ack_without_data"):
    """Acknowledge new subscriptions and never send anything for them."""

    channel: str | None = None


class Burst(_Fault, tag="burst"):
    """Make trades of one symbol back to back and send them in one socket write, now."""

    symbol: str
    count: int


class Duplicate(_Fault, tag="duplicate"):
    """Send frames twice: the next `count` of them, or all while the fault is in force."""

    channel: str = "trades"
    count: int | None = None


class SkipBook(_Fault, tag="skip_book"):
    """Apply the next `count` updates of a symbol's book without sending them."""

    symbol: str
    count: int = 1


class Slow(_Fault, tag="slow"):
    """Delay everything that is sent over websockets."""

    delay_ms: float


class RateLimit(_Fault, tag="rate_limit"):
    """Answer every REST request with 429 or 418."""

    status: Literal[429, 418] = 429
    retry_after_s: float = 1


class Refuse(_Fault, tag="refuse"):
    """Answer REST with 503, refuse websocket handshakes, close the sockets that are open."""


Fault: TypeAlias = Close | Mute | AckWithoutData | Burst | Duplicate | SkipBook | Slow | RateLimit | Refuse


_F = TypeVar("_F", bound=_Fault)


@dataclass(frozen=True, slots=True)
class _Entry:
    fault: Fault
    until_s: float


def parse_fault(body: bytes) -> Fault:
    """Read a fault from the JSON of `POST /faults`.

    Raises:
        RequestError: the JSON names no known fault, or lacks or misspells a field.
    """
    try:
        fault: Fault = msgspec.json.decode(body, type=Fault)
    except msgspec.DecodeError as error:
        raise RequestError(f"not a fault: {error}; see the kinds in tickloom_simulator.faults") from error
    return fault


class FaultRegistry:
    """The faults in force."""

    def __init__(self) -> None:
        self._entries: dict[int, _Entry] = {}
        self._ids = count(1)

    def add(self, fault: Fault) -> int:
        """Put a fault in force and return its id; one that happens at once is not kept."""
        fault_id = next(self._ids)
        if not isinstance(fault, Close | Burst):
            until_s = time.monotonic() + fault.seconds if fault.seconds is not None else float("inf")
            self._entries[fault_id] = _Entry(fault, until_s)
        return fault_id

    def lift(self, fault_id: int | None = None) -> None:
        """Lift one fault, or all.

        Raises:
            RequestError: no fault has this id.
        """
        if fault_id is None:
            self._entries.clear()
        elif self._entries.pop(fault_id, None) is None:
            raise RequestError(f"no fault {fault_id} is in force")

    def list_all(self) -> list[dict[str, object]]:
        """Return the faults in force with their ids."""
        self._drop_expired()
        return [{"id": fault_id, **msgspec.to_builtins(entry.fault)} for fault_id, entry in self._entries.items()]

    def mutes(self, venue: str, channel: str, symbol: str) -> bool:
        """Tell whether nothing may be made for a symbol's channel."""
        return any(
            fault.channel in {None, channel} and fault.symbol in {None, symbol} for fault in self._in_force(venue, Mute)
        )

    def withholds(self, venue: str, channel: str) -> bool:
        """Tell whether a new subscription gets its acknowledgement only."""
        return any(fault.channel in {None, channel} for fault in self._in_force(venue, AckWithoutData))

    def read_delay_s(self, venue: str) -> float:
        """Return by how much everything on websockets is delayed."""
        return max((fault.delay_ms for fault in self._in_force(venue, Slow)), default=0.0) / 1000

    def find_rate_limit(self, venue: str) -> RateLimit | None:
        """Return the rate limit that REST meets, if any."""
        return next(iter(self._in_force(venue, RateLimit)), None)

    def refuses(self, venue: str) -> bool:
        """Tell whether the venue is down."""
        return bool(self._in_force(venue, Refuse))

    def take_duplicate(self, venue: str, channel: str) -> bool:
        """Tell whether the next frame of a channel is sent twice, and count it against the fault."""
        for fault in self._in_force(venue, Duplicate):
            if fault.channel == channel and fault.count != 0:
                fault.count = fault.count - 1 if fault.count is not None else None
                return True
        return False

    def take_skip(self, venue: str, symbol: str) -> bool:
        """Tell whether the next book update of a symbol is withheld, and count it against the fault."""
        for fault in self._in_force(venue, SkipBook):
            if fault.symbol == symbol and fault.count > 0:
                fault.count -= 1
                return True
        return False

    def _in_force(self, venue: str, kind: type[_F]) -> list[_F]:
        if not self._entries:
            return []
        self._drop_expired()
        return [
            entry.fault
            for entry in self._entries.values()
            if isinstance(entry.fault, kind) and entry.fault.venue == venue
        ]

    def _drop_expired(self) -> None:
        now_s = time.monotonic()
        for fault_id in [fault_id for fault_id, entry in self._entries.items() if entry.until_s <= now_s]:
            del self._entries[fault_id]
