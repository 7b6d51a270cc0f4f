"""HTTP servers: one a venue, which stands in for all hosts of that venue, and one for control."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from aiohttp import web

from tickloom_simulator.hub import Hub  # named in a runtime signature of aiohttp

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler

    from tickloom_simulator.faults import RateLimit

_SHUTDOWN_S = 0.5


class RestFormat(Protocol):
    """The REST side of a venue."""

    def add_rest_routes(self, app: web.Application, hub: Hub) -> None:
        """Add the venue's REST paths to its server."""

    def write_not_found(self, request: web.Request) -> web.Response:
        """Answer a path that the venue does not have."""

    def write_rate_limit(self, fault: RateLimit) -> web.Response:
        """Answer a request that came too early."""


def build_venue_app(rest: RestFormat, hub: Hub) -> web.Application:
    """Build the application of one venue: websockets on any path, REST on the venue's, and faults before both."""

    @web.middleware
    async def meet_faults(request: web.Request, handler: Handler) -> web.StreamResponse:
        if hub.faults.refuses(hub.venue):
            return web.Response(status=503, text="Service Unavailable")
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await hub.serve(request)
        limit = hub.faults.find_rate_limit(hub.venue)
        return rest.write_rate_limit(limit) if limit is not None else await handler(request)

    async def answer_unknown(request: web.Request) -> web.Response:
        return rest.write_not_found(request)

    app = web.Application(middlewares=[meet_faults])
    rest.add_rest_routes(app, hub)
    app.router.add_route("*", "/{path:.*}", answer_unknown)
    return app


async def start_server(app: web.Application, host: str, port: int) -> tuple[web.AppRunner, str]:
    """Start a server; return its runner and its address ("http://127.0.0.1:18081").

    Raises:
        OSError: the port is taken.
    """
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_S)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    bound_port = runner.addresses[0][1]
    return runner, f"http://{host}:{bound_port}"
