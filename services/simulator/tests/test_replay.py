"""A recording comes out as it went in, to ccxt and to bare clients, and the truth counts it."""

from __future__ import annotations

import gzip
import json

import pytest

TRADES = 19_904
FIRST_ID = "3735683259"


@pytest.fixture
def recording(corpus):
    return corpus / "recordings" / "binance_btcusdt_2024.jsonl.gz"


async def test_full_replay(start_simulator, recording):
    """All trades of eleven minutes reach a client at its own pace, in the recorded bytes, and are all counted."""
    with gzip.open(recording, "rt") as lines:
        frames = [json.loads(line)["data"] for line in lines if line.startswith('{"type":"ws"')]
    recorded = [json.loads(frame) for frame in frames if '"stream":"btcusdt@trade"' in frame]
    async with start_simulator(f"--replay={recording}", "--speed=0") as simulator:
        path = "/stream?streams=btcusdt@trade/btcusdt@depth@100ms"
        async with simulator.connect("binance", path) as probe:
            await simulator.call("POST", "/replay/start")
            await probe.read_until(lambda messages: len(messages) == TRADES + 6_495)
            truth = await simulator.call("GET", "/truth?agent=probe")
            progress = await simulator.call("GET", "/replay")
    rows = {row["channel"]: row for row in truth}
    assert [message for message in probe.messages if message["stream"] == "btcusdt@trade"] == recorded
    assert rows["trades"]["sent"] == TRADES
    assert rows["trades"]["first_key"] == FIRST_ID
    assert int(rows["trades"]["last_key"]) - int(FIRST_ID) == TRADES - 1
    amounts = [float(message["data"]["q"]) for message in recorded]
    assert rows["trades"]["sum_amount"] == pytest.approx(sum(amounts), rel=1e-12)
    assert rows["books"]["sent"] == 6_495
    assert progress["total_frames"] == len(frames)
    assert progress["sent_frames"] == TRADES + 6_495


async def test_replay_to_ccxt(start_simulator, recording):
    """Unmodified ccxt loads the recorded markets and follows trades and book; early frames are superseded."""
    flags = (f"--replay={recording}", "--speed=5", "--replay_autostart=2")
    async with start_simulator(*flags) as simulator, simulator.open_exchange("binance") as exchange:
        await exchange.load_markets()
        trade_ids = simulator.observe(
            exchange, lambda exchange: exchange.trades["BTC/USDT"][-1]["id"] if exchange.trades else None
        )
        async with (
            simulator.keep_calling(exchange.watch_trades, "BTC/USDT"),
            simulator.keep_calling(exchange.watch_order_book, "BTC/USDT"),
        ):
            await simulator.poll(lambda: len(trade_ids) >= 50)
            trades_sent, _ = await simulator.read_keys("binance", "trades", "BTC/USDT")
            books_sent, superseded = await simulator.read_keys("binance", "books", "BTC/USDT")
            await simulator.poll(lambda: trade_ids == trades_sent)
            await simulator.poll(lambda: exchange.orderbooks["BTC/USDT"]["nonce"] == books_sent[-1])
    assert trades_sent[0] == FIRST_ID
    assert superseded == [50093239202, 50093239207]


async def test_skip_in_a_replay(start_simulator, recording):
    """Faults strike recordings, too: skipped frames are neither received nor counted."""
    async with start_simulator(f"--replay={recording}", "--speed=0") as simulator:
        await simulator.add_fault("skip_book", "binance", symbol="BTC/USDT", count=100)
        await simulator.add_fault("mute", "binance", channel="trades")
        async with simulator.connect("binance", "/stream?streams=btcusdt@trade/btcusdt@depth@100ms") as probe:
            await simulator.call("POST", "/replay/start")
            await probe.read_until(lambda messages: len(messages) == 6_395)
            truth = await simulator.call("GET", "/truth?agent=probe")
    assert [(row["channel"], row["sent"]) for row in truth] == [("books", 6_395)]


async def test_replay_of_the_perpetual(start_simulator, corpus):
    """The perpetual's recording has no exchangeInfo: its symbols come from the meta line."""
    recording = corpus / "recordings" / "binanceusdm_2021_22.jsonl.gz"
    async with (
        start_simulator(f"--replay={recording}", "--speed=0") as simulator,
        simulator.connect("binanceusdm", "/ws/sushiusdt@aggTrade") as probe,
    ):
        await simulator.call("POST", "/replay/start")
        await simulator.poll(lambda: is_finished(simulator))
        keys = await simulator.call("GET", "/truth/keys?agent=probe&venue=binanceusdm&channel=trades")
        await probe.read_until(lambda messages: len(messages) == len(keys["SUSHI/USDT:USDT"]["sent"]))
    assert [str(message["a"]) for message in probe.messages] == keys["SUSHI/USDT:USDT"]["sent"] != []


async def is_finished(simulator) -> bool:
    return (await simulator.call("GET", "/replay"))["state"] == "finished"
