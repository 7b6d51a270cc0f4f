"""Counts what a venue sends: raw bytes and reconnects, taken below ccxt's parsing."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tickloom_venues.opening import Exchange


class Traffic:
    """The traffic of one exchange object from now on.

    Attributes:
        bytes_total: payload bytes of the websocket frames received, as they were after decompression by the transport.
        ticks: ticker updates; counted by whoever receives them.
    """

    def __init__(self, exchange: Exchange) -> None:
        self.bytes_total = 0
        self.ticks = 0
        self._connections: Counter[str] = Counter()
        make_client = exchange.client

        def make_tapped_client(url: str) -> Any:  # noqa: ANN401 (ccxt's Client)
            client = make_client(url)
            # ccxt makes one client a URL and a new one after each disconnect; each is tapped once.
            if "handle_message" not in vars(client):
                self._tap(client)
            return client

        exchange.client = make_tapped_client

    @property
    def reconnects(self) -> int:
        """Connections that were established again after the first one to the same address."""
        return sum(count - 1 for count in self._connections.values())

    def _tap(self, client: Any) -> None:  # noqa: ANN401 (ccxt's Client)
        handle_message, on_connected = client.handle_message, client.on_connected_callback

        def count_message(message: Any) -> None:  # noqa: ANN401 (aiohttp's WSMessage)
            self.bytes_total += _payload_bytes(message.data)
            handle_message(message)

        def count_connection(*arguments: Any) -> None:  # noqa: ANN401 (whatever ccxt passes on)
            self._connections[client.url] += 1
            on_connected(*arguments)

        client.handle_message = count_message
        client.on_connected_callback = count_connection


def _payload_bytes(data: object) -> int:
    if isinstance(data, str):
        return len(data) if data.isascii() else len(data.encode())
    return len(data) if isinstance(data, bytes) else 0
