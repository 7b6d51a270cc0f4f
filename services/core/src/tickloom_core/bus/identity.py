"""Which stream a sequence belongs to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StreamIdentity:
    """A stream, for ever: one that was deleted and made again counts from 1 again, and is another.

    Attributes:
        name: its name.
        created: when it was made, as JetStream says.
    """

    name: str
    created: str
