"""A recorded session through the whole system: what is stored equals the recording, computed another way."""

from __future__ import annotations

import gzip
import json
import math
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support import stored
from tests.support.simulator import AGENT
from tests.support.stack import wait_until

RECORDING = "recordings/binance_btcusdt_2024.jsonl.gz"
SYMBOL = "BTC/USDT"
SPEED = 30
TOP = 5


@dataclass
class Recording:
    """What the recording says, read without Tickloom."""

    trades: dict[str, tuple[float, float]] = field(default_factory=dict)
    tops: dict[int, tuple[list, list]] = field(default_factory=dict)


def read_recording(path: Path) -> Recording:
    """Read trades, and rebuild the top of the book after each depth frame from the frames and the one snapshot."""
    recording = Recording()
    snapshot: dict = {}
    frames = []
    with gzip.open(path, "rt") as lines:
        for line in lines:
            entry = json.loads(line)
            if entry["type"] == "http" and entry["path"].startswith("/api/v3/depth"):
                snapshot = json.loads(entry["body"])
            elif entry["type"] == "ws":
                message = json.loads(entry["data"])
                if message["stream"].endswith("@trade"):
                    data = message["data"]
                    recording.trades[str(data["t"])] = (float(data["p"]), float(data["q"]))
                elif "@depth" in message["stream"]:
                    frames.append(message["data"])
    recording.tops = rebuild_tops(snapshot, [frame for frame in frames if frame["u"] > snapshot["lastUpdateId"]])
    return recording


def rebuild_tops(snapshot: dict, frames: list[dict]) -> dict[int, tuple[list, list]]:
    """Return the best bids and asks after each frame, by its update id."""
    sides = {side: {float(p): float(q) for p, q in snapshot[name]} for side, name in (("b", "bids"), ("a", "asks"))}
    tops = {}
    for frame in frames:
        for name, side in sides.items():
            for price, amount in frame[name]:
                if float(amount):
                    side[float(price)] = float(amount)
                else:
                    side.pop(float(price), None)
        bids = sorted(sides["b"].items(), reverse=True)[:TOP]
        tops[frame["u"]] = (bids, sorted(sides["a"].items())[:TOP])
    return tops


@pytest.mark.timeout(300)
@pytest.mark.parametrize("feed", ["ccxt", "auto"])
def test_recorded_session(make_stack, corpus, feed):
    """19,904 trades contiguous over midnight, their sums, and the top 5 of every book equal the recording."""

    def narrow(config):
        channels = {"trades": {"symbols": [SYMBOL]}, "books": {"symbols": [SYMBOL], "depth": 10}}
        config["venues"]["binance"].update(feed=feed, channels=channels)

    path = corpus / RECORDING
    stack = make_stack(f"--replay={path}", f"--speed={SPEED}", adjust=narrow)

    def subscribed() -> bool:
        stack.assert_running()
        connections = stack.simulator.call("GET", "/status")["connections"]
        carried = [row["subscriptions"] for row in connections if row["agent"] == AGENT]
        return all(any(SYMBOL in row[channel] for row in carried) for channel in ("trades", "books"))

    wait_until(subscribed, within_s=60, what="the collector has subscribed to trades and depth")
    stack.simulator.call("POST", "/replay/start")
    wait_until(
        lambda: stack.simulator.call("GET", "/replay")["state"] == "finished", within_s=120, what="the replay is over"
    )
    stack.wait_for_stored()

    recording = read_recording(path)
    trades = stored.read_table(stack.root, "trades")
    assert trades.num_rows == len(recording.trades) == 19_904
    ids = trades["trade_id"].to_pylist()
    assert set(ids) == set(recording.trades)
    numbers = sorted(int(trade_id) for trade_id in ids)
    assert numbers[-1] - numbers[0] + 1 == len(numbers), "ids are contiguous"
    price, amount = trades["price"].to_pylist(), trades["amount"].to_pylist()
    assert math.isclose(math.fsum(amount), math.fsum(q for _, q in recording.trades.values()), rel_tol=1e-12)
    stored_cost = math.fsum(p * q for p, q in zip(price, amount, strict=True))
    assert math.isclose(stored_cost, math.fsum(p * q for p, q in recording.trades.values()), rel_tol=1e-12)
    days = {time.date().isoformat() for time in trades["exchange_time"].to_pylist()}
    assert days == {"2024-08-08", "2024-08-09"}

    books = stored.read_table(stack.root, "books")
    assert sorted(books["sequence"].to_pylist()) == sorted(recording.tops)
    for row in books.to_pylist():
        bids = list(zip(row["bid_price"], row["bid_amount"], strict=True))[:TOP]
        asks = list(zip(row["ask_price"], row["ask_amount"], strict=True))[:TOP]
        assert (bids, asks) == recording.tops[row["sequence"]], row["sequence"]
