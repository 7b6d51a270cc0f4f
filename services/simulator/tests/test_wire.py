"""What the venues' sockets and REST paths say beyond the data: acknowledgements, errors, heartbeats."""

from __future__ import annotations

import pytest


async def test_binance_requests(simulator):
    """Binance acknowledges with a null result, lists what is subscribed, and wraps on /stream."""
    async with simulator.connect("binance", "/stream?streams=btcusdt@bookTicker") as probe:
        await probe.send({"method": "SUBSCRIBE", "params": ["ethusdt@aggTrade", "nosuch@trade"], "id": 1})
        await probe.send({"method": "LIST_SUBSCRIPTIONS", "id": 2})
        await probe.send({"method": "UNSUBSCRIBE", "params": ["btcusdt@bookTicker"], "id": 3})
        await probe.send({"method": "JUMP", "id": 4})
        messages = await probe.read_until(lambda messages: any("error" in message for message in messages))
        answers = {message["id"]: message["result"] for message in messages if "id" in message}
        await probe.read_until(lambda messages: any(m.get("stream") == "ethusdt@aggTrade" for m in messages))
    assert answers == {1: None, 2: ["btcusdt@bookTicker", "ethusdt@aggTrade"], 3: None}
    trade = next(message["data"] for message in probe.messages if message.get("stream") == "ethusdt@aggTrade")
    assert list(trade) == ["e", "E", "s", "a", "p", "q", "f", "l", "T", "m", "M"]


async def test_kraken_requests(simulator):
    """Kraken greets with its status, answers pings, refuses what it does not list, and beats when it is silent."""
    async with simulator.connect("kraken", "/v2") as probe:
        await probe.send({"method": "ping", "req_id": 1})
        await probe.send({"method": "subscribe", "params": {"channel": "trade", "symbol": ["NO/USD"]}, "req_id": 2})
        book = {"channel": "book", "symbol": ["BTC/USD"], "depth": 11}
        await probe.send({"method": "subscribe", "params": book, "req_id": 3})
        await probe.send({"method": "subscribe", "params": {**book, "depth": 25}, "req_id": 4})
        await simulator.call("POST", "/pause")
        messages = await probe.read_until(lambda messages: {"channel": "heartbeat"} in messages)
    answers = {message["req_id"]: message for message in messages if "req_id" in message}
    assert messages[0]["data"][0]["system"] == "online"
    assert answers[1]["method"] == "pong"
    assert answers[2]["error"] == "Currency pair not supported NO/USD"
    assert answers[3]["error"] == "Subscription depth not supported"
    assert answers[4]["result"] == {"channel": "book", "symbol": "BTC/USD", "depth": 25, "snapshot": True}
    snapshot = next(message["data"][0] for message in messages if message.get("type") == "snapshot")
    assert len(snapshot["bids"]) == len(snapshot["asks"]) == 25


async def test_kraken_trade_snapshot(simulator):
    """Kraken sends the last fifty trades only to those who ask for a snapshot, and they do not count."""
    async with simulator.connect("kraken", "/v2") as probe:
        params = {"channel": "trade", "symbol": ["BTC/USD"], "snapshot": True}
        await probe.send({"method": "subscribe", "params": params})
        messages = await probe.read_until(lambda messages: any(m.get("type") == "snapshot" for m in messages))
        _, earlier = await simulator.read_keys("kraken", "trades", "BTC/USD", agent="probe")
    snapshot = next(message["data"] for message in messages if message.get("type") == "snapshot")
    assert [str(trade["trade_id"]) for trade in snapshot] == earlier


async def test_coinbase_requests(simulator):
    """Coinbase numbers all messages of a connection, snapshots before it confirms, beats, and refuses the unknown."""
    async with simulator.connect("coinbase") as probe:
        for channel in ("heartbeats", "market_trades", "level2"):
            await probe.send({"type": "subscribe", "channel": channel, "product_ids": ["BTC-USD"]})
        await probe.send({"type": "subscribe", "channel": "market_trades", "product_ids": ["NO-USD"]})
        await probe.read_until(
            lambda messages: (
                {"heartbeats", "l2_data", "market_trades"} <= {message.get("channel") for message in messages}
                and any(message.get("type") == "error" for message in messages)
            )
        )
    numbers = [message["sequence_num"] for message in probe.messages if "sequence_num" in message]
    assert numbers == list(range(len(numbers)))
    kinds = [
        message["events"][0]["type"]
        for message in probe.messages
        if message.get("channel") in {"market_trades", "l2_data"}
    ]
    assert kinds[0] == "snapshot"
    confirmed = [message["events"][0] for message in probe.messages if message.get("channel") == "subscriptions"]
    assert confirmed[-1] == {
        "subscriptions": {"market_trades": ["BTC-USD"], "level2": ["BTC-USD"], "heartbeats": ["heartbeats"]}
    }


async def test_coinbase_snapshot_again(simulator):
    """After a reconnect the snapshot repeats trades; they happened before, so none counts as sent."""
    request = {"type": "subscribe", "channel": "market_trades", "product_ids": ["BTC-USD"]}
    counts = []
    await simulator.call("POST", "/pause")
    for _ in range(2):
        async with simulator.connect("coinbase") as probe:
            await probe.send(request)
            await probe.read_until(lambda messages: any(m.get("channel") == "subscriptions" for m in messages))
        sent, earlier = await simulator.read_keys("coinbase", "trades", "BTC/USD", agent="probe")
        counts.append((len(sent), len(earlier)))
    assert counts == [(0, 50), (0, 50)]


@pytest.mark.parametrize(
    ("venue", "path", "status", "body"),
    [
        ("binance", "/api/v3/klines?symbol=BTCUSDT&interval=7m", 400, {"code": -1120, "msg": "Invalid interval."}),
        ("binance", "/api/v3/depth?symbol=NOUSDT", 400, {"code": -1121, "msg": "Invalid symbol."}),
        ("kraken", "/0/public/Depth?pair=NOUSD", 200, {"error": ["EQuery:Unknown asset pair"]}),
        ("kraken", "/0/public/Nothing", 200, {"error": ["EGeneral:Unknown method"]}),
        ("coinbase", "/v2/nothing", 404, {"errors": [{"id": "not_found", "message": "Not found"}]}),
    ],
)
async def test_rest_errors(simulator, venue, path, status, body):
    """Each venue refuses in its own format."""
    async with simulator.http.get(simulator.venues[venue] + path) as response:
        assert (response.status, await response.json()) == (status, body)


async def test_binance_quotes(simulator):
    """Best bids and asks come alone, for one symbol or for all."""
    url = simulator.venues["binance"] + "/api/v3/ticker/bookTicker"
    async with simulator.http.get(url + "?symbol=BTCUSDT") as response:
        one = await response.json()
    async with simulator.http.get(url) as response:
        everything = await response.json()
    assert list(one) == ["symbol", "bidPrice", "bidQty", "askPrice", "askQty"]
    assert [quote["symbol"] for quote in everything] == ["BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT"]


async def test_unknown_paths(simulator):
    """Paths that no venue has are not found."""
    for venue, path in (("binance", "/api/v3/nothing"), ("coinbase", "/api/v3/brokerage/market/products/NO-USD")):
        async with simulator.http.get(simulator.venues[venue] + path) as response:
            assert response.status == 404
            assert (await response.json())["error"] in {"Not Found", "NOT_FOUND"}
