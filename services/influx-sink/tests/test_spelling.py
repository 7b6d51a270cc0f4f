"""Line protocol: what is written is what a reader of the protocol finds."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickloom_core.columns import MISSING_INT
from tickloom_influx_sink.spelling import (
    escape_tag,
    join_fields,
    join_lines,
    quote,
    spell_floats,
    spell_head,
    spell_ints,
    spell_numbers,
    spell_texts,
)

TEXTS = st.text(st.characters(codec="utf-8"), max_size=12)
SPEAKABLE = TEXTS.filter(lambda text: not re.search(r"\\([,= ]|\Z)|[\n\r\t]", text))
TAGS = st.dictionaries(st.sampled_from(["exchange", "side", "symbol"]), SPEAKABLE)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
INTS = st.integers(MISSING_INT + 1, 2**63 - 1)

_HEAD = re.compile(r"((?:\\.|[^ ])*) ", re.DOTALL)
_TAG = re.compile(r",((?:\\.|[^,=])*)=((?:\\.|[^,])*)", re.DOTALL)
_FIELD = re.compile(r',?([^=]+)=("(?:\\.|[^"\\])*"|[^, ]+)', re.DOTALL)


def read_line(line):
    """Return measurement, tags, fields and time of a line, as the protocol's reference says."""
    head = _HEAD.match(line)
    body, _, time = line[head.end() :].rpartition(" ")
    measurement, comma, tags = head[1].partition(",")
    fields = {name: read_value(text) for name, text in _FIELD.findall(body)}
    assert sum(len(match[0]) for match in _FIELD.finditer(body)) == len(body)
    return measurement, {n: re.sub(r"\\([,= ])", r"\1", v) for n, v in _TAG.findall(comma + tags)}, fields, int(time)


def read_value(text):
    if text.startswith('"'):
        return re.sub(r'\\(["\\])', r"\1", text[1:-1])
    return int(text[:-1]) if text.endswith("i") else float(text)


@given(
    st.dictionaries(st.sampled_from(["exchange", "side", "symbol"]), SPEAKABLE), TEXTS.filter(len), FLOATS, INTS, INTS
)
def test_a_line_reads_back(tags, text, number, count, time_ns):
    """Tags, texts, numbers and times come out of a line as they went in; an empty tag is left out."""
    fields = join_fields([spell_texts("s", [text]), spell_floats("f", [number]), spell_ints("i", [count])])
    head = spell_head("m", *tags.items())
    line = join_lines([head], fields, spell_numbers([time_ns])).removesuffix("\n")
    known = {name: value for name, value in tags.items() if value}
    assert read_line(line) == ("m", known, {"s": text, "f": number, "i": count}, time_ns)


ROW = st.tuples(st.floats(allow_infinity=False), st.integers(MISSING_INT, 2**63 - 1), TEXTS)


@given(st.lists(ROW, min_size=1, max_size=8))
def test_what_is_missing_is_left_out(rows):
    """NaN, INT64_MIN and an empty text are no fields; a row without fields is empty."""
    floats, ints, ids = zip(*rows, strict=True)
    fields = join_fields([spell_floats("f", floats), spell_ints("i", ints), spell_texts("id", ids)])
    assert len(fields) == len(rows)
    for found, (number, count, text) in zip(fields, rows, strict=True):
        known = {"f": number, "i": count, "id": text}
        if math.isnan(number):
            del known["f"]
        if count == MISSING_INT:
            del known["i"]
        if not text:
            del known["id"]
        assert (read_line(f"m {found} 0")[2] if found else {}) == known


@pytest.mark.parametrize(
    ("value", "spelled"),
    [
        ("BTC/USDT", "BTC/USDT"),
        ("BTC/USDT:USDT", "BTC/USDT:USDT"),
        ("a,b=c d", r"a\,b\=c\ d"),
        (r"back\slash", r"back\slash"),
        ("end\\", "end"),
        (r"before\,comma", r"before\,comma"),
        ("two\nlines\r\t", r"two\nlines\r\t"),
        ("\\", ""),
    ],
)
def test_tags(value, spelled):
    """Commas, equals signs and spaces are escaped; what has no spelling is replaced or left out."""
    assert escape_tag(value) == spelled


def test_a_tag_of_nothing_speakable():
    """A tag of which nothing is left is no tag."""
    assert spell_head("m", ("a", "\\"), ("b", "x")) == "m,b=x"


@pytest.mark.parametrize(("text", "spelled"), [("", '""'), ('say "no"', r'"say \"no\""'), ("a\\b\n", '"a\\\\b\n"')])
def test_texts(text, spelled):
    """Quotes and backslashes are escaped; a newline stays."""
    assert quote(text) == spelled


def test_a_text_with_the_letter_that_parts_rows():
    """A text may hold NUL, by which rows are parted when they are joined."""
    columns = [spell_texts("id", ["a\0", "b"]), spell_floats("f", [1.5, 2.0])]
    assert join_fields(columns) == ['id="a\0",f=1.5', 'id="b",f=2.0']
