"""Every fault does to a client what its name says, and the truth stays true."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise

import aiohttp
import ccxt.pro
import pytest

SYMBOLS = {"binance": "BTC/USDT", "kraken": "BTC/USD", "coinbase": "BTC/USD"}
VENUES = tuple(SYMBOLS)
PATHS = {"binance": "/ws/btcusdt@trade", "kraken": "/v2", "coinbase": "/"}
TRADE_REQUESTS = {
    "binance": None,  # its path subscribes already
    "kraken": {"method": "subscribe", "params": {"channel": "trade", "symbol": ["BTC/USD"]}, "req_id": 1},
    "coinbase": {"type": "subscribe", "channel": "market_trades", "product_ids": ["BTC-USD"]},
}


def list_trade_ids(venue: str, messages: list) -> list[str]:
    """Return the ids of all trades in messages, in the order of the tape."""
    if venue == "binance":
        return [str(message["t"]) for message in messages if message.get("e") == "trade"]
    if venue == "kraken":
        trades = (message["data"] for message in messages if message.get("channel") == "trade")
        return [str(trade["trade_id"]) for data in trades for trade in data]
    events = (message["events"][0] for message in messages if message.get("channel") == "market_trades")
    return [trade["trade_id"] for event in events for trade in reversed(event["trades"])]


def list_book_kinds(messages: list) -> list[str]:
    """Return the types of Kraken's book messages."""
    return [message["type"] for message in messages if message.get("channel") == "book"]


async def subscribe_trades(probe, venue: str) -> None:
    if TRADE_REQUESTS[venue]:
        await probe.send(TRADE_REQUESTS[venue])


@pytest.mark.parametrize("venue", VENUES)
async def test_close_clean(simulator, venue):
    """A clean close comes as a close frame behind all data: nothing that was counted is lost."""
    async with simulator.connect(venue, PATHS[venue]) as probe:
        await subscribe_trades(probe, venue)
        await probe.read_until(lambda messages: len(list_trade_ids(venue, messages)) >= 20)
        await simulator.add_fault("close", venue, mode="clean")
        messages = await probe.read_to_end()
    received = await simulator.read_trade_ids(venue, SYMBOLS[venue], agent="probe")
    assert probe.end is aiohttp.WSMsgType.CLOSE
    assert list_trade_ids(venue, messages) == received


async def test_close_abort(simulator):
    """An abort is a TCP reset: the client sees no close frame."""
    async with simulator.connect("binance", PATHS["binance"]) as probe:
        await probe.read_until(lambda messages: len(messages) >= 5)
        await simulator.add_fault("close", "binance", mode="abort")
        await probe.read_to_end()
    assert probe.end in {aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR}
    assert probe.websocket.close_code in {None, 1006}


async def test_ccxt_sees_a_close(simulator):
    """ccxt reports a closed socket as NetworkError, and its next call connects again."""
    async with simulator.open_exchange("kraken") as exchange:
        await exchange.watch_trades("BTC/USD")
        await simulator.call("POST", "/pause")
        waiting = asyncio.create_task(exchange.watch_trades("BTC/USD"))
        await simulator.add_fault("close", "kraken", mode="clean")
        with pytest.raises(ccxt.pro.NetworkError):
            await waiting
        await simulator.call("POST", "/resume")
        await exchange.watch_trades("BTC/USD")


@pytest.mark.parametrize("fields", [{"symbol": "BTC/USD"}, {"channel": "trades"}, {}])
async def test_mute(simulator, fields):
    """A muted symbol is silent while heartbeats go on, and misses no id when it is heard again."""
    async with simulator.connect("kraken", "/v2") as probe:
        await subscribe_trades(probe, "kraken")
        await probe.read_until(lambda messages: len(list_trade_ids("kraken", messages)) >= 5)
        fault = await simulator.add_fault("mute", "kraken", **fields)
        silent_from = len(await probe.read_rest())
        sent, _ = await simulator.read_keys("kraken", "trades", "BTC/USD", agent="probe")
        assert list_trade_ids("kraken", probe.messages) == sent
        await simulator.call("POST", "/resume")
        await probe.read_until(lambda messages: messages[silent_from:].count({"channel": "heartbeat"}) >= 2)
        assert list_trade_ids("kraken", probe.messages) == sent
        await simulator.call("DELETE", f"/faults/{fault['id']}")
        await probe.read_until(lambda messages: len(list_trade_ids("kraken", messages)) > len(sent))
    ids = [int(trade_id) for trade_id in list_trade_ids("kraken", probe.messages)]
    assert ids == list(range(ids[0], ids[0] + len(ids)))


async def test_muted_snapshot_is_owed(simulator):
    """A book subscribed while muted begins with its snapshot when it is heard."""
    await simulator.add_fault("mute", "kraken", channel="books", seconds=0.5)
    async with simulator.connect("kraken", "/v2") as probe:
        await probe.send({"method": "subscribe", "params": {"channel": "book", "symbol": ["BTC/USD"]}})
        messages = await probe.read_until(
            lambda messages: len([m for m in messages if m.get("channel") == "book"]) >= 3
        )
    kinds = [message["type"] for message in messages if message.get("channel") == "book"]
    assert kinds == ["snapshot", "update", "update"]


@pytest.mark.parametrize("venue", VENUES)
async def test_ack_without_data(simulator, venue):
    """A subscription made under the fault is acknowledged and stays empty; one made before it is not touched."""
    requests = {
        **TRADE_REQUESTS,
        "binance": {"method": "SUBSCRIBE", "params": ["btcusdt@trade"], "id": 1},
    }
    async with (
        simulator.connect(venue, PATHS[venue], agent="before") as before,
        simulator.connect(venue, "/ws" if venue == "binance" else PATHS[venue], agent="after") as after,
    ):
        await subscribe_trades(before, venue)
        await before.read_until(lambda messages: list_trade_ids(venue, messages))
        await simulator.add_fault("ack_without_data", venue, channel="trades")
        await after.send(requests[venue])
        acknowledged = {
            "binance": lambda message: message == {"result": None, "id": 1},
            "kraken": lambda message: message.get("success") is True,
            "coinbase": lambda message: message["channel"] == "subscriptions",
        }[venue]
        await after.read_until(lambda messages: any(acknowledged(message) for message in messages))
        had = len(before.messages)
        await before.read_until(lambda messages: len(messages) > had + 5)
        assert list_trade_ids(venue, await after.read_rest()) == []
    assert await simulator.call("GET", "/truth?agent=after") == []


@pytest.mark.parametrize(("venue", "messages_expected"), [("binance", 500), ("kraken", 1), ("coinbase", 1)])
async def test_burst(simulator, venue, messages_expected):
    """A burst is one run of contiguous trades: a frame each at Binance, one message elsewhere."""
    async with simulator.connect(venue, PATHS[venue]) as probe:
        await subscribe_trades(probe, venue)
        await probe.read_until(lambda messages: list_trade_ids(venue, messages))
        before = await simulator.read_trade_ids(venue, SYMBOLS[venue], agent="probe")
        await probe.read_until(lambda messages: list_trade_ids(venue, messages)[-1] == before[-1])
        had = len(probe.messages)
        answer = await simulator.add_fault("burst", venue, symbol=SYMBOLS[venue], count=500)
        await probe.read_until(lambda messages: len(list_trade_ids(venue, messages)) == len(before) + 500)
        burst = [message for message in probe.messages[had:] if list_trade_ids(venue, [message])]
        received = await simulator.read_trade_ids(venue, SYMBOLS[venue], agent="probe")
    assert answer["sent"] == 500
    assert len(burst) == messages_expected
    assert list_trade_ids(venue, probe.messages) == received


async def test_burst_for_nobody(simulator):
    """Without a subscriber a burst makes nothing."""
    assert (await simulator.add_fault("burst", "binance", symbol="ETH/USDT", count=10))["sent"] == 0


@pytest.mark.parametrize("venue", VENUES)
async def test_duplicate(simulator, venue):
    """The next three frames come twice, bit for bit, and count once."""
    async with simulator.connect(venue, PATHS[venue]) as probe:
        await subscribe_trades(probe, venue)
        await probe.read_until(lambda messages: list_trade_ids(venue, messages))
        await simulator.add_fault("duplicate", venue, count=3)
        had = len(probe.messages)
        await probe.read_until(lambda messages: len(messages) >= had + 20)
        received = await simulator.read_trade_ids(venue, SYMBOLS[venue], agent="probe")
        await probe.read_until(lambda messages: received[-1] in list_trade_ids(venue, messages))
    frames = [message for message in probe.messages if list_trade_ids(venue, [message])]
    assert sum(first == second for first, second in pairwise(frames)) == 3
    assert sorted(set(list_trade_ids(venue, frames)), key=int) == received


async def test_slow(simulator):
    """Everything comes later by the delay, in order, and pausing waits until it is out."""
    await simulator.add_fault("slow", "binance", delay_ms=400)
    async with simulator.connect("binance", PATHS["binance"]) as probe:
        await probe.read_until(lambda messages: len(messages) >= 5)
        assert time.time() * 1000 - probe.messages[-1]["E"] >= 390
        sent, _ = await simulator.read_keys("binance", "trades", "BTC/USDT", agent="probe")
        await probe.read_until(lambda messages: len(messages) == len(sent))
    assert list_trade_ids("binance", probe.messages) == sent


@pytest.mark.parametrize("venue", VENUES)
@pytest.mark.parametrize(("status", "error"), [(429, ccxt.pro.DDoSProtection), (418, ccxt.pro.DDoSProtection)])
async def test_rate_limit(simulator, venue, status, error):
    """REST answers with the status and Retry-After, which ccxt reports as its rate limit error, until it is lifted."""
    await simulator.add_fault("rate_limit", venue, status=status, retry_after_s=7, seconds=0.5)
    async with simulator.http.get(simulator.venues[venue] + "/api/v3/time") as response:
        assert response.status == status
        assert response.headers["Retry-After"] == "7"
    async with simulator.open_exchange(venue) as exchange:
        with pytest.raises((error, ccxt.pro.RateLimitExceeded)):
            await exchange.fetch_time()
        await simulator.poll(lambda: is_without_faults(simulator))
        assert await exchange.fetch_time() > 0


async def is_without_faults(simulator) -> bool:
    return not (await simulator.call("GET", "/status"))["faults"]


@pytest.mark.parametrize("venue", VENUES)
async def test_refuse(simulator, venue):
    """A venue that is down closes its sockets, answers 503 and takes no handshake; then it is back."""
    async with simulator.open_exchange(venue) as exchange:
        async with simulator.connect(venue, PATHS[venue]) as probe:
            await simulator.add_fault("refuse", venue)
            await probe.read_to_end()
        with pytest.raises(ccxt.pro.ExchangeNotAvailable):
            await exchange.fetch_time()
        with pytest.raises(aiohttp.WSServerHandshakeError, match="503"):
            async with simulator.connect(venue, PATHS[venue]):
                pass
        await simulator.call("DELETE", "/faults")
        assert await exchange.watch_trades(SYMBOLS[venue])


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "earthquake", "venue": "binance"},
        {"kind": "burst", "venue": "binance"},
        {"kind": "slow", "venue": "binance", "delay": 3},
        {"kind": "refuse", "venue": "nowhere"},
    ],
)
async def test_no_such_fault(simulator, body):
    """A fault that does not exist, or lacks or misspells a field, is refused with the reason."""
    answer = await simulator.call("POST", "/faults", body, status=400)
    assert answer["error"]
    assert await is_without_faults(simulator)


async def test_lifting_what_is_not_there(simulator):
    """Lifting an id that is not in force is an error that names it."""
    answer = await simulator.call("DELETE", "/faults/77", status=400)
    assert "77" in answer["error"]
