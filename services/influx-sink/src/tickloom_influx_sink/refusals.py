"""Rows that InfluxDB refuses for ever, as messages that can be put back on the bus."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from zlib import crc32

from tickloom_core.rejections import Rejected
from tickloom_core.rows import pick_rows
from tickloom_core.sink import Chunk
from tickloom_core.wire import Batch


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A row by its number in the chunk, and why."""

    row: int
    reason: str


def describe_refusals(chunk: Chunk, refused: Iterable[RefusedRow]) -> Iterator[Rejected]:
    """Yield what is to be set aside: one message for the rows of a batch that are refused for the same reason."""
    ends = list(accumulate(batch.row_count for batch in chunk.batches))
    groups: dict[tuple[int, str], list[int]] = {}
    for refusal in sorted(refused, key=lambda refusal: refusal.row):
        number = bisect_right(ends, refusal.row)
        index = refusal.row - (ends[number] - chunk.batches[number].row_count)
        groups.setdefault((number, refusal.reason), []).append(index)
    for (number, reason), indices in groups.items():
        batch = chunk.batches[number]
        yield Rejected(
            partition=chunk.partition,
            channel=batch.header.channel,
            exchange=batch.header.exchange,
            key=_make_key(batch, indices),
            data=pick_rows(batch, indices),
            row_count=len(indices),
            reason=reason,
        )


def _make_key(batch: Batch, indices: list[int]) -> str:
    # Which rows are refused can differ when the chunk comes again (time has gone on): other rows are another key.
    digest = crc32(",".join(map(str, indices)).encode())
    return f"{batch.header.writer}-{batch.header.writer_sequence}-{digest:08x}"
