from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

import aiohttp
import ccxt.pro
import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

DEADLINE_S = 30.0


def redirect(urls: Any, endpoint: str) -> Any:
    """Point every address in ccxt's urls at one host and port, paths kept."""
    if isinstance(urls, dict):
        return {name: redirect(part, endpoint) for name, part in urls.items()}
    scheme, _, rest = urls.partition("://")
    _, slash, path = rest.partition("/")
    host = endpoint.partition("://")[2]
    return f"{'ws' if scheme.startswith('ws') else 'http'}://{host}{slash}{path}"


class Probe:
    """A bare websocket client that keeps everything it received."""

    def __init__(self, websocket: aiohttp.ClientWebSocketResponse) -> None:
        self.websocket = websocket
        self.messages: list[Any] = []
        self.end: aiohttp.WSMsgType | None = None

    async def send(self, request: dict[str, Any]) -> None:
        await self.websocket.send_json(request)

    async def read(self) -> bool:
        """Read one message; return False when the socket ended instead."""
        message = await self.websocket.receive()
        if message.type is not aiohttp.WSMsgType.TEXT:
            self.end = message.type
            return False
        self.messages.append(message.json())
        return True

    async def read_until(self, condition: Callable[[list[Any]], Any]) -> list[Any]:
        """Read until the messages satisfy a condition, or fail at the deadline."""
        async with asyncio.timeout(DEADLINE_S):
            while not condition(self.messages):
                assert await self.read(), f"the socket ended: {self.end}"
        return self.messages

    async def read_to_end(self) -> list[Any]:
        """Read until the socket ends."""
        async with asyncio.timeout(DEADLINE_S):
            while await self.read():
                pass
        return self.messages

    async def read_rest(self) -> list[Any]:
        """Read until nothing came for half a second: for what must not come."""
        with suppress(TimeoutError):
            while True:
                async with asyncio.timeout(0.5):
                    if not await self.read():
                        break
        return self.messages


@dataclass(frozen=True)
class Simulator:
    """A running simulator and its control API."""

    process: asyncio.subprocess.Process
    control: str
    venues: dict[str, str]
    http: aiohttp.ClientSession

    async def call(self, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        async with self.http.request(method, self.control + path, json=body) as response:
            answer = await response.json()
            assert response.status == status, answer
            return answer

    async def add_fault(self, kind: str, venue: str, **fields: Any) -> Any:
        return await self.call("POST", "/faults", {"kind": kind, "venue": venue, **fields})

    async def read_keys(self, venue: str, channel: str, symbol: str, agent: str = "Python") -> tuple[list, list]:
        """Pause, so that what was sent no longer grows, and return the keys sent and superseded."""
        await self.call("POST", "/pause")
        keys = await self.call("GET", f"/truth/keys?agent={agent}&venue={venue}&channel={channel}")
        return (keys[symbol]["sent"], keys[symbol]["superseded"]) if symbol in keys else ([], [])

    async def read_trade_ids(self, venue: str, symbol: str, agent: str = "Python") -> list[str]:
        """Pause, and return the ids of all trades that were sent, those of snapshots among them, ascending."""
        sent, earlier = await self.read_keys(venue, "trades", symbol, agent)
        return sorted([*sent, *earlier], key=int)

    @asynccontextmanager
    async def open_exchange(self, venue: str, options: dict[str, Any] | None = None) -> AsyncIterator[Any]:
        """Open an unmodified ccxt.pro exchange whose only setting is where it connects to."""
        exchange = getattr(ccxt.pro, venue)({"options": options or {}, "enableRateLimit": False})
        exchange.urls["api"] = redirect(exchange.urls["api"], self.venues[venue])
        try:
            yield exchange
        finally:
            with suppress(TimeoutError):
                async with asyncio.timeout(5):
                    await exchange.close()

    @asynccontextmanager
    async def connect(self, venue: str, path: str = "/", agent: str = "probe") -> AsyncIterator[Probe]:
        """Open a bare websocket of an agent."""
        headers = {"User-Agent": f"{agent}/1.0"}
        async with self.http.ws_connect(self.venues[venue] + path, headers=headers) as websocket:
            yield Probe(websocket)

    @staticmethod
    @asynccontextmanager
    async def keep_calling(method: Callable[..., Awaitable[Any]], *arguments: Any) -> AsyncIterator[asyncio.Task[None]]:
        """Call a watch method again and again, as its users do."""

        async def call() -> None:
            while True:
                await method(*arguments)

        task = asyncio.create_task(call())
        try:
            yield task
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError, ccxt.pro.NetworkError):
                await task

    @staticmethod
    def observe(exchange: Any, read_key: Callable[[Any], Any]) -> list[Any]:
        """List the key of every message that ccxt handles, read from ccxt's own state right behind its handler."""
        keys: list[Any] = []
        handle = exchange.handle_message

        def remember(client: Any, message: Any) -> None:
            handle(client, message)
            key = read_key(exchange)
            if key is not None and key not in keys[-1:]:
                keys.append(key)

        exchange.handle_message = remember
        return keys

    @staticmethod
    async def poll(condition: Callable[[], Any]) -> None:
        """Ask until the answer, awaited when it can be, is true, or fail at the deadline."""
        end_s = time.monotonic() + DEADLINE_S
        while True:
            answer = condition()
            if await answer if isawaitable(answer) else answer:
                return
            assert time.monotonic() < end_s, "the deadline passed"
            await asyncio.sleep(0.02)


@asynccontextmanager
async def _start_simulator(*flags: str) -> AsyncIterator[Simulator]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tickloom_simulator", *flags, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(DEADLINE_S):
            ready = json.loads(await process.stdout.readline())
        async with aiohttp.ClientSession() as http:
            yield Simulator(process, ready["control"], ready["venues"], http)
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        async with asyncio.timeout(DEADLINE_S):
            returncode = await process.wait()
    assert returncode == 0


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with _start_simulator("--trades_per_s=600", "--tickers_per_s=300", "--books_per_s=300") as running:
        yield running


@pytest.fixture
def start_simulator() -> Callable[..., AbstractAsyncContextManager[Simulator]]:
    return _start_simulator
