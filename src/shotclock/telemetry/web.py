"""The orchestrator's HTTP endpoints: liveness, readiness, Prometheus metrics and status."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable

from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from shotclock.domain.overview import Overview, to_json
from shotclock.domain.status import Phase
from shotclock.telemetry.exposition import Exposition
from shotclock.telemetry.page import page, policy

NOT_READY = {
    Phase.STARTING: "templates are being compiled",
    Phase.DRAINING: "draining: accepted calls finish, new calls are refused",
    Phase.DRAINED: "drained: `shotclock resume` accepts calls again",
}


HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
"""Of a status: it is old at once, and is what it says."""


def find_reasons(phase: Phase, impediments: tuple[str, ...]) -> tuple[str, ...]:
    """Why the orchestrator is not ready; none if it is."""
    return (*filter(None, [NOT_READY.get(phase, "")]), *impediments)


def application(
    registry: CollectorRegistry,
    overview: Callable[[], Overview],
    reasons: Callable[[], tuple[str, ...]],
    degraded: Callable[[], tuple[str, ...]] = tuple,
) -> Starlette:
    """`/livez` answers while the event loop runs. `/readyz` is 503 while there are reasons why the service is
    not ready; the body is a reason a line. What is degraded follows the `ok` of a service that is ready.

    `/status` is a page for browsers and JSON for other clients; `/` leads there.
    """

    exposition = Exposition(registry)

    async def livez(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        not_ready = reasons()
        lines = not_ready or ("ok", *degraded())
        return PlainTextResponse("".join(f"{line}\n" for line in lines), 503 if not_ready else 200)

    async def metrics(request: Request) -> Response:
        # formatting takes milliseconds of the interpreter, which calls would otherwise wait for
        text, media_type = await asyncio.to_thread(exposition.write, request.headers.get("accept", ""))
        return Response(text, media_type=media_type)

    async def show_status(request: Request) -> Response:
        if "text/html" in request.headers.get("accept", ""):
            nonce = secrets.token_urlsafe(16)
            return HTMLResponse(
                page(overview(), nonce), headers=HEADERS | {"Content-Security-Policy": policy(nonce)}
            )
        return Response(to_json(overview()), headers=HEADERS, media_type="application/json")

    async def lead_to_status(_: Request) -> Response:
        return RedirectResponse("status")

    return Starlette(
        routes=[
            Route("/livez", livez),
            Route("/readyz", readyz),
            Route("/metrics", metrics),
            Route("/status", show_status),
            Route("/", lead_to_status),
        ]
    )
