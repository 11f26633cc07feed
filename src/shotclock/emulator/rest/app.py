"""The routes of IBM's REST API, and the emulator's pages under /emulator."""

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
from shotclock.emulator.model_file import first_fault
from shotclock.emulator.rest.backends import Calibration
from shotclock.emulator.rest.bodies import body_of
from shotclock.emulator.rest.endpoint import Endpoint, no_calibration
from shotclock.emulator.rest.errors import ApiError, bad_request, refuse
from shotclock.emulator.rest.faults import InjectedFault, parse
from shotclock.emulator.rest.instances import instance_routes
from shotclock.emulator.rest.job_routes import JobRoutes, moment_of
from shotclock.emulator.rest.request_filter import RequestFilter, token
from shotclock.emulator.rest.sessions import session_document

Cut = Callable[[Request], Awaitable[None]]
# IBM's client does not change an address that contains "experimental"; others use the API's prefix or none.
PREFIXES = ("/experimental", "/api/v1", "/v1", "")


class FaultBody(BaseModel):
    """The body of POST /emulator/faults: a rule in --fault's syntax."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fault: str


class SessionUpdate(BaseModel):
    """The body of PATCH /sessions/{id}."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    accepting_jobs: bool


def application(endpoint: Endpoint, cut: Cut) -> ASGIApp:
    """The endpoint as an ASGI application; `cut` closes a request's connection immediately."""
    routes = Routes(endpoint)
    api = [*JobRoutes(endpoint, cut).table(), *routes.table()]
    emulator_routes = [
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
    return RequestFilter(
        Starlette(routes=[*emulator_routes, *mounted], exception_handlers=refusals), endpoint
    )


class Routes:
    """Devices, sessions, usage, and the emulator's pages."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def table(self) -> list[Route]:
        """The API's routes except those of jobs."""
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
        """GET /backends/{name}/configuration, which does not depend on the calibration."""
        self._calibration(request)
        return _json(self._endpoint.backend(request.path_params["name"]).configuration)

    async def properties(self, request: Request) -> Response:
        """GET /backends/{name}/properties of the latest or the requested calibration.

        As at IBM, the answer is empty if no calibration is known at the requested date.
        """
        calibration = self._calibration(request)
        return _json("{}" if calibration is None else calibration.properties)

    def _calibration(self, request: Request) -> Calibration | None:
        query = request.query_params
        backend = self._endpoint.backend(request.path_params["name"])
        if calibration_id := query.get("calibration_id"):
            calibration = backend.calibration(calibration_id)
            if calibration is None:
                raise ApiError(404, "not_found", no_calibration(backend, calibration_id))
            return calibration
        latest = backend.history[-1]
        if "updated_before" not in query:
            return latest
        return backend.calibration_before(moment_of(query, "updated_before", latest.updated_at))

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
        """PATCH /sessions/{id}: stops accepting jobs."""
        session = self._endpoint.session(request.path_params["session_id"])
        try:
            update = SessionUpdate.model_validate(await body_of(request))
        except ValidationError as error:
            raise bad_request(first_fault(error, "body")) from error
        if not update.accepting_jobs:
            self._endpoint.workloads.close(session)
        return Response(status_code=204)

    async def close_session(self, request: Request) -> Response:
        """DELETE /sessions/{id}/close: also cancels the session's jobs that have not begun."""
        self._endpoint.workloads.close_now(self._endpoint.session(request.path_params["session_id"]))
        return Response(status_code=204)

    async def about(self, request: Request) -> Response:
        """GET /emulator: the emulator's settings."""
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
                    name: [calibration.id for calibration in backend.history]
                    for name, backend in endpoint.backends.items()
                },
            }
        )

    async def account(self, request: Request) -> Response:
        """GET /emulator/account: all charged workloads, and tags that were charged twice."""
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
        """GET /emulator/faults: the active rules, and the faults that have occurred."""
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
        """POST /emulator/faults: adds a rule; maintenance, calibration and exhausted occur immediately."""
        try:
            rule = parse(FaultBody.model_validate(await body_of(request)).fault)
        except ValidationError as error:
            return PlainTextResponse(f"{first_fault(error, 'body')}\n", 400)
        except (SettingsError, ApiError) as error:
            return PlainTextResponse(f"{error}\n", 400)
        if rule.fault in {InjectedFault.MAINTENANCE, InjectedFault.CALIBRATION, InjectedFault.EXHAUSTED}:
            self._endpoint.apply_fault(rule.fault)
        else:
            self._endpoint.faults.add(rule)
        return await self.faults(request)

    async def clear_faults(self, request: Request) -> Response:
        """DELETE /emulator/faults."""
        await self._endpoint.clear()
        return await self.faults(request)


def _json(text: str) -> Response:
    return Response(text, media_type="application/json")
