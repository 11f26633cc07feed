"""Bodies of requests."""

from __future__ import annotations

from pydantic import JsonValue
from starlette.requests import Request

from shotclock.emulator.rest.errors import bad_request


async def body_of(request: Request) -> JsonValue:
    """The JSON body; raises ApiError where it is none."""
    try:
        body: JsonValue = await request.json()
    except ValueError as error:
        raise bad_request("it is not JSON") from error
    return body
