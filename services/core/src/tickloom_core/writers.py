"""Recognises batches that the bus stored twice.

A batch is named for ever by (writer, writer sequence). JetStream drops repeats only within its window and only while it
remembers them: after a crash of the server it does not (interest retention), so a resent batch can be stored twice.
The repeat lies at most a publisher's window behind the first, so the last few sequences of each writer are enough.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

WINDOW_SEQUENCES: Final = 4096
WINDOW_WRITERS: Final = 32


class WriterWindow:
    """The last sequences of the last writers of one partition.

    The state is a pure function of the messages noted, so that whoever reads the stream again arrives at the same.
    """

    def __init__(self) -> None:
        self._writers: OrderedDict[str, OrderedDict[int, None]] = OrderedDict()

    def note(self, writer: str, sequence: int) -> bool:
        """Note a batch; return False when it was seen before."""
        seen = self._writers.get(writer)
        if seen is None:
            seen = self._writers[writer] = OrderedDict()
            if len(self._writers) > WINDOW_WRITERS:
                self._writers.popitem(last=False)
        self._writers.move_to_end(writer)
        if sequence in seen:
            return False
        seen[sequence] = None
        if len(seen) > WINDOW_SEQUENCES:
            seen.popitem(last=False)
        return True

    def copy(self) -> WriterWindow:
        """Return an independent copy."""
        twin = WriterWindow()
        twin._writers = OrderedDict((writer, seen.copy()) for writer, seen in self._writers.items())
        return twin

    def to_ranges(self) -> dict[str, list[list[int]]]:
        """Return the window as inclusive ranges of sequences by writer, oldest writer first, in order of arrival."""
        ranges: dict[str, list[list[int]]] = {}
        for writer, seen in self._writers.items():
            spans: list[list[int]] = []
            for sequence in seen:
                if spans and spans[-1][1] + 1 == sequence:
                    spans[-1][1] = sequence
                else:
                    spans.append([sequence, sequence])
            ranges[writer] = spans
        return ranges

    @classmethod
    def from_ranges(cls, ranges: dict[str, list[list[int]]]) -> WriterWindow:
        """Return the window that `to_ranges` described."""
        window = cls()
        for writer, spans in ranges.items():
            window._writers[writer] = OrderedDict.fromkeys(
                sequence for first, last in spans for sequence in range(first, last + 1)
            )
        return window
