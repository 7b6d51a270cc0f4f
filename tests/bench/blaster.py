"""A venue that sends as fast as its socket takes: prepared Binance trade frames, for benchmarks.

Speaks just enough of Binance spot for ccxt.pro and for the native feed: `exchangeInfo`, `SUBSCRIBE` with its answer,
and trades of one symbol. It waits for lines on stdin and answers each with one on stdout: `prepare COUNT` makes that
many frames, `flood` sends them to every subscriber as fast as the sockets take them, `pace COUNT RATE` makes and sends
that many at that rate, `subscribers` does nothing; the answer is the number of subscribers.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import struct
import sys
import time

_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_FRAMES_PER_WRITE = 200
_FILTERS = [
    {"filterType": "PRICE_FILTER", "minPrice": "0.01", "maxPrice": "1000000", "tickSize": "0.01"},
    {"filterType": "LOT_SIZE", "minQty": "0.00001", "maxQty": "9000", "stepSize": "0.00001"},
]
_SYMBOL = {
    "symbol": "BTCUSDT",
    "status": "TRADING",
    "baseAsset": "BTC",
    "baseAssetPrecision": 8,
    "quoteAsset": "USDT",
    "quotePrecision": 8,
    "quoteAssetPrecision": 8,
    "orderTypes": ["LIMIT", "MARKET"],
    "isSpotTradingAllowed": True,
    "isMarginTradingAllowed": False,
    "filters": _FILTERS,
    "permissions": ["SPOT"],
    "permissionSets": [["SPOT"]],
}


def frame_text(payload: bytes) -> bytes:
    """Return an unmasked text frame (RFC 6455)."""
    if len(payload) < 126:
        return struct.pack("!BB", 0x81, len(payload)) + payload
    return struct.pack("!BBH", 0x81, 126, len(payload)) + payload


def make_trade(trade_id: int, *, combined: bool) -> bytes:
    """Return one trade frame of BTCUSDT."""
    now_ms = time.time_ns() // 1_000_000
    trade = (
        f'{{"e":"trade","E":{now_ms},"s":"BTCUSDT","t":{trade_id},'
        f'"p":"{60000 + trade_id % 997}.{trade_id % 100:02d}000000",'
        f'"q":"0.{trade_id % 99991:05d}000","T":{now_ms},"m":{"true" if trade_id & 1 else "false"},"M":true}}'
    )
    text = f'{{"stream":"btcusdt@trade","data":{trade}}}' if combined else trade
    return frame_text(text.encode())


class Subscriber:
    """One client connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.combined = False
        self.subscribed = False

    async def serve(self) -> None:
        """Answer HTTP, or a websocket until it ends."""
        request = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        path = request.split(" ", 2)[1]
        headers = {
            k.lower(): v.strip() for k, v in (line.split(":", 1) for line in request.split("\r\n")[1:] if ":" in line)
        }
        if "sec-websocket-key" not in headers:
            self._answer(path)
            return
        accept = base64.b64encode(hashlib.sha1(headers["sec-websocket-key"].encode() + _MAGIC).digest())  # noqa: S324
        head = (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
        )
        self.writer.write(head + accept + b"\r\n\r\n")
        self.combined = path.startswith("/stream")
        self.subscribed = "@trade" in path
        while True:
            await self._read_frame()

    def _answer(self, path: str) -> None:
        symbols = [_SYMBOL] if path.startswith("/api/v3/exchangeInfo") else []
        body = json.dumps({"timezone": "UTC", "serverTime": 0, "rateLimits": [], "symbols": symbols}).encode()
        head = (
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        self.writer.write(head.encode() + body)
        self.writer.close()

    async def _read_frame(self) -> None:
        first, second = await self.reader.readexactly(2)
        length = second & 0x7F
        if length == 126:
            (length,) = struct.unpack("!H", await self.reader.readexactly(2))
        mask = await self.reader.readexactly(4)
        payload = bytes(b ^ mask[i % 4] for i, b in enumerate(await self.reader.readexactly(length)))
        if first & 0x0F == 1:
            message = json.loads(payload)
            self.writer.write(frame_text(json.dumps({"result": None, "id": message["id"]}).encode()))
            self.subscribed = self.subscribed or any("@trade" in name for name in message.get("params", ()))
        elif first & 0x0F == 9:
            self.writer.write(struct.pack("!BB", 0x8A, len(payload)) + payload)


class Blaster:
    """All subscribers, and the next trade id."""

    def __init__(self) -> None:
        self.subscribers: set[Subscriber] = set()
        self.next_id = 1
        self._prepared: dict[bool, list[bytes]] = {}

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        subscriber = Subscriber(reader, writer)
        self.subscribers.add(subscriber)
        try:
            await subscriber.serve()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.subscribers.discard(subscriber)
            writer.close()

    def prepare(self, count: int) -> None:
        """Make frames for `flood`, in the form of each connection."""
        ids = self._take_ids(count)
        forms = {subscriber.combined for subscriber in self._targets}
        self._prepared = {combined: self._make_writes(ids, combined=combined) for combined in forms}

    async def flood(self) -> None:
        """Send what was prepared as fast as the sockets take it."""
        for target in self._targets:
            for write in self._prepared[target.combined]:
                target.writer.write(write)
                await target.writer.drain()

    async def pace(self, count: int, rate: float) -> None:
        """Make and send trades at this rate, those of one millisecond together."""
        per_write = max(1, int(rate / 1000))
        ids = self._take_ids(count)
        start_s = time.perf_counter()
        for position in range(0, count, per_write):
            for target in self._targets:
                chunk = ids[position : position + per_write]
                target.writer.write(b"".join(make_trade(i, combined=target.combined) for i in chunk))
                await target.writer.drain()
            await asyncio.sleep(max(0.0, start_s + (position + per_write) / rate - time.perf_counter()))

    @property
    def _targets(self) -> list[Subscriber]:
        return [subscriber for subscriber in self.subscribers if subscriber.subscribed]

    def _take_ids(self, count: int) -> range:
        self.next_id += count
        return range(self.next_id - count, self.next_id)

    @staticmethod
    def _make_writes(ids: range, *, combined: bool) -> list[bytes]:
        return [
            b"".join(make_trade(i, combined=combined) for i in ids[position : position + _FRAMES_PER_WRITE])
            for position in range(0, len(ids), _FRAMES_PER_WRITE)
        ]


async def main() -> None:
    """Serve until stdin ends."""
    blaster = Blaster()
    server = await asyncio.start_server(blaster.accept, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        command, *arguments = line.split()
        if command == "prepare":
            blaster.prepare(int(arguments[0]))
        elif command == "flood":
            await blaster.flood()
        elif command == "pace":
            await blaster.pace(int(arguments[0]), float(arguments[1]))
        print(sum(subscriber.subscribed for subscriber in blaster.subscribers), flush=True)
    server.close()


if __name__ == "__main__":
    asyncio.run(main())
