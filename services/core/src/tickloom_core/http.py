"""The small HTTP server of every service: /healthz, /readyz and /metrics."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from aiohttp import web
from prometheus_client import REGISTRY, exposition

from tickloom_core.errors import ConfigError
from tickloom_core.lifecycle import Health

log = structlog.get_logger(__name__)


@asynccontextmanager
async def serve_health(health: Health, *, host: str, port: int) -> AsyncIterator[None]:
    """Serve the three paths while the block runs; a negative port serves nothing, 0 takes any.

    `/healthz` is 200 while every loop turns, `/readyz` 200 while every condition holds, each else 503 with the names of
    what does not.

    Raises:
        ConfigError: the port is taken.
    """
    if port < 0:
        yield
        return

    async def answer_health(_: web.Request) -> web.Response:
        stuck = health.find_stuck_loops()
        return web.json_response({"stuck": stuck}, status=503 if stuck else 200)

    async def answer_ready(_: web.Request) -> web.Response:
        unmet = health.find_unmet_conditions()
        return web.json_response({"unmet": unmet}, status=503 if unmet else 200)

    async def answer_metrics(_: web.Request) -> web.Response:
        body = exposition.generate_latest(REGISTRY)
        return web.Response(body=body, headers={"Content-Type": exposition.CONTENT_TYPE_LATEST})

    app = web.Application()
    app.router.add_get("/healthz", answer_health)
    app.router.add_get("/readyz", answer_ready)
    app.router.add_get("/metrics", answer_metrics)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
        except OSError as error:
            raise ConfigError(
                f"the port is not free ({error.strerror}); give another with --http_port", place=f"{host}:{port}"
            ) from error
        log.info("http.serving", address=runner.addresses[0])
        yield
    finally:
        await runner.cleanup()
