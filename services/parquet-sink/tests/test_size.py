"""What a trade costs on disk, on real trades."""

from __future__ import annotations

import gzip
import json

from tickloom_parquet_sink.encoding import encode_chunk

_BATCH_NS = 20_000_000


def read_trades(corpus):
    """Return the recorded trades as rows and ids, in batches of 20 ms."""
    batches = []
    start_ns = 0
    with gzip.open(corpus / "recordings" / "binance_btcusdt_2024.jsonl.gz", "rt") as lines:
        for line in lines:
            record = json.loads(line)
            trade = json.loads(record["data"]).get("data", {}) if record["type"] == "ws" else {}
            if trade.get("e") != "trade":
                continue
            if record["ns"] - start_ns > _BATCH_NS:
                batches.append(([], []))
                start_ns = record["ns"]
            row = {
                "symbol": "BTC/USDT",
                "exchange_time_us": trade["T"] * 1000,
                "receive_time_ns": record["ns"],
                "price": float(trade["p"]),
                "amount": float(trade["q"]),
                "side": 2 if trade["m"] else 1,
            }
            batches[-1][0].append(row)
            batches[-1][1].append(str(trade["t"]).encode())
    return batches


def test_bytes_a_trade(corpus, make_message, make_chunk):
    """Ten minutes of real trades over midnight take at most 9 bytes each, in two files, none lost."""
    messages = [
        make_message("trades", rows, ids, sequence=sequence)
        for sequence, (rows, ids) in enumerate(read_trades(corpus), start=1)
    ]
    files = encode_chunk(make_chunk(messages))
    assert [(file.entry.dt, file.entry.rows) for file in files] == [("2024-08-08", 9757), ("2024-08-09", 10147)]
    assert sum(file.entry.bytes for file in files) / 19_904 <= 9
