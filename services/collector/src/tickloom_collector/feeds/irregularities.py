"""Trades that came again and trades that did not come, as events."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Final

from tickloom_collector.events import EventLog
from tickloom_core.events import DUPLICATE, GAP, Event

_QUIET_NS: Final = 2_000_000_000
_LONGEST_NS: Final = 60_000_000_000
_CHECK_S: Final = 1.0


@dataclass(slots=True)
class _Incident:
    count: int
    first_ns: int
    last_ns: int


class Irregularities:
    """Writes a gap at once; counts repeats, and writes one event when a symbol's repeats end, or every minute."""

    def __init__(self, events: EventLog, exchange: str) -> None:
        self._events = events
        self._exchange = exchange
        self._incidents: dict[str, _Incident] = {}
        self._timer: asyncio.TimerHandle | None = None

    def record_gap(self, symbol: str, missing: int, first_ns: int, last_ns: int) -> None:
        """Write that trades are missing between those that came at these times."""
        detail = f"{missing} trades are missing between two that came, by the venue's contiguous ids"
        self._record(GAP, symbol, detail, _Incident(missing, first_ns, last_ns))

    def note_duplicate(self, symbol: str, receive_ns: int) -> None:
        """Count one repeated trade."""
        incident = self._incidents.get(symbol)
        if incident is not None:
            incident.count += 1
            incident.last_ns = receive_ns
            return
        self._incidents[symbol] = _Incident(1, receive_ns, receive_ns)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_CHECK_S, self._check)

    def flush(self) -> None:
        """Write everything that was counted."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for symbol in list(self._incidents):
            self._write(symbol)

    def _check(self) -> None:
        self._timer = None
        now_ns = time.time_ns()
        for symbol, incident in list(self._incidents.items()):
            if now_ns - incident.last_ns >= _QUIET_NS or now_ns - incident.first_ns >= _LONGEST_NS:
                self._write(symbol)
        if self._incidents:
            self._timer = asyncio.get_running_loop().call_later(_CHECK_S, self._check)

    def _write(self, symbol: str) -> None:
        incident = self._incidents.pop(symbol)
        self._record(DUPLICATE, symbol, f"{incident.count} trades came again; each is kept once", incident)

    def _record(self, kind: str, symbol: str, detail: str, incident: _Incident) -> None:
        self._events.record(
            Event(
                kind,
                self._exchange,
                detail,
                symbol=symbol,
                channel="trades",
                count=incident.count,
                first_ns=incident.first_ns,
                last_ns=incident.last_ns,
            )
        )
