"""Rows in the binary format of COPY: https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format".

A row is the number of its fields (int16), and for each field its length in bytes (int32, -1 for null) and its value in
network byte order. Of all ways into PostgreSQL this one costs both sides least: no text is written, none is parsed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain, repeat
from struct import Struct
from typing import Any, Final

from sqlalchemy import BigInteger, DateTime, Double, Text
from sqlalchemy.dialects.postgresql import ARRAY

from tickloom_sql_sink.rows import Rows

SIGNATURE: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER: Final = b"\xff\xff"

_NULL: Final = b"\xff\xff\xff\xff"
_EPOCH_US: Final = 946_684_800 * 10**6
"""2000-01-01, from which PostgreSQL counts."""
_FLOAT8_OID: Final = 701
_INT64_BYTES: Final = 8
_pack_length: Final = Struct(">i").pack
_pack_count: Final = Struct(">h").pack
_pack_int: Final = Struct(">iq").pack
_pack_float: Final = Struct(">id").pack
_pack_array: Final = Struct(">3i").pack
_pack_dimension: Final = Struct(">2i").pack
_Fields = Sequence[bytes] | Iterable[bytes]


def encode_rows(rows: Rows) -> bytes:
    """Return the rows as they stand between the signature and the trailer of COPY's data."""
    fields = [
        _ENCODERS[type(column.type)](values) for column, values in zip(rows.table.columns, rows.columns, strict=True)
    ]
    return b"".join(chain.from_iterable(zip(repeat(_pack_count(len(fields))), *fields, strict=False)))


def _encode_ints(values: Sequence[int | None]) -> _Fields:
    if None in values:
        return [_NULL if value is None else _pack_int(_INT64_BYTES, value) for value in values]
    return map(_pack_int, repeat(_INT64_BYTES), values)


def _encode_times(times_us: Sequence[int | None]) -> _Fields:
    return [_NULL if time_us is None else _pack_int(_INT64_BYTES, time_us - _EPOCH_US) for time_us in times_us]


def _encode_floats(values: Sequence[float | None]) -> _Fields:
    if None in values:
        return [_NULL if value is None else _pack_float(_INT64_BYTES, value) for value in values]
    return map(_pack_float, repeat(_INT64_BYTES), values)


class _Texts(dict[str | None, bytes]):
    """Texts and their fields; names come again and again, ids do not, and are forgotten with the batch."""

    def __missing__(self, text: str | None) -> bytes:
        if text is None:
            field = _NULL
        else:
            raw = text.encode()
            field = _pack_length(len(raw)) + raw
        self[text] = field
        return field


def _encode_texts(values: Sequence[str | None]) -> _Fields:
    return map(_Texts().__getitem__, values)


def _encode_levels(rows: Sequence[Sequence[float | None]]) -> _Fields:
    return [*map(_encode_array, rows)]


def _encode_array(values: Sequence[float | None]) -> bytes:
    """Return a float8[] as PostgreSQL's array_recv reads it: one dimension that counts from 1, or none when empty."""
    body = _pack_array(bool(values), None in values, _FLOAT8_OID)
    if values:
        body += _pack_dimension(len(values), 1) + b"".join(_encode_floats(values))
    return _pack_length(len(body)) + body


_ENCODERS: Final[dict[type[Any], Callable[[Sequence[Any]], _Fields]]] = {
    ARRAY: _encode_levels,
    BigInteger: _encode_ints,
    DateTime: _encode_times,
    Double: _encode_floats,
    Text: _encode_texts,
}
