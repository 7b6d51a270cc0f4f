"""What the rest of the simulator asks of a venue: formats only, no state but what a format needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

from tickloom_simulator.hub import SocketProtocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp import web

    from tickloom_simulator.book import BookUpdate
    from tickloom_simulator.connection import Connection
    from tickloom_simulator.faults import RateLimit
    from tickloom_simulator.hub import Hub
    from tickloom_simulator.instrument import Instrument
    from tickloom_simulator.listing import Listing
    from tickloom_simulator.subscription import Form, Subscription
    from tickloom_simulator.tape import Trade


class Venue(SocketProtocol, Protocol):
    """One venue's websocket and REST formats.

    Attributes:
        is_numbered: whether every message carries the connection's own sequence number.
        has_rest_snapshots: whether an order book starts with a REST request instead of a websocket message.
    """

    is_numbered: ClassVar[bool]
    has_rest_snapshots: ClassVar[bool]
    listing: Listing

    def write_trades(self, form: Form, instrument: Instrument, trades: Sequence[Trade]) -> list[str]:
        """Write trades of one instrument as the messages that carry them."""

    def write_tickers(self, form: Form, instruments: Sequence[Instrument], time_ns: int) -> list[str]:
        """Write the tickers of instruments as the messages that carry them."""

    def write_book(self, form: Form, instrument: Instrument, update: BookUpdate) -> list[str]:
        """Write a change of an order book as the messages that carry it."""

    def send_snapshot(self, hub: Hub, connection: Connection, subscription: Subscription) -> None:
        """Send the snapshot that the venue sends on subscribing, if it sends one."""

    def add_rest_routes(self, app: web.Application, hub: Hub) -> None:
        """Add the venue's REST paths to its server."""

    def write_not_found(self, request: web.Request) -> web.Response:
        """Answer a path that the venue does not have."""

    def write_rate_limit(self, fault: RateLimit) -> web.Response:
        """Answer a request that came too early."""
