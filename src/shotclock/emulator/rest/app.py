"""The routes of IBM's REST API, and the emulator's own under /emulator."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from shotclock.domain.errors import SettingsError
from shotclock.emulator.profile import first_fault
from shotclock.emulator.rest.backends import Calibration
from shotclock.emulator.rest.bodies import body_of
from shotclock.emulator.rest.endpoint import Endpoint, no_calibration
from shotclock.emulator.rest.errors import ApiError, bad_request, refuse
from shotclock.emulator.rest.faults import Fault, parse
from shotclock.emulator.rest.gate import Gate, token
from shotclock.emulator.rest.instances import instance_routes
from shotclock.emulator.rest.job_routes import JobRoutes, moment_of
from shotclock.emulator.rest.sessions import session_document

Cut = Callable[[Request], Awaitable[None]]
# IBM's client leaves an address alone that holds "experimental"; others take the API's own prefix or none.
PREFIXES = ("/experimental", "/api/v1", "/v1", "")


class FaultBody(BaseModel):
    """The body of POST /emulator/faults: a rule as of --fault."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fault: str


class SessionUpdate(BaseModel):
    """The body of PATCH /sessions/{id}."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    accepting_jobs: bool


def application(endpoint: Endpoint, cut: Cut) -> ASGIApp:
    """The whole endpoint as an ASGI application; `cut` ends a request's connection at once."""
    routes = Routes(endpoint)
    api = [*JobRoutes(endpoint, cut).table(), *routes.table()]
    own = [
        Route("/identity/token", token, methods=["POST"]),
        Route("/emulator", routes.about),
        Route("/emulator/account", routes.account),
        Route("/emulator/faults", routes.faults),
        Route("/emulator/faults", routes.add_fault, methods=["POST"]),
        Route("/emulator/faults", routes.clear_faults, methods=["DELETE"]),
        *instance_routes(endpoint.settings.price_per_s),
    ]
    mounted = [Mount(prefix, routes=api) for prefix in PREFIXES]
    refusals = dict.fromkeys((ApiError, HTTPException, ClientDisconnect, Exception), refuse)
    return Gate(Starlette(routes=[*own, *mounted], exception_handlers=refusals), endpoint)


class Routes:
    """Devices, sessions, usage, and the emulator's own pages."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def table(self) -> list[Route]:
        """The routes of the API that are not about jobs."""
        return [
            Route("/backends", self.backends),
            Route("/backends/{name}/configuration", self.configuration),
            Route("/backends/{name}/properties", self.properties),
            Route("/backends/{name}/status", self.status),
            Route("/instances/usage", self.usage),
            Route("/sessions", self.open_session, methods=["POST"]),
            Route("/sessions/{session_id}", self.session),
            Route("/sessions/{session_id}", self.update_session, methods=["PATCH"]),
            Route("/sessions/{session_id}/close", self.close_session, methods=["DELETE"]),
        ]

    async def backends(self, request: Request) -> Response:
        """GET /backends."""
        del request
        endpoint = self._endpoint
        return JSONResponse(
            {
                "devices": [
                    backend.device(
                        endpoint.workloads.waiting(name), not endpoint.machines[name].in_maintenance
                    )
                    for name, backend in endpoint.backends.items()
                ]
            }
        )

    async def configuration(self, request: Request) -> Response:
        """GET /backends/{name}/configuration: the same for every calibration."""
        self._calibration(request)
        return _json(self._endpoint.backend(request.path_params["name"]).configuration)

    async def properties(self, request: Request) -> Response:
        """GET /backends/{name}/properties: of the latest calibration, or the one that is asked for.

        Empty where a date is asked for at which no calibration is known, as IBM answers.
        """
        calibration = self._calibration(request)
        return _json("{}" if calibration is None else calibration.properties)

    def _calibration(self, request: Request) -> Calibration | None:
        asked = request.query_params
        backend = self._endpoint.backend(request.path_params["name"])
        if calibration_id := asked.get("calibration_id"):
            found = backend.calibration(calibration_id)
            if found is None:
                raise ApiError(404, "not_found", no_calibration(backend, calibration_id))
            return found
        latest = backend.history[-1]
        if "updated_before" not in asked:
            return latest
        return backend.calibration_before(moment_of(asked, "updated_before", latest.made))

    async def status(self, request: Request) -> Response:
        """GET /backends/{name}/status."""
        backend = self._endpoint.backend(request.path_params["name"])
        online = not self._endpoint.machines[backend.name].in_maintenance
        return JSONResponse(backend.status(self._endpoint.workloads.waiting(backend.name), online))

    async def usage(self, request: Request) -> Response:
        """GET /instances/usage."""
        endpoint = self._endpoint
        document = {
            "instance_id": request.headers.get("service-crn", ""),
            "plan_id": "emulated",
            "usage_consumed_seconds": endpoint.consumed_s(),
            "usage_limit_reached": endpoint.is_exhausted(),
        }
        if endpoint.settings.usage_limit_s is not None:
            document["usage_limit_seconds"] = endpoint.settings.usage_limit_s
        return JSONResponse(document)

    async def open_session(self, request: Request) -> Response:
        """POST /sessions."""
        session = self._endpoint.open_session(await body_of(request))
        return JSONResponse(session_document(session, self._endpoint.time))

    async def session(self, request: Request) -> Response:
        """GET /sessions/{id}."""
        session = self._endpoint.session(request.path_params["session_id"])
        return JSONResponse(session_document(session, self._endpoint.time))

    async def update_session(self, request: Request) -> Response:
        """PATCH /sessions/{id}: to accept no more jobs."""
        session = self._endpoint.session(request.path_params["session_id"])
        try:
            update = SessionUpdate.model_validate(await body_of(request))
        except ValidationError as error:
            raise bad_request(first_fault(error, "body")) from error
        if not update.accepting_jobs:
            self._endpoint.workloads.close(session)
        return Response(status_code=204)

    async def close_session(self, request: Request) -> Response:
        """DELETE /sessions/{id}/close: with every job of it that has not begun."""
        self._endpoint.workloads.close_now(self._endpoint.session(request.path_params["session_id"]))
        return Response(status_code=204)

    async def about(self, request: Request) -> Response:
        """GET /emulator: what this is."""
        del request
        endpoint = self._endpoint
        return JSONResponse(
            {
                "emulated": True,
                "profile": endpoint.settings.profile.name,
                "speed": endpoint.time.speed,
                "seed": endpoint.settings.seed,
                "now": endpoint.time.stamp(endpoint.time.now_s()),
                "backends": list(endpoint.backends),
                "calibrations": {
                    name: [one.id for one in backend.history] for name, backend in endpoint.backends.items()
                },
            }
        )

    async def account(self, request: Request) -> Response:
        """GET /emulator/account: every workload that was charged, and what was paid for twice."""
        del request
        account = self._endpoint.account
        return JSONResponse(
            {
                "emulated": True,
                "consumed_seconds": self._endpoint.consumed_s(),
                "money": account.money,
                "price_per_second": account.price_per_s,
                "charges": [asdict(charge) for charge in account.charges],
                "tags_paid_twice": list(account.tags_paid_twice()),
            }
        )

    async def faults(self, request: Request) -> Response:
        """GET /emulator/faults: the rules that hold, and what has struck."""
        del request
        plan = self._endpoint.faults
        return JSONResponse(
            {
                "emulated": True,
                "rules": [asdict(rule) | {"fault": rule.fault.value} for rule in plan.rules],
                "struck": [fault.value for fault in plan.struck],
            }
        )

    async def add_fault(self, request: Request) -> Response:
        """POST /emulator/faults: one more rule; maintenance, calibration and exhausted strike at once."""
        try:
            rule = parse(FaultBody.model_validate(await body_of(request)).fault)
        except ValidationError as error:
            return PlainTextResponse(f"{first_fault(error, 'body')}\n", 400)
        except (SettingsError, ApiError) as error:
            return PlainTextResponse(f"{error}\n", 400)
        if rule.fault in {Fault.MAINTENANCE, Fault.CALIBRATION, Fault.EXHAUSTED}:
            self._endpoint.befall(rule.fault)
        else:
            self._endpoint.faults.add(rule)
        return await self.faults(request)

    async def clear_faults(self, request: Request) -> Response:
        """DELETE /emulator/faults."""
        await self._endpoint.clear()
        return await self.faults(request)


def _json(text: str) -> Response:
    return Response(text, media_type="application/json")
