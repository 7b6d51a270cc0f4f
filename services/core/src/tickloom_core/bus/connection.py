"""One guarded connection to NATS a service: clear when it cannot connect, and it tells of reconnects."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import nats.errors
import structlog
from nats.aio.client import Client

from tickloom_core.config import NatsConfig
from tickloom_core.errors import BusUnavailableError, TopologyError

log = structlog.get_logger(__name__)

_PENDING_BYTES = 64 * 1024**2
_RECONNECT_WAIT_S = 0.25


class Connection:
    """A connection that reconnects for ever.

    Attributes:
        client: the nats-py client.
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        self._listeners: list[Callable[[], None]] = []

    @property
    def is_connected(self) -> bool:
        """Whether the socket stands at this moment."""
        return bool(self.client.is_connected)

    @property
    def server_version(self) -> tuple[int, int]:
        """Major and minor version of the server."""
        version = self.client.connected_server_version
        return (version.major, version.minor)

    def on_reconnect(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each reconnect; it must not block."""
        self._listeners.append(listener)

    def announce_reconnect(self) -> None:
        """Tell the listeners; called by the client."""
        for listener in self._listeners:
            listener()

    async def request(
        self, subject: str, body: dict[str, Any] | None = None, *, timeout_s: float = 5.0
    ) -> dict[str, Any]:
        """Ask JetStream's API and return its answer, errors included (key "error").

        Raises:
            BusUnavailableError: there is no answer in time.
        """
        payload = b"" if body is None else json.dumps(body).encode()
        try:
            message = await self.client.request(subject, payload, timeout=timeout_s)
        except nats.errors.NoRespondersError as error:
            raise BusUnavailableError(
                f"NATS at {self._url} answers nothing on {subject}: JetStream is off or still starting; "
                "start the server with -js"
            ) from error
        except (nats.errors.Error, TimeoutError, OSError) as error:
            raise BusUnavailableError(f"NATS at {self._url} did not answer {subject} in {timeout_s} s") from error
        answer: dict[str, Any] = json.loads(message.data)
        return answer

    async def store(self, subject: str, data: bytes, headers: dict[str, str], *, timeout_s: float = 5.0) -> bool:
        """Publish one message to a stream; return whether JetStream has acknowledged it."""
        try:
            answer = await self.client.request(subject, data, timeout=timeout_s, headers=headers)
        except (nats.errors.Error, TimeoutError, OSError) as error:
            log.debug("bus.store_failed", subject=subject, error=repr(error))
            return False
        return b'"error"' not in answer.data

    async def close(self) -> None:
        """Flush and close; a server that is away cannot hold it up."""
        try:
            async with asyncio.timeout(2):
                await self.client.close()
        except (nats.errors.Error, TimeoutError, OSError, RuntimeError) as error:
            # RuntimeError: the transport of a server that died at this moment is closed already.
            log.debug("bus.close_failed", error=str(error))

    @property
    def _url(self) -> str:
        url = self.client.connected_url
        return url.netloc if url is not None else "?"


async def connect(config: NatsConfig, *, name: str) -> Connection:
    """Connect to NATS as `name`.

    Raises:
        BusUnavailableError: the server does not answer within `connect_timeout_s`.
        TopologyError: the server refuses the credentials.
    """
    client = Client()
    connection = Connection(client)

    async def on_reconnected() -> None:
        log.info("bus.reconnected", url=config.url)
        connection.announce_reconnect()

    async def on_disconnected() -> None:
        log.warning("bus.disconnected", url=config.url)

    refusals: list[str] = []

    async def on_error(error: Exception) -> None:
        log.debug("bus.error", error=repr(error))
        if "authorization" in str(error).lower():
            refusals.append(str(error))

    try:
        async with asyncio.timeout(config.connect_timeout_s):
            await client.connect(
                config.url,
                name=name,
                token=config.token.resolve() if config.token else None,
                allow_reconnect=True,
                max_reconnect_attempts=-1,
                reconnect_time_wait=_RECONNECT_WAIT_S,  # type: ignore[arg-type]
                connect_timeout=max(1, int(config.connect_timeout_s)),
                ping_interval=10,
                max_outstanding_pings=2,
                pending_size=_PENDING_BYTES,
                reconnected_cb=on_reconnected,
                disconnected_cb=on_disconnected,
                error_cb=on_error,
            )
    except (nats.errors.Error, TimeoutError, OSError) as error:
        await _abandon(client)
        if refusals or "authorization" in str(error).lower():
            raise TopologyError(f"NATS at {config.url} refuses the credentials; check nats.token") from error
        raise BusUnavailableError(
            f"NATS at {config.url} cannot be reached within {config.connect_timeout_s:g} s; "
            "start it or correct nats.url"
        ) from error
    return connection


async def _abandon(client: Client) -> None:
    """End a client that never connected: it would go on trying in the background."""
    try:
        async with asyncio.timeout(1):
            await client.close()
    except (nats.errors.Error, TimeoutError, OSError, AttributeError):
        log.debug("bus.abandoned")
