"""The venue simulator as a process, and its control API."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_START_DEADLINE_S = 30.0
AGENT = "tickloom-collector"


@dataclass(frozen=True, slots=True)
class Simulator:
    """A running simulator."""

    control: str
    venues: dict[str, str]

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Call the control API and return its JSON."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.control + path, data=data, method=method, headers=headers)  # noqa: S310
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - our own process on loopback
            text = answer.read()
        return json.loads(text) if text else None

    def pause(self) -> None:
        """Stop generating; returns when everything generated is written to the sockets."""
        self.call("POST", "/pause")

    def resume(self) -> None:
        """Go on generating."""
        self.call("POST", "/resume")

    def inject(self, kind: str, venue: str, **details: object) -> None:
        """Put a fault in force."""
        self.call("POST", "/faults", {"kind": kind, "venue": venue, **details})

    def read_keys(self, venue: str, channel: str) -> dict[str, list[Any]]:
        """Return the keys of what was sent to collectors, by symbol."""
        answer = self.call("GET", f"/truth/keys?agent={AGENT}&venue={venue}&channel={channel}")
        return {symbol: keys["sent"] for symbol, keys in answer.items()}

    def count_sent(self) -> int:
        """Return how many rows were sent to collectors."""
        return sum(row["sent"] for row in self.call("GET", f"/truth?agent={AGENT}"))


@contextmanager
def running_simulator(folder: Path, *flags: str) -> Iterator[Simulator]:
    """Run the simulator with the flags while the block runs."""
    command = [sys.executable, "-m", "tickloom_simulator", *flags]
    with (folder / "simulator.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline() or "{}")
        assert ready, f"the simulator did not start; see {folder / 'simulator.log'}"
        yield Simulator(ready["control"], ready["venues"])
    finally:
        process.terminate()
        process.wait(timeout=10)
        if process.stdout is not None:
            process.stdout.close()
