"""Closing a venue for certain, within a deadline, leaving neither sockets nor tasks."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tickloom_venues.opening import Exchange

_REAP_S = 1.0
"""How long cancelled tasks get to end; they have nothing left to wait for."""


async def close_venue(exchange: Exchange, deadline_s: float = 5.0) -> None:
    """Close the websockets and the HTTP session of an exchange; never raises and never hangs.

    `exchange.close()` waits for the venue's close frames, in vain while data frames keep coming. When the deadline has
    passed, the sockets are cut instead. ccxt starts tasks without keeping them (dialling, sending, pinging): those that
    outlive the close are found by the object that they run for, and cancelled.

    Args:
        exchange: what `open_venue` returned; closing it twice is fine.
        deadline_s: how long the venue may take for a polite close.
    """
    owners = list(_task_owners(exchange))
    connections = [client.connection for client in _clients(exchange) if client.connection is not None]
    try:
        async with asyncio.timeout(deadline_s):
            await exchange.close()
    except Exception:  # noqa: BLE001 (whatever stopped the polite close, the sockets are cut instead)
        for connection in connections:
            _abort(connection)
        await _drop_session(exchange)
    await _cancel_tasks_of(owners)


def _clients(exchange: Exchange) -> list[Any]:
    return list((exchange.clients or {}).values())


def _task_owners(exchange: Exchange) -> Iterator[object]:
    """Yield every object for which ccxt runs tasks: the exchange, its websocket clients, and the throttlers of both."""
    yield exchange
    yield exchange.throttler
    for client in _clients(exchange):
        yield client
        yield client.throttle
        yield client.connection


def _abort(connection: Any) -> None:  # noqa: ANN401 (aiohttp's ClientWebSocketResponse)
    """Cut the TCP connection under a websocket; aiohttp offers no public way to do so."""
    transport = getattr(connection._conn, "transport", None)  # noqa: SLF001 (see above)
    if transport is not None:
        transport.abort()


async def _drop_session(exchange: Exchange) -> None:
    """Do the rest of `exchange.close()` after it was cancelled."""
    exchange.clients = {}
    if exchange.session is not None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_REAP_S):
                await exchange.session.close()
        exchange.session = None
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_REAP_S):
            await exchange.close_connector()


async def _cancel_tasks_of(owners: list[object]) -> None:
    identities = {id(owner) for owner in owners if owner is not None}
    current = asyncio.current_task()
    left = [task for task in asyncio.all_tasks() if task is not current and _owner_of(task) in identities]
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left, timeout=_REAP_S)


def _owner_of(task: asyncio.Task[Any]) -> int | None:
    """Return the identity of the `self` that a task's coroutine runs for (a closure's `self` counts as well)."""
    frame = getattr(task.get_coro(), "cr_frame", None)
    owner = frame.f_locals.get("self") if frame is not None else None
    return None if owner is None else id(owner)
