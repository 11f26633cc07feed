"""The orchestrator's HTTP endpoints: liveness, readiness, Prometheus metrics and status."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import asdict

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from shotclock.domain.errors import MachineError
from shotclock.domain.status import Phase, Status
from shotclock.telemetry.page import page

WAITS_FOR = {
    Phase.STARTING: "templates are being compiled",
    Phase.DRAINING: "draining: accepted calls finish, new calls are refused",
    Phase.DRAINED: "drained: `shotclock resume` accepts calls again",
}


def has_no_impediment() -> str:
    """The default impediment: none, so readiness depends on the phase alone."""
    return ""


def application(
    registry: CollectorRegistry,
    status: Callable[[], Status],
    impediment: Callable[[], str] = has_no_impediment,
) -> Starlette:
    """`/livez` answers while the event loop runs. `/readyz` is 503 until templates are compiled, while
    draining, and while `impediment` returns a reason why nobody can connect ("" if clients can).

    `/status` is a page for browsers and JSON for other clients.
    """

    async def livez(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        why = WAITS_FOR.get(status().phase) or impediment()
        return PlainTextResponse(f"{why}\n", status_code=503) if why else PlainTextResponse("ok\n")

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    async def show_status(request: Request) -> Response:
        if "text/html" in request.headers.get("accept", ""):
            return HTMLResponse(page(status()))
        return JSONResponse(asdict(status()))

    return Starlette(
        routes=[
            Route("/livez", livez),
            Route("/readyz", readyz),
            Route("/metrics", metrics),
            Route("/status", show_status),
        ]
    )


class Web:
    """An HTTP server on the running loop; `serve` creates it."""

    def __init__(self, server: uvicorn.Server, listening: socket.socket) -> None:
        self.port: int = listening.getsockname()[1]
        self._server = server
        self._listening = listening
        self._main_loop = asyncio.create_task(server.main_loop())

    async def stop(self) -> None:
        """Answers the requests in progress, then closes."""
        self._server.should_exit = True
        await self._main_loop
        await self._server.shutdown(sockets=[self._listening])


async def serve(app: Starlette, host: str, port: int) -> Web:
    """Serves on HOST:PORT (port 0 picks a free one); raises MachineError if the port is taken."""
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise MachineError(
            f"serve.metrics: cannot listen on {host}:{port}: {error.strerror}; choose another port"
        ) from error
    server = uvicorn.Server(
        uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=2)
    )
    # `Server.serve` would replace the process's signal handlers
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    await server.startup(sockets=[listening])
    return Web(server, listening)
