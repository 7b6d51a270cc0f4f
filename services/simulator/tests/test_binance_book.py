"""A client that keeps a Binance book by the book gets every state that the truth counts, and drops the rest."""

from __future__ import annotations

import asyncio

import ccxt.pro
import pytest

AGENT = "probe"
STREAM = "btcusdt@depth@100ms"


class BookKeeper:
    """Follows https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams (local order book)."""

    def __init__(self) -> None:
        self.kept: list[float] = []
        self.dropped = 0
        self.gaps = 0
        self._bids: dict[float, float] = {}
        self._last_update_id = 0
        self._is_synchronised = False

    def load(self, snapshot: dict) -> None:
        self._bids = {float(price): float(amount) for price, amount in snapshot["bids"]}
        self._last_update_id = snapshot["lastUpdateId"]
        self._is_synchronised = True

    def apply(self, frame: dict) -> None:
        if not self._is_synchronised or frame["u"] <= self._last_update_id:
            self.dropped += 1
            return
        if frame["U"] > self._last_update_id + 1:
            self.gaps += 1
            self._is_synchronised = False
            self.dropped += 1
            return
        for price, amount in frame["b"]:
            if float(amount):
                self._bids[float(price)] = float(amount)
            else:
                self._bids.pop(float(price), None)
        self._last_update_id = frame["u"]
        self.kept.append(self._bids[max(self._bids)])


async def fetch_snapshot(simulator) -> dict:
    url = simulator.venues["binance"] + "/api/v3/depth?symbol=BTCUSDT&limit=1000"
    async with simulator.http.get(url, headers={"User-Agent": f"{AGENT}/1.0"}) as response:
        return await response.json()


async def synchronise(simulator, probe, keeper: BookKeeper, start: int) -> int:
    """Fetch a snapshot while frames go on, and apply what was received meanwhile; return the messages used."""
    had = len(probe.messages)
    await probe.read_until(lambda messages: len(messages) >= had + 5)
    fetching = asyncio.create_task(fetch_snapshot(simulator))
    while not fetching.done():
        await probe.read()
    keeper.load(fetching.result())
    for frame in probe.messages[start:]:
        keeper.apply(frame)
    return len(probe.messages)


async def test_local_order_book(simulator):
    """Frames up to the snapshot are superseded, all later ones are sent."""
    keeper = BookKeeper()
    async with simulator.connect("binance", f"/ws/{STREAM}", agent=AGENT) as probe:
        used = await synchronise(simulator, probe, keeper, 0)
        await probe.read_until(lambda messages: len(messages) >= used + 20)
        sent, superseded = await simulator.read_keys("binance", "books", "BTC/USDT", agent=AGENT)
        await probe.read_until(lambda messages: len(messages) == len(sent) + len(superseded))
        for frame in probe.messages[used:]:
            keeper.apply(frame)
    assert keeper.kept == sent
    assert keeper.dropped == len(superseded) > 0
    assert keeper.gaps == 0
    assert len(set(sent)) == len(sent)


async def test_skip_book(simulator):
    """A skipped update is a gap in U and u; frames from there to the next snapshot are superseded."""
    keeper = BookKeeper()
    async with simulator.connect("binance", f"/ws/{STREAM}", agent=AGENT) as probe:
        used = await synchronise(simulator, probe, keeper, 0)
        await simulator.add_fault("skip_book", "binance", symbol="BTC/USDT", count=2)
        while not keeper.gaps:
            await probe.read()
            keeper.apply(probe.messages[-1])
            used = len(probe.messages)
        kept_before = len(keeper.kept)
        used = await synchronise(simulator, probe, keeper, used)
        await probe.read_until(lambda messages: len(messages) >= used + 20)
        sent, superseded = await simulator.read_keys("binance", "books", "BTC/USDT", agent=AGENT)
        await probe.read_until(lambda messages: len(messages) == len(sent) + len(superseded))
        for frame in probe.messages[used:]:
            keeper.apply(frame)
    assert keeper.gaps == 1
    assert len(keeper.kept) > kept_before
    assert keeper.kept == sent
    assert keeper.dropped == len(superseded)


async def test_ccxt_notices_a_skipped_update(simulator):
    """ccxt answers the gap with its checksum error and has a good book again when it is asked again."""
    async with simulator.open_exchange("binance") as exchange:
        await exchange.watch_order_book("BTC/USDT")
        await simulator.add_fault("skip_book", "binance", symbol="BTC/USDT")
        async with simulator.keep_calling(exchange.watch_order_book, "BTC/USDT") as watching:
            with pytest.raises(ccxt.pro.ChecksumError):
                await watching
        book = await exchange.watch_order_book("BTC/USDT")
        assert book["bids"][0][0] < book["asks"][0][0]


async def test_a_snapshot_of_another_agent(simulator):
    """A snapshot that another agent asked for does not decide on this agent's frames."""
    async with (
        simulator.connect("binance", f"/ws/{STREAM}", agent="probe") as probe,
        simulator.connect("binance", f"/ws/{STREAM}", agent="other") as other,
    ):
        await probe.read_until(lambda messages: len(messages) >= 5)
        await other.read_until(lambda messages: len(messages) >= 5)
        await fetch_snapshot(simulator)
        await simulator.call("POST", "/pause")
        rows = {row["agent"]: row for row in await simulator.call("GET", "/truth")}
    assert rows["probe"]["superseded"] >= 5
    assert rows["other"]["superseded"] == 0
