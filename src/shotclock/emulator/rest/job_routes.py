"""The routes of /jobs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from shotclock.emulator.model_file import first_fault
from shotclock.emulator.rest.bodies import body_of
from shotclock.emulator.rest.endpoint import Endpoint
from shotclock.emulator.rest.errors import ApiError, bad_request, not_found
from shotclock.emulator.rest.faults import InjectedFault
from shotclock.emulator.rest.jobs import EndpointJob, JobState, job_document, metrics_document
from shotclock.emulator.rest.results import results_text

DEFAULT_LIMIT = 200


class TagsBody(BaseModel):
    """The body of PUT /jobs/{id}/tags."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tags: tuple[str, ...]


class JobRoutes:
    """Submits, statuses, results."""

    def __init__(self, endpoint: Endpoint, cut: Callable[[Request], Awaitable[None]]) -> None:
        self._endpoint = endpoint
        self._cut = cut

    def table(self) -> list[Route]:
        """The routes."""
        return [
            Route("/jobs", self.listing),
            Route("/jobs", self.submit, methods=["POST"]),
            Route("/jobs/{job_id}", self.job),
            Route("/jobs/{job_id}", self.delete, methods=["DELETE"]),
            Route("/jobs/{job_id}/results", self.results),
            Route("/jobs/{job_id}/metrics", self.metrics),
            Route("/jobs/{job_id}/logs", self.logs),
            Route("/jobs/{job_id}/cancel", self.cancel, methods=["POST"]),
            Route("/jobs/{job_id}/tags", self.tags, methods=["PUT"]),
        ]

    async def submit(self, request: Request) -> Response:
        """POST /jobs."""
        # A client that disconnects must not cancel the submit half-way.
        body = await body_of(request)
        work = asyncio.create_task(self._endpoint.submit(body, partial(self._cut, request)))
        job = await asyncio.shield(work)
        return JSONResponse(
            {
                "id": job.id,
                "backend": job.ask.backend,
                "session_id": job.ask.session_id or None,
                "private": job.ask.private,
                "messages": [{"data": f"EMULATED at {self._endpoint.time.speed:g} times real time"}],
            }
        )

    async def listing(self, request: Request) -> Response:
        """GET /jobs with IBM's filters, the newest first unless `sort=ASC`."""
        query = request.query_params
        jobs = [job for job in self._endpoint.workloads.jobs.values() if self._matches(job, request)]
        if query.get("sort", "DESC").upper() != "ASC":
            jobs.reverse()
        offset, limit = _count(query.get("offset"), 0), _count(query.get("limit"), DEFAULT_LIMIT)
        page = jobs[offset : offset + limit]
        documents = [job_document(job, self._endpoint.time, with_params=False) for job in page]
        return JSONResponse({"jobs": documents, "count": len(jobs), "limit": limit, "offset": offset})

    async def job(self, request: Request) -> Response:
        """GET /jobs/{id}."""
        with_params = request.query_params.get("exclude_params", "").lower() != "true"
        return JSONResponse(job_document(self._job(request), self._endpoint.time, with_params=with_params))

    async def delete(self, request: Request) -> Response:
        """DELETE /jobs/{id}: removes the job; its charge stays."""
        job = self._job(request)
        if not job.has_ended:
            raise ApiError(409, "conflict", "The job has not ended", "Cancel it first.")
        del self._endpoint.workloads.jobs[job.id]
        return Response(status_code=204)

    async def results(self, request: Request) -> Response:
        """GET /jobs/{id}/results; for a failed job, the reason."""
        job = self._job(request)
        if job.state is JobState.COMPLETED:
            if job.ask.private and job.results_read:
                raise not_found(f"Results of job {job.id}, which is private: they were read once, and")
            text = results_text(job, self._endpoint.time)
            job.results_read = True
            return PlainTextResponse(text[: len(text) // 2] if InjectedFault.CORRUPT in job.fate else text)
        if job.has_ended:
            return PlainTextResponse(job.reason)
        raise not_found(f"Results of job {job.id}, which is {job.state.value},")

    async def metrics(self, request: Request) -> Response:
        """GET /jobs/{id}/metrics."""
        job = self._job(request)
        endpoint = self._endpoint
        now_s = endpoint.time.now_s()
        position = endpoint.queue.position(job.number, job.eligible_s - now_s, now_s)
        version = request.headers.get("ibm-api-version", "")
        return JSONResponse(metrics_document(job, endpoint.time, position, version))

    async def logs(self, request: Request) -> Response:
        """GET /jobs/{id}/logs."""
        return PlainTextResponse(f"EMULATED job {self._job(request).id}\n")

    async def cancel(self, request: Request) -> Response:
        """POST /jobs/{id}/cancel."""
        job = self._job(request)
        if not self._endpoint.workloads.cancel(job):
            raise ApiError(409, "conflict", f"Job cannot be cancelled: it is {job.state.value}")
        return Response(status_code=204)

    async def tags(self, request: Request) -> Response:
        """PUT /jobs/{id}/tags."""
        job = self._job(request)
        try:
            job.tags = TagsBody.model_validate(await body_of(request)).tags
        except ValidationError as error:
            raise bad_request(first_fault(error, "body")) from error
        return Response(status_code=204)

    def _job(self, request: Request) -> EndpointJob:
        return self._endpoint.job(request.path_params["job_id"])

    def _matches(self, job: EndpointJob, request: Request) -> bool:
        query = request.query_params
        pending = str(not job.has_ended).lower()
        created = datetime.fromisoformat(self._endpoint.time.stamp(job.created_s))
        return (
            set(query.getlist("tags")) <= set(job.tags)
            and query.get("backend", job.ask.backend) == job.ask.backend
            and query.get("program", job.ask.program_id) == job.ask.program_id
            and query.get("session_id", job.ask.session_id) == job.ask.session_id
            and query.get("pending", pending).lower() == pending
            and moment_of(query, "created_after", created)
            <= created
            <= moment_of(query, "created_before", created)
        )


def moment_of(query: QueryParams, name: str, otherwise: datetime) -> datetime:
    """The date of a query parameter, UTC unless it names a zone. Raises ApiError."""
    text = query.get(name)
    if text is None:
        return otherwise
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise bad_request(f"{text[:20]!r} is not a date") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=otherwise.tzinfo)


def _count(text: str | None, otherwise: int) -> int:
    if text is None:
        return otherwise
    if not (text.isdecimal() and len(text) < 10):
        raise bad_request(f"{text[:20]!r} is not a count")
    return int(text)
