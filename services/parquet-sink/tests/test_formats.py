"""The formats of files: what is in them can be read by common tools, in every compression."""

from __future__ import annotations

import json

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings, strategies

from tickloom_core.columns import MISSING_FLOAT, MISSING_INT
from tickloom_core.config import ParquetSinkConfig
from tickloom_core.errors import ConfigError
from tickloom_parquet_sink.encoding import encode_chunk
from tickloom_parquet_sink.formats import choose_format
from tickloom_parquet_sink.ndjson import encode_lines
from tickloom_parquet_sink.partitioning import Layout
from tickloom_parquet_sink.tables import build_parts

NOON_NS = 1_795_262_400 * 10**9
TRADE = {
    "symbol": "BTC/USDT",
    "exchange_time_us": NOON_NS // 1000 + 123,
    "receive_time_ns": NOON_NS + 7,
    "price": 60_000.0,
    "amount": 0.1 + 0.2,
    "side": 2,
}
BOOK = {
    "symbol": "BTC/USDT",
    "exchange_time_us": MISSING_INT,
    "receive_time_ns": NOON_NS,
    "sequence": 41,
    "kind": 1,
    "bid_count": 2,
    "bid_price": [10.0, 9.0],
    "bid_amount": [1.5, MISSING_FLOAT],
    "ask_count": 0,
    "previous_sequence": MISSING_INT,
}


def encode(chunk, **config):
    return list(encode_chunk(chunk, Layout(), choose_format(ParquetSinkConfig(**config))))


def read_lines(file, compression="zstd"):
    with pa.CompressedInputStream(pa.BufferReader(file.data), compression) as stream:
        return [json.loads(line) for line in stream.read().decode().splitlines()]


@pytest.mark.parametrize(
    ("compression", "level", "codec"),
    [("zstd", None, "ZSTD"), ("zstd", 19, "ZSTD"), ("snappy", None, "SNAPPY"), ("lz4", None, "LZ4"), ("lz4", 9, "LZ4")],
)
def test_compressions_of_parquet(compression, level, codec, make_trades, make_chunk):
    """Every compression gives the same rows; the footer says which it is."""
    (file,) = encode(make_chunk([make_trades(1)]), compression=compression, compression_level=level)
    (default,) = encode(make_chunk([make_trades(1)]))
    metadata = pq.read_metadata(pa.BufferReader(file.data))
    assert metadata.row_group(0).column(0).compression == codec
    assert pq.read_table(pa.BufferReader(file.data)) == pq.read_table(pa.BufferReader(default.data))


def test_a_higher_level_is_smaller(make_trades, make_chunk):
    """The level reaches the encoder."""
    sizes = [encode(make_chunk([make_trades(1, 5000)]), compression_level=level)[0].data.size for level in (1, 19)]
    assert sizes[1] < sizes[0]


def test_a_trade_as_a_line(make_message, make_chunk):
    """A row is an object of its columns in order; numbers are numbers, the venue's time is text."""
    chunk = make_chunk([make_message("trades", [TRADE], [b"id-1"])])
    (file,) = encode(chunk, format="ndjson")
    assert file.entry.path.endswith(".ndjson.zst")
    (row,) = read_lines(file)
    assert list(row.items()) == [
        ("exchange", "binance"),
        ("symbol", "BTC/USDT"),
        ("exchange_time", "2026-11-21T12:00:00.000123Z"),
        ("receive_time_ns", NOON_NS + 7),
        ("price", 60_000),
        ("amount", 0.1 + 0.2),
        ("side", "sell"),
        ("trade_id", "id-1"),
        ("writer", "w"),
        ("shard", "binance.trades.0"),
        ("epoch", 3),
    ]


def test_unknown_values_are_left_out(make_message, make_chunk):
    """A null has no key; in a list it is null; what JSON has no number for is left out."""
    trade = TRADE | {"exchange_time_us": MISSING_INT, "price": float("inf"), "amount": MISSING_FLOAT, "side": 0}
    chunk = make_chunk([make_message("trades", [trade], [b""]), make_message("books", [BOOK])])
    books, trades = encode(chunk, format="ndjson")
    (row,) = read_lines(trades)
    assert row.keys() == {"exchange", "symbol", "receive_time_ns", "writer", "shard", "epoch"}
    (row,) = read_lines(books)
    assert (row["bid_price"], row["bid_amount"], row["ask_price"]) == ([10, 9], [1.5, None], [])
    assert row.keys() & {"previous_sequence", "exchange_time"} == set()


def test_ndjson_as_lz4(make_trades, make_chunk):
    """Lines can be compressed with lz4, in its frame format."""
    (file,) = encode(make_chunk([make_trades(1)]), format="ndjson", compression="lz4")
    assert file.entry.path.endswith(".ndjson.lz4")
    assert [row["trade_id"] for row in read_lines(file, "lz4")] == ["1-0", "1-1", "1-2"]


def test_duckdb_reads_lines(make_trades, make_chunk, tmp_path):
    """DuckDB reads a file of several frames with numbers and times as such."""
    (file,) = encode(make_chunk([make_trades(n, 40_000) for n in range(1, 5)]), format="ndjson")
    path = tmp_path / "trades.ndjson.zst"
    path.write_bytes(file.data)
    assert file.data.to_pybytes().count(b"\x28\xb5\x2f\xfd") > 1
    lines = duckdb.read_json(str(path), format="newline_delimited")
    found = lines.aggregate(
        "count(*), sum(price), typeof(any_value(exchange_time)), typeof(any_value(receive_time_ns))"
    ).fetchall()
    expected = 4 * sum(60_000.0 + row for row in range(40_000))
    assert found == [(160_000, expected, "TIMESTAMP WITH TIME ZONE", "BIGINT")]


@settings(deadline=None, max_examples=100)
@given(
    strategies.lists(
        strategies.tuples(
            strategies.text(min_size=1, max_size=8),
            strategies.floats(allow_nan=False, allow_infinity=False),
            strategies.none() | strategies.text(min_size=1, max_size=20),
        ),
        min_size=1,
        max_size=30,
    )
)
def test_lines_hold_the_rows(make_message, make_chunk, rows):
    """Whatever texts and numbers go in, the lines hold exactly these."""
    trades = [TRADE | {"symbol": symbol, "price": price} for symbol, price, _ in rows]
    ids = [b"" if trade_id is None else trade_id.encode() for *_, trade_id in rows]
    chunk = make_chunk([make_message("trades", trades, ids)])
    (part,) = build_parts(chunk.batches)
    text = b"".join(lines.to_pybytes() for lines in encode_lines(part.table)).decode()
    found = [json.loads(line) for line in text.removesuffix("\n").split("\n")]
    assert [(row["symbol"], row["price"], row.get("trade_id")) for row in found] == rows


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (
            {"format": "ndjson", "compression": "snappy"},
            "parquet_sink.compression: ndjson is compressed with zstd or lz4",
        ),
        ({"compression": "snappy", "compression_level": 3}, "parquet_sink.compression_level: snappy has no levels"),
        ({"compression_level": 23}, "parquet_sink.compression_level: zstd has levels -131072 to 22; found 23"),
        (
            {"compression": "lz4", "compression_level": 0},
            "parquet_sink.compression_level: lz4 has levels 1 to 12; found 0",
        ),
    ],
)
def test_settings_that_do_not_go_together(config, words):
    """A format, a compression and a level that do not go together are refused with the setting's name."""
    with pytest.raises(ConfigError, match=words):
        choose_format(ParquetSinkConfig(**config))
