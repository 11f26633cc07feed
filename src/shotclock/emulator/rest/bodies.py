"""Reads the bodies of requests."""

from __future__ import annotations

import json

from pydantic import JsonValue
from starlette.requests import Request

from shotclock.emulator.rest.errors import ApiError, bad_request

MAX_BYTES = 300_000_000
"""Limit of a job's input on IBM's service (Qiskit/documentation#5369)."""


async def body_of(request: Request) -> JsonValue:
    """The JSON body; raises ApiError if it is not valid JSON or larger than IBM accepts."""
    content, length = bytearray(), 0
    async for chunk in request.stream():
        length += len(chunk)
        if length <= MAX_BYTES:  # read the rest too: a client reads the answer only after sending
            content += chunk
    if length > MAX_BYTES:
        raise ApiError(413, "payload_too_large", f"The input has {length} bytes, {MAX_BYTES} are allowed")
    try:
        body: JsonValue = json.loads(content)
    except ValueError as error:
        raise bad_request("it is not JSON") from error
    except RecursionError as error:
        raise bad_request("it is nested too deeply") from error
    return body
