"""Middleware before every request: network delay, scheduled faults, authentication."""

from __future__ import annotations

import asyncio
import base64
import json
import time

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from shotclock.emulator.rest import faults
from shotclock.emulator.rest.clients import CLIENT_HEADER, check_client
from shotclock.emulator.rest.endpoint import Endpoint
from shotclock.emulator.rest.errors import REFUSALS, ApiError
from shotclock.emulator.rest.faults import InjectedFault
from shotclock.emulator.rest.instances import CATALOG_PREFIX, SEARCH_PREFIX

SLOW_S = 3.0
TOKEN_VALID_S = 3_600
# The cloud's services and the emulator's pages are not part of the emulated API: no faults, no network.
OPEN_TO_ALL = ("/identity/", SEARCH_PREFIX, CATALOG_PREFIX, "/emulator")


class RequestFilter:
    """Wraps the application; waits for the network's round trip before it serves a request."""

    def __init__(self, app: ASGIApp, endpoint: Endpoint) -> None:
        self._app = app
        self._endpoint = endpoint
        link = endpoint.settings.profile.link
        self._rtt_s = (link.rtt.seconds if link else 0.0) / endpoint.settings.speed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves or refuses one request."""
        if scope["type"] != "http" or scope["path"].startswith(OPEN_TO_ALL):
            await self._app(scope, receive, send)
            return
        await asyncio.sleep(self._rtt_s)
        try:
            await self._apply_faults()
            headers = Request(scope).headers
            check_client(headers.get(CLIENT_HEADER, ""))
            if not headers.get("authorization"):
                raise REFUSALS[InjectedFault.UNAUTHORIZED]
        except ApiError as error:
            await error.response()(scope, receive, send)
            return
        await self._app(scope, receive, send)

    async def _apply_faults(self) -> None:
        for fault in self._endpoint.faults.strike(faults.Scope.REQUEST):
            self._endpoint.apply_fault(fault)
            if fault is InjectedFault.SLOW:
                await asyncio.sleep(SLOW_S)
            if fault in REFUSALS:
                raise REFUSALS[fault]


async def token(request: Request) -> JSONResponse:
    """POST /identity/token of IBM Cloud's IAM: any API key gets an unsigned token, valid for an hour.

    Uses the machine's date, because clients compare the token's with theirs.
    """
    del request
    issued = int(time.time())
    expires = issued + TOKEN_VALID_S
    claims = {"iss": "shotclock emulate", "sub": "emulated", "iat": issued, "exp": expires}
    parts = ({"alg": "none", "typ": "JWT"}, claims)
    packed = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return JSONResponse(
        {
            "access_token": ".".join((*packed, "EMULATED")),
            "refresh_token": "not_supported",
            "token_type": "Bearer",
            "expires_in": TOKEN_VALID_S,
            "expiration": expires,
            "scope": "emulated",
        }
    )
