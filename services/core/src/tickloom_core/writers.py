"""Recognises batches that the bus stored twice.

A batch is named for ever by (writer, writer sequence). JetStream drops repeats only within its window and only while it
remembers them: after a crash of the server it does not (interest retention), so a resent batch can be stored twice.
The repeat lies at most a publisher's window behind the first, so the last few sequences of each writer are enough.
"""

from __future__ import annotations

import base64
import zlib
from collections import OrderedDict
from typing import Final

import msgspec

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

    def pack(self) -> str:
        """Return the window as text, as stores keep it beside the position: base64 of zlib of JSON.

        A writer's batches are spread over the partitions, so its sequences in one of them have gaps everywhere: as
        plain ranges 4,096 of them take 38 kB, as packed differences 3.6 kB.
        """
        differences: dict[str, list[int]] = {}
        for writer, ranges in self.to_ranges().items():
            flat = differences[writer] = []
            end = 0
            for first, last in ranges:
                flat += (first - end, last - first)
                end = last
        return base64.b64encode(zlib.compress(msgspec.json.encode(differences))).decode()

    @classmethod
    def unpack(cls, text: str) -> WriterWindow:
        """Return the window that `pack` described.

        Raises:
            ValueError: the text is no such window.
        """
        try:
            data = zlib.decompress(base64.b64decode(text, validate=True))
            differences = msgspec.json.decode(data, type=dict[str, list[int]])
        except (ValueError, zlib.error, msgspec.DecodeError) as error:
            raise ValueError(f"no packed window of writers: {error}") from error
        ranges: dict[str, list[list[int]]] = {}
        for writer, flat in differences.items():
            spans = ranges[writer] = []
            end = 0
            for gap, length in zip(flat[::2], flat[1::2], strict=True):
                spans.append([end + gap, end + gap + length])
                end += gap + length
        return cls.from_ranges(ranges)
