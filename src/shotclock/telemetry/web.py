"""The orchestrator's HTTP endpoints: liveness, readiness, Prometheus metrics and status."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from shotclock.domain.status import Phase, Status
from shotclock.telemetry.page import page

NOT_READY = {
    Phase.STARTING: "templates are being compiled",
    Phase.DRAINING: "draining: accepted calls finish, new calls are refused",
    Phase.DRAINED: "drained: `shotclock resume` accepts calls again",
}


def find_no_impediments() -> tuple[str, ...]:
    """The default: none, so readiness depends on the phase alone."""
    return ()


def find_reasons(phase: Phase, impediments: tuple[str, ...]) -> tuple[str, ...]:
    """Why the orchestrator is not ready; none if it is."""
    return (*filter(None, [NOT_READY.get(phase, "")]), *impediments)


def application(
    registry: CollectorRegistry,
    status: Callable[[], Status],
    impediments: Callable[[], tuple[str, ...]] = find_no_impediments,
) -> Starlette:
    """`/livez` answers while the event loop runs. `/readyz` is 503 until templates are compiled, while
    draining, and while `impediments` returns reasons why nobody can call; the body is a reason a line.

    `/status` is a page for browsers and JSON for other clients.
    """

    async def livez(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        reasons = find_reasons(status().phase, impediments())
        lines = "".join(f"{reason}\n" for reason in reasons)
        return PlainTextResponse(lines or "ok\n", status_code=503 if reasons else 200)

    async def metrics(request: Request) -> Response:
        encode, media_type = choose_encoder(request.headers.get("accept", ""))
        # formatting takes milliseconds of the interpreter, which calls would otherwise wait for
        return Response(await asyncio.to_thread(encode, registry), media_type=media_type)

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
