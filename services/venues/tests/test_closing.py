from __future__ import annotations

import asyncio
import gc
import secrets
import time
import warnings
from functools import partial

import pytest
from aiohttp import web

from tickloom_core.config import VenueConfig
from tickloom_venues.opening import close_venue, open_venue


def tasks_besides(test, *known):
    """Every task but the test's own, those given, and those of the test's own server."""
    tasks = asyncio.all_tasks() - {test, *known}
    return {task for task in tasks if "web_protocol" not in repr(task)}


async def flood(connected, request):
    """Send frames without end and never answer a close."""
    socket = web.WebSocketResponse(autoclose=False)
    await socket.prepare(request)
    connected.set()
    try:
        while True:
            await socket.send_str('{"result": null}')
            await asyncio.sleep(0)
    except (ConnectionError, RuntimeError):
        return socket


async def listen(connected, request):
    """Behave as a venue does: read until the other side leaves."""
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    connected.set()
    async for _ in socket:
        pass
    return socket


async def hang(connected, _):
    """Never finish the handshake."""
    connected.set()
    await asyncio.Event().wait()


def watch(exchange):
    market = {"id": "BTCUSDT", "lowercaseId": "btcusdt", "symbol": "BTC/USDT", "base": "BTC", "quote": "USDT"}
    exchange.set_markets([exchange.safe_market_structure({**market, "type": "spot", "spot": True})])
    return asyncio.ensure_future(exchange.watch_trades("BTC/USDT"))


def is_flooded(client):
    return client.last_message_at is not None


def is_connected(client):
    return client.isConnected


def is_dialling(client):
    return client.connecting


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("venue_behaviour", "state", "least_s", "most_s"),
    [(flood, is_flooded, 1.0, 2.5), (listen, is_connected, 0.0, 0.9), (hang, is_dialling, 0.0, 2.5)],
)
async def test_closing_ends_within_its_deadline_and_leaves_nothing(
    aiohttp_endpoint, venue_behaviour, state, least_s, most_s
):
    """Whatever the venue does, a closed exchange has no tasks and no open sockets, soon after its deadline."""
    connected = asyncio.Event()
    endpoint = await aiohttp_endpoint(partial(venue_behaviour, connected))
    exchange = open_venue("binance", VenueConfig(endpoint=endpoint), agent="tickloom-test/0")
    watching = watch(exchange)
    await until(lambda: connected.is_set() and all(map(state, exchange.clients.values())))
    began = time.monotonic()

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        await close_venue(exchange, deadline_s=1.0)
        took_s = time.monotonic() - began
        outcome = (await asyncio.gather(watching, return_exceptions=True))[0]
        gc.collect()

    assert least_s <= took_s < most_s
    assert isinstance(outcome, BaseException)
    assert not [str(warning.message) for warning in warned]
    assert not tasks_besides(asyncio.current_task())


async def test_a_venue_that_reads_nothing_is_cut_off(aiohttp_endpoint):
    """Bytes that the venue never takes do not keep the socket open."""

    async def turn_deaf(request):
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        request.transport.pause_reading()
        await asyncio.Event().wait()

    exchange = open_venue("binance", VenueConfig(endpoint=await aiohttp_endpoint(turn_deaf)), agent="tickloom-test/0")
    watching = watch(exchange)
    await until(lambda: exchange.clients and all(map(is_connected, exchange.clients.values())))
    (client,) = exchange.clients.values()
    transport = client.connection._conn.transport
    sending = asyncio.ensure_future(client.send(secrets.token_hex(8_000_000)))
    await until(lambda: transport.get_write_buffer_size() > 0)

    await close_venue(exchange, deadline_s=0.2)
    await asyncio.gather(watching, sending, return_exceptions=True)

    await until(lambda: transport.get_extra_info("socket").fileno() == -1)


async def test_a_dial_that_waits_for_its_turn_is_given_up():
    """A reconnect that ccxt has put off does not outlive the exchange."""
    exchange = open_venue("binance", VenueConfig(endpoint="http://127.0.0.1:9"), agent="tickloom-test/0")
    url = exchange.urls["api"]["ws"]["spot"] + "/0"
    exchange.ws_dial_backoff = {url: {"attempts": 9, "until": exchange.milliseconds() + 60_000}}
    watching = watch(exchange)
    await until(lambda: exchange.clients)

    await close_venue(exchange)
    await asyncio.gather(watching, return_exceptions=True)

    assert not tasks_besides(asyncio.current_task())


async def test_closing_what_was_never_used_and_twice_is_fine():
    """A venue that was only opened closes at once, and again."""
    exchange = open_venue("kraken", VenueConfig(), agent="tickloom-test/0")

    await close_venue(exchange)
    await close_venue(exchange)

    assert not tasks_besides(asyncio.current_task())
