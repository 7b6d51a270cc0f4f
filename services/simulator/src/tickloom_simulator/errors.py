"""The errors of the simulator.

TickloomError
└── SimulatorError
├── ReplayError     a recording cannot be read or is of a venue that cannot be replayed
└── RequestError    a client of the control API or of a venue asked for something that does not exist
"""

from __future__ import annotations

from tickloom_core.errors import TickloomError


class SimulatorError(TickloomError):
    """Root of the simulator's own errors."""


class ReplayError(SimulatorError):
    """A recording cannot be read, or is of a venue that cannot be replayed."""


class RequestError(SimulatorError):
    """A request names a venue, a symbol, a fault or an agent that does not exist here."""
