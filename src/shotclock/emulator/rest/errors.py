"""Error responses in the form of IBM's API."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from shotclock.emulator.rest.faults import InjectedFault

MORE_INFO = "https://quantum.cloud.ibm.com/docs/errors"


class ApiError(Exception):
    """A refused request; code: the number in IBM's error registry, or a word if it has none."""

    def __init__(self, status: int, code: int | str, message: str, solution: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.solution = solution

    def response(self) -> Response:
        """The HTTP response."""
        error = {"code": self.code, "message": str(self), "solution": self.solution, "more_info": MORE_INFO}
        return JSONResponse({"errors": [error], "trace": "emulated"}, status_code=self.status)


def bad_request(message: str) -> ApiError:
    """The error for an invalid request."""
    return ApiError(400, 1208, f"Request validation of body failed, because: {message}")


def not_found(what: str) -> ApiError:
    """The error for an unknown resource."""
    return ApiError(404, "not_found", f"{what} not found")


REFUSALS: dict[InjectedFault, ApiError] = {
    InjectedFault.UNAUTHORIZED: ApiError(401, "unauthorized", "Unauthorized", "Get a new token."),
    InjectedFault.FORBIDDEN: ApiError(403, "forbidden", "Forbidden", "Check the instance and its plan."),
    InjectedFault.CONFLICT: ApiError(
        409, "conflict", "The instance's limit is reached", "Wait or raise the limit."
    ),
    InjectedFault.TOO_MANY_REQUESTS: ApiError(429, 1202, "Too many requests", "Wait, then try again."),
    InjectedFault.PENDING_LIMIT: ApiError(
        429, 3458, "The limit of pending jobs is reached", "Wait until a job has ended, or cancel one."
    ),
    InjectedFault.SERVER_ERROR: ApiError(500, 1000, "API Internal error", "Retry the action."),
    InjectedFault.BAD_GATEWAY: ApiError(502, "bad_gateway", "Bad gateway", "Retry the action."),
    InjectedFault.UNAVAILABLE: ApiError(503, "unavailable", "The service is in maintenance", "Retry later."),
    InjectedFault.GATEWAY_TIMEOUT: ApiError(504, "gateway_timeout", "Gateway timeout", "Retry the action."),
}


async def refuse(request: Request, error: Exception) -> Response:
    """Answers ApiErrors, requests to unknown routes, and unexpected exceptions."""
    if isinstance(error, ApiError):
        return error.response()
    if isinstance(error, ClientDisconnect):
        return Response(status_code=400)  # the client is gone
    if isinstance(error, HTTPException):
        what = f"{request.method} {request.url.path}: {error.detail}, not emulated"
        return ApiError(error.status_code, "not_found", what).response()
    return REFUSALS[InjectedFault.SERVER_ERROR].response()
