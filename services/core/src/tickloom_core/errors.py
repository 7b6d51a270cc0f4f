"""The errors of Tickloom.

    TickloomError
    ├── TransientError          trying again later can succeed
    │   ├── BusUnavailableError     NATS or JetStream does not answer
    │   └── SupersededError         another process has gone further with the same work
    └── PermanentError          trying again gives the same answer
        ├── ConfigError             the configuration file or a flag is wrong
        ├── TopologyError           the stream on the bus is not the one that was configured
        └── PoisonousMessageError   a message on the bus that nobody can read

Every message says what was found, where, and what to do: a service prints it as its one last line.
"""

from __future__ import annotations


class TickloomError(Exception):
    """Root of all errors that Tickloom raises on purpose."""


class TransientError(TickloomError):
    """Trying again later can succeed.

    Attributes:
        retry_after_s: how long the other side asked us to wait, or None when it did not say.
    """

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class PermanentError(TickloomError):
    """Trying again gives the same answer."""


class ConfigError(PermanentError):
    """The configuration file, a flag or an environment variable is wrong.

    Attributes:
        place: the file with its line, or the flag or variable concerned.
        path: the keys that lead to the value ("venues.binance.feed"), empty when there are none.
    """

    def __init__(self, message: str, *, place: str = "", path: str = "") -> None:
        where = ": ".join(part for part in (place, path) if part)
        super().__init__(f"{where}: {message}" if where else message)
        self.place = place
        self.path = path


class BusUnavailableError(TransientError):
    """NATS or JetStream cannot be reached or does not answer in time."""


class SupersededError(TransientError):
    """Another process has gone further with the same work: find out where it stands, and begin there."""


class TopologyError(PermanentError):
    """What stands on the bus is not what the configuration asks for."""


class PoisonousMessageError(PermanentError):
    """A message on the bus cannot be read by anyone; it is set aside with this reason."""
