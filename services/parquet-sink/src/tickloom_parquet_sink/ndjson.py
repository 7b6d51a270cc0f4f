"""Tables to lines of JSON, with Arrow's own kernels: no row is touched in Python.

One object a row; its keys are the columns of the schema, in that order, without those that are null. Numbers are
numbers, times in ns too; `exchange_time` is text as in RFC 3339, with microseconds. JSON has no infinities: they are
left out like nulls.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, cast

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

_PIECE_BYTES: Final = 8 * 1024**2
"""Columns that become text at once; as text they are about five times as much."""
_TO_ESCAPE: Final = r'["\\\x00-\x1f]'
_NONE: Final = pa.scalar(None, pa.string())


def encode_lines(table: pa.Table) -> Iterator[pa.Buffer]:
    """Yield the rows as lines, piece by piece."""
    rows = max(1, table.num_rows * _PIECE_BYTES // max(1, table.nbytes))
    for start in range(0, table.num_rows, rows):
        yield _encode_piece(table.slice(start, rows))


def _encode_piece(table: pa.Table) -> pa.Buffer:
    members = [_concat(f'"{name}":', _write_values(table[name].combine_chunks())) for name in table.schema.names]
    objects = pc.binary_join_element_wise(*members, ",", null_handling="skip")  # type: ignore[call-overload]  # the stubs want all alike
    # Arrow keeps the texts of a column one behind the other: that is the file.
    return cast("pa.Buffer", _concat("{", objects, "}\n").buffers()[2])


def _write_values(values: pa.Array[Any]) -> pa.Array[Any]:
    """Return each value as JSON; null stays null."""
    match values:
        case pa.DictionaryArray():
            return _quote(values.dictionary).take(values.indices)
        case pa.StringArray():
            return _quote(values)
        case pa.TimestampArray():
            return _concat('"', pc.replace_substring(values.cast(pa.string()), " ", "T", max_replacements=1), '"')
        case pa.ListArray():
            numbers = pa.ListArray.from_arrays(values.offsets, _write_values(values.values).fill_null("null"))
            return _concat("[", pc.binary_join(numbers, ","), "]")
        case pa.DoubleArray():
            return cast("pa.Array[Any]", pc.if_else(pc.is_finite(values), values.cast(pa.string()), _NONE))
        case _:
            return cast("pa.Array[Any]", values.cast(pa.string()))


def _quote(texts: pa.Array[Any]) -> pa.Array[Any]:
    if pc.any(pc.match_substring_regex(texts, _TO_ESCAPE)).as_py():
        # Rare: a sentence of an event, the id of a strange venue.
        quoted = [None if text is None else msgspec.json.encode(text).decode() for text in texts.to_pylist()]
        return pa.array(quoted, pa.string())
    return _concat('"', texts, '"')


def _concat(*texts: Any) -> pa.Array[Any]:  # noqa: ANN401 - texts and columns of texts
    """Return the texts of each row one behind the other; null where one is null."""
    joined: pa.Array[Any] = pc.binary_join_element_wise(*texts, "")
    return joined
