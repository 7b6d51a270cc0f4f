"""From batches to tables and files: values, nulls, days, dictionaries, footers."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings, strategies

from tickloom_core.columns import LEVEL_COUNTS, MISSING_FLOAT, MISSING_INT, TickerBuffer
from tickloom_core.wire import decode
from tickloom_parquet_sink.encoding import encode_chunk
from tickloom_parquet_sink.schemas import SCHEMAS
from tickloom_parquet_sink.tables import build_parts

NOON_NS = 1_795_262_400 * 10**9
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
MIDNIGHT_NS = NOON_NS + 12 * 3600 * 10**9
PROVENANCE = {"writer": "w", "epoch": 3}


def make_rows(parts):
    return [row for part in parts for row in part.table.to_pylist()]


def make_trade(**changes):
    row = {
        "symbol": "BTC/USDT",
        "exchange_time_us": NOON_NS // 1000,
        "receive_time_ns": NOON_NS + 7,
        "price": 60_000.5,
        "amount": 0.25,
        "side": 2,
    }
    return row | changes


def make_book(**changes):
    row = {
        "symbol": "BTC/USDT",
        "exchange_time_us": NOON_NS // 1000,
        "receive_time_ns": NOON_NS,
        "sequence": 41,
        "kind": 1,
        "bid_count": 2,
        "bid_price": [10.0, 9.0],
        "bid_amount": [1.0, 2.0],
        "ask_count": 1,
        "ask_price": [11.0],
        "ask_amount": [3.0],
        "previous_sequence": MISSING_INT,
    }
    return row | changes


def test_trade(make_message):
    """A trade comes out as it went in, with where it comes from."""
    (part,) = build_parts([decode(make_message("trades", [make_trade()], [b"id-1"]))])
    assert (part.channel, part.exchange, part.day) == ("trades", "binance", "2026-11-21")
    assert part.table.to_pylist() == [
        {
            "exchange": "binance",
            "symbol": "BTC/USDT",
            "exchange_time": NOON,
            "receive_time_ns": NOON_NS + 7,
            "price": 60_000.5,
            "amount": 0.25,
            "side": "sell",
            "trade_id": "id-1",
            "shard": "binance.trades.0",
            **PROVENANCE,
        }
    ]


def test_missing_values_are_null(make_message):
    """What the wire calls missing is null in every column that can be missing; 0 stays 0."""
    missing = make_trade(exchange_time_us=MISSING_INT, price=MISSING_FLOAT, amount=MISSING_FLOAT, side=0)
    zero = make_trade(exchange_time_us=0, price=0.0, amount=-0.0, side=1)
    unknown_code = make_trade(side=9)
    rows = make_rows(build_parts([decode(make_message("trades", [missing, zero, unknown_code], [b"", b"0", b"x"]))]))
    names = ("exchange_time", "price", "amount", "side", "trade_id")
    assert [rows[0][name] for name in names] == [None] * 5
    assert [rows[1][name] for name in names] == [datetime(1970, 1, 1, tzinfo=UTC), 0.0, -0.0, "buy", "0"]
    assert rows[2]["side"] is None


def test_ticker(make_message):
    """Every number of a ticker keeps its own column, and each alone can be missing."""
    base = {"symbol": "A/B", "exchange_time_us": MISSING_INT, "receive_time_ns": NOON_NS}
    numbers = {name: float(position) for position, name in enumerate(TickerBuffer.numbers)}
    rows = [base | numbers] + [base | numbers | {name: MISSING_FLOAT} for name in TickerBuffer.numbers]
    found = make_rows(build_parts([decode(make_message("tickers", rows))]))
    assert {name: found[0][name] for name in TickerBuffer.numbers} == numbers
    for name, row in zip(TickerBuffer.numbers, found[1:], strict=True):
        assert [other for other in TickerBuffer.numbers if row[other] is None] == [name]


def test_ticker_columns_are_fixed():
    """The columns of stored tickers are a contract: a new one goes to the end and raises the schema's version."""
    assert SCHEMAS["tickers"].version == 1
    assert " ".join(SCHEMAS["tickers"].schema.names) == (
        "exchange symbol exchange_time receive_time_ns last bid bid_amount ask ask_amount open high low vwap "
        "base_volume quote_volume change_percent writer shard epoch"
    )


def test_book(make_message):
    """Levels go to the row that counts them, also when a row has none and when a batch follows another."""
    delta = make_book(
        kind=2, sequence=42, previous_sequence=41, bid_count=0, bid_price=[], bid_amount=[], ask_amount=[0.0]
    )
    messages = [make_message("books", [make_book(), delta]), make_message("books", [make_book(sequence=MISSING_INT)])]
    rows = make_rows(build_parts(map(decode, messages)))
    assert [row["kind"] for row in rows] == ["snapshot", "delta", "snapshot"]
    assert [row["sequence"] for row in rows] == [41, 42, None]
    assert [row["previous_sequence"] for row in rows] == [None, 41, None]
    assert [[row[name] for name in LEVEL_COUNTS] for row in rows] == [
        [[10.0, 9.0], [1.0, 2.0], [11.0], [3.0]],
        [[], [], [11.0], [0.0]],
        [[10.0, 9.0], [1.0, 2.0], [11.0], [3.0]],
    ]


def test_event(make_message):
    """An event keeps its texts and numbers; empty texts are null."""
    full = {
        "symbol": "BTC/USDT",
        "kind": "gap",
        "subject_channel": "trades",
        "detail": "lost 5",
        "receive_time_ns": NOON_NS,
        "count": 5,
        "range_start_ns": 1,
        "range_end_ns": 2,
    }
    texts = dict.fromkeys(("symbol", "subject_channel", "detail"), "")
    numbers = dict.fromkeys(("count", "range_start_ns", "range_end_ns"), MISSING_INT)
    bare = {"kind": "connect", "receive_time_ns": NOON_NS} | texts | numbers
    rows = make_rows(build_parts([decode(make_message("events", [full, bare]))]))
    whence = {"exchange": "binance", "shard": "binance.events.0"} | PROVENANCE
    assert rows == [full | whence, bare | dict.fromkeys([*texts, *numbers]) | whence]


def test_dictionaries_are_unified(make_message):
    """Batches number their symbols each in its own way; a table has one dictionary, in order of first appearance."""
    messages = [
        make_message("trades", [make_trade(symbol=symbol) for symbol in symbols], [b"1"] * len(symbols), writer=writer)
        for symbols, writer in ((["A", "B"], "w1"), (["B", "C", "A"], "w2"), (["C"], "w1"))
    ]
    (part,) = build_parts(map(decode, messages))
    symbols = part.table["symbol"].combine_chunks()
    assert symbols.to_pylist() == ["A", "B", "B", "C", "A", "C"]
    assert symbols.dictionary.to_pylist() == ["A", "B", "C"]
    assert part.table["writer"].to_pylist() == ["w1", "w1", "w2", "w2", "w2", "w1"]


def test_midnight_splits_rows(make_message):
    """A batch over midnight UTC becomes two parts, the last nanosecond before it in the first."""
    times = (MIDNIGHT_NS - 1, MIDNIGHT_NS, MIDNIGHT_NS - 2, MIDNIGHT_NS + 1)
    rows = [make_trade(receive_time_ns=time) for time in times]
    parts = build_parts([decode(make_message("trades", rows, [b"1", b"2", b"3", b"4"]))])
    assert [(part.day, part.table["trade_id"].to_pylist()) for part in parts] == [
        ("2026-11-21", ["1", "3"]),
        ("2026-11-22", ["2", "4"]),
    ]


def test_channels_and_exchanges_are_apart(make_message):
    """Every channel and exchange of a chunk becomes a part of its own, sorted by name; batches without rows none."""
    messages = [
        make_message("trades", [make_trade()], [b"1"], exchange="kraken"),
        make_message("books", [make_book()]),
        make_message("tickers", []),
        make_message("trades", [make_trade()], [b"2"], exchange="binance"),
    ]
    parts = build_parts(map(decode, messages))
    assert [(part.channel, part.exchange) for part in parts] == [
        ("books", "binance"),
        ("trades", "binance"),
        ("trades", "kraken"),
    ]


def test_an_id_that_is_no_text_keeps_its_trade(make_message):
    """Bytes of an id that are no UTF-8 are replaced; the trade and its neighbours stay."""
    (part,) = build_parts([decode(make_message("trades", [make_trade()] * 3, [b"a", b"\xff\xfe", b""]))])
    assert part.table["trade_id"].to_pylist() == ["a", "��", None]


@pytest.mark.parametrize("channel", SCHEMAS)
def test_schema_of_files(channel, make_message, make_chunk):
    """A file read back has the schema that is written down, types and nullability included."""
    rows = {
        "trades": [make_trade()],
        "books": [make_book()],
        "tickers": [
            {"symbol": "A", "exchange_time_us": 1, "receive_time_ns": 1} | dict.fromkeys(TickerBuffer.numbers, 1.0)
        ],
        "events": [
            {"symbol": "", "kind": "k", "subject_channel": "", "detail": "", "receive_time_ns": 1}
            | dict.fromkeys(("count", "range_start_ns", "range_end_ns"), 1)
        ],
    }
    (file,) = encode_chunk(make_chunk([make_message(channel, rows[channel], [b"1"])]))
    assert pq.ParquetFile(pa.BufferReader(file.data)).schema_arrow.remove_metadata() == SCHEMAS[channel].schema


def test_footer(make_trades, make_chunk):
    """The footer says schema, stream, partition, sequences and software; each column is encoded as decided."""
    (file,) = encode_chunk(make_chunk([make_trades(1), make_trades(2)], first=5, partition=3))
    metadata = pq.read_metadata(pa.BufferReader(file.data))
    facts = {key.decode(): value.decode() for key, value in metadata.metadata.items() if key.startswith(b"tickloom.")}
    assert facts.pop("tickloom.software").startswith("tickloom-parquet-sink ")
    assert facts == {
        "tickloom.schema": "trades/1",
        "tickloom.stream": "MARKETDATA",
        "tickloom.stream_created": "2026-11-21T05:15:13.334000223Z",
        "tickloom.partition": "3",
        "tickloom.first_sequence": "5",
        "tickloom.last_sequence": "6",
    }
    columns = {
        column.path_in_schema: column for column in map(metadata.row_group(0).column, range(metadata.num_columns))
    }
    assert {column.compression for column in columns.values()} == {"ZSTD"}
    assert "DELTA_BINARY_PACKED" in columns["receive_time_ns"].encodings
    assert "DELTA_BYTE_ARRAY" in columns["trade_id"].encodings
    assert "RLE_DICTIONARY" in columns["price"].encodings
    with_statistics = {name for name, column in columns.items() if column.is_stats_set}
    assert with_statistics == {"symbol", "exchange_time", "receive_time_ns"}


def test_foreign_exchange_names_stay_in_the_root(make_trades, make_chunk):
    """An exchange's name cannot lead out of its folder."""
    (file,) = encode_chunk(make_chunk([make_trades(1, exchange="../../etc")]))
    assert file.entry.path.startswith("trades/exchange=..%2F..%2Fetc/dt=2026-11-21/0000-")


def test_hive_readers_understand_the_folders(make_trades, make_chunk, tmp_path):
    """A reader of hive folders sees exchange and dt as columns, beside those of the files."""
    for file in encode_chunk(make_chunk([make_trades(1), make_trades(2, exchange="kraken")])):
        path = tmp_path / file.entry.path
        path.parent.mkdir(parents=True)
        path.write_bytes(file.data)
    table = pq.read_table(tmp_path / "trades")
    assert sorted(set(table["exchange"].to_pylist())) == ["binance", "kraken"]
    assert set(map(str, table["dt"].to_pylist())) == {"2026-11-21"}
    only_kraken = ds.dataset(tmp_path / "trades").to_table(filter=ds.field("exchange") == "kraken")
    assert only_kraken.num_rows == 3


TRADE_ROWS = strategies.lists(
    strategies.tuples(
        strategies.sampled_from(["A/B", "C/D", "é:ü"]),
        strategies.none() | strategies.integers(-(2**50), 2**50),
        strategies.integers(NOON_NS, MIDNIGHT_NS + 10**9),
        strategies.none() | strategies.floats(allow_nan=False),
        strategies.none() | strategies.floats(allow_nan=False),
        strategies.sampled_from([None, "buy", "sell"]),
        strategies.none() | strategies.text(min_size=1, max_size=20),
    ),
    max_size=30,
)


@settings(deadline=None, max_examples=150)
@given(strategies.lists(TRADE_ROWS, min_size=1, max_size=6))
def test_rows_in_are_rows_out(make_message, make_chunk, groups):
    """Whatever trades go in, the files hold exactly these rows, in the order of the stream within a day."""
    codes = {None: 0, "buy": 1, "sell": 2}
    messages = [
        make_message(
            "trades",
            [
                {
                    "symbol": symbol,
                    "exchange_time_us": MISSING_INT if time_us is None else time_us,
                    "receive_time_ns": receive_ns,
                    "price": MISSING_FLOAT if price is None else price,
                    "amount": MISSING_FLOAT if amount is None else amount,
                    "side": codes[side],
                }
                for symbol, time_us, receive_ns, price, amount, side, _ in rows
            ],
            [b"" if trade_id is None else trade_id.encode() for *_, trade_id in rows],
            sequence=sequence,
        )
        for sequence, rows in enumerate(groups, start=1)
    ]
    found = []
    for file in encode_chunk(make_chunk(messages)):
        table = pq.read_table(pa.BufferReader(file.data))
        assert table.num_rows == file.entry.rows
        assert file.data.size == file.entry.bytes
        times = table["exchange_time"].cast(pa.int64()).to_pylist()
        rest = ("receive_time_ns", "price", "amount", "side", "trade_id")
        found += zip(table["symbol"].to_pylist(), times, *[table[name].to_pylist() for name in rest], strict=True)
    expected = [row for rows in groups for row in rows]
    assert found == sorted(expected, key=lambda row: row[2] >= MIDNIGHT_NS)
