"""The control API: truth, pauses, rates, faults and replay, as JSON over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from aiohttp import web

from tickloom_simulator.errors import RequestError
from tickloom_simulator.faults import Burst, Close, Fault, FaultRegistry, Refuse, parse_fault

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp.typedefs import Handler

    from tickloom_simulator.exchange import Exchange
    from tickloom_simulator.hub import Hub
    from tickloom_simulator.truth import Truth


class Source(Protocol):
    """What makes the data: the generator or a replay."""

    is_running: bool

    async def run(self) -> None:
        """Make data until cancelled."""

    async def pause(self) -> None:
        """Stop, and return when everything made was taken by the operating system."""

    def resume(self) -> None:
        """Go on."""

    def change_rates(self, **rates: float) -> None:
        """Change how much is made a second."""

    def start(self) -> None:
        """Start the replay."""

    def describe(self) -> dict[str, Any]:
        """Return what `GET /status` says about it."""


@web.middleware
async def _answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except (RequestError, KeyError, TypeError, ValueError) as error:
        return web.json_response({"error": f"{type(error).__name__}: {error}"}, status=400)
    except TimeoutError:
        return web.json_response({"error": "a client does not read; see backlog_bytes in /status"}, status=504)


class Control:
    """The handlers of the control API."""

    def __init__(
        self,
        truth: Truth,
        faults: FaultRegistry,
        hubs: Mapping[str, Hub],
        *,
        exchanges: Mapping[str, Exchange],
        source: Source,
    ) -> None:
        self._truth = truth
        self._faults = faults
        self._hubs = hubs
        self._exchanges = exchanges
        self._source = source

    def build_app(self) -> web.Application:
        """Build the application."""
        app = web.Application(middlewares=[_answer_errors])
        app.add_routes(
            [
                web.get("/truth", self._read_truth),
                web.get("/truth/keys", self._read_keys),
                web.delete("/truth", self._forget_truth),
                web.get("/status", self._read_status),
                web.post("/pause", self._pause),
                web.post("/resume", self._resume),
                web.post("/rates", self._change_rates),
                web.post("/replay/start", self._start_replay),
                web.get("/replay", self._read_replay),
                web.post("/faults", self._add_fault),
                web.delete("/faults", self._lift_faults),
                web.delete("/faults/{id}", self._lift_faults),
            ]
        )
        return app

    async def _read_truth(self, request: web.Request) -> web.Response:
        return web.json_response(self._truth.summarise(request.query.get("agent")))

    async def _read_keys(self, request: web.Request) -> web.Response:
        query = request.query
        keys = self._truth.list_keys(query["agent"], query["venue"], query["channel"], query.get("symbol"))
        return web.json_response(keys)

    async def _forget_truth(self, request: web.Request) -> web.Response:  # noqa: ARG002  # a handler's signature
        self._truth.forget()
        return web.json_response({})

    async def _read_status(self, request: web.Request) -> web.Response:  # noqa: ARG002  # a handler's signature
        connections = [row for hub in self._hubs.values() for row in hub.describe()]
        subscriptions: dict[str, dict[str, dict[str, list[str]]]] = {}
        for hub in self._hubs.values():
            for connection, subscription in hub.list_links():
                by_channel = subscriptions.setdefault(connection.peer.agent, {}).setdefault(hub.venue, {})
                symbols = by_channel.setdefault(subscription.channel, [])
                if subscription.symbol not in symbols:
                    symbols.append(subscription.symbol)
        status = {
            "connections": connections,
            "subscriptions": subscriptions,
            "generating": self._source.is_running,
            "faults": self._faults.list_all(),
        }
        return web.json_response(status | self._source.describe())

    async def _pause(self, request: web.Request) -> web.Response:  # noqa: ARG002  # a handler's signature
        await self._source.pause()
        return web.json_response({})

    async def _resume(self, request: web.Request) -> web.Response:  # noqa: ARG002  # a handler's signature
        self._source.resume()
        return web.json_response({})

    async def _change_rates(self, request: web.Request) -> web.Response:
        self._source.change_rates(**{name: float(rate) for name, rate in (await request.json()).items()})
        return web.json_response(self._source.describe())

    async def _start_replay(self, request: web.Request) -> web.Response:  # noqa: ARG002  # a handler's signature
        self._source.start()
        return web.json_response({})

    async def _read_replay(self, request: web.Request) -> web.Response:  # noqa: ARG002  # a handler's signature
        return web.json_response(self._source.describe().get("replay", {}))

    async def _add_fault(self, request: web.Request) -> web.Response:
        fault = parse_fault(await request.read())
        if fault.venue not in self._hubs:
            raise RequestError(f"no venue {fault.venue!r} here; there is {', '.join(self._hubs)}")
        fault_id = self._faults.add(fault)
        return web.json_response({"id": fault_id} | await self._strike(fault))

    async def _lift_faults(self, request: web.Request) -> web.Response:
        fault_id = request.match_info.get("id")
        self._faults.lift(int(fault_id) if fault_id is not None else None)
        return web.json_response({})

    async def _strike(self, fault: Fault) -> dict[str, Any]:
        """Do what a fault does at once."""
        hub = self._hubs[fault.venue]
        if isinstance(fault, Close):
            await hub.close_sockets(fault.mode)
        elif isinstance(fault, Refuse):
            await hub.close_sockets("clean")
        elif isinstance(fault, Burst):
            exchange = self._exchanges.get(fault.venue)
            if exchange is None:
                raise RequestError("a recording cannot burst: it holds what it holds")
            made = exchange.make_trades(fault.symbol, fault.count, 0)
            hub.flush()
            return {"sent": made}
        return {}
