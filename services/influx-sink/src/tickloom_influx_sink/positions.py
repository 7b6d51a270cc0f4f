"""How far the sink has come: one point a partition, stream and hour, overwritten with every chunk.

    tickloom_positions,partition=<n>,stream=<name>/<created> last_sequence=<n>i,writer_window="<base64>" <hour>

It is written when InfluxDB has all lines of the chunk on its disk, so what it names is stored. The hour is that of this
machine's clock, and never goes back: the newest point is the one that was written last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tickloom_core.bus.identity import StreamIdentity
from tickloom_core.errors import PermanentError
from tickloom_core.sink import Chunk, Committed
from tickloom_core.writers import WriterWindow
from tickloom_influx_sink.spelling import quote, spell_head

MEASUREMENT: Final = "tickloom_positions"
ASK_PROBE: Final = "SELECT probed FROM tickloom_positions LIMIT 1"
"""Fails where the bucket may not be read; a SHOW would say that there is nothing."""

_HOUR_NS: Final = 3600 * 1_000_000_000


def find_hour_ns(time_ns: int) -> int:
    """Return the begin of the hour."""
    return time_ns // _HOUR_NS * _HOUR_NS


def spell_probe(hour_ns: int) -> str:
    """Return a line that no position is mistaken for."""
    return f"{MEASUREMENT} probed=1i {hour_ns}"


def spell_position(chunk: Chunk, hour_ns: int) -> str:
    """Return the line that commits a chunk."""
    head = spell_head(MEASUREMENT, ("partition", str(chunk.partition)), ("stream", _name_stream(chunk.stream)))
    window = quote(chunk.writers.pack())
    return f"{head} last_sequence={chunk.last_sequence}i,writer_window={window} {hour_ns}"


def ask_position(partition: int, stream: StreamIdentity) -> str:
    """Return the InfluxQL query for the newest position of this very stream."""
    name = _name_stream(stream).replace("\\", "\\\\").replace("'", "\\'")
    return f"""
        SELECT last_sequence, writer_window FROM {MEASUREMENT}
        WHERE "partition" = '{partition}' AND "stream" = '{name}' ORDER BY time DESC LIMIT 1
    """  # noqa: S608 - the name is quoted; InfluxQL has no parameters for a FROM clause


def read_position(rows: Sequence[Mapping[str, Any]]) -> tuple[Committed, int]:
    """Return what the answer says is committed, and the hour of the point; all zero when there is none.

    Raises:
        PermanentError: the point is not one that a sink has written.
    """
    if not rows:
        return Committed(0, WriterWindow()), 0
    row = rows[0]
    try:
        return Committed(int(row["last_sequence"]), WriterWindow.unpack(row["writer_window"])), int(row["time"])
    except (TypeError, ValueError) as error:
        raise PermanentError(
            f"the newest point of {MEASUREMENT} cannot be read ({error}); delete it, and the sink begins where "
            "JetStream's acknowledgements end"
        ) from error


def _name_stream(stream: StreamIdentity) -> str:
    """A stream that was deleted and made again counts from 1 again, and is another one."""
    return f"{stream.name}/{stream.created}"
