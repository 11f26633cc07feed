"""The instance, as IBM Cloud's Global Search and Global Catalog list it.

IBM's client looks up an account's instances there, even if it is given one.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from shotclock.emulator.rest.errors import not_found

INSTANCE = "crn:v1:bluemix:public:quantum-computing:us-east:a/emulated:emulated::"
NAME = "emulated"
PLAN = "emulated"
SEARCH_PREFIX = "/global-search"
CATALOG_PREFIX = "/global-catalog"


def instance_routes(price_per_s: float) -> list[Route]:
    """The routes of both services; price_per_s: money per second, 0 for a free plan."""

    async def search(request: Request) -> Response:
        """POST /v3/resources/search: all instances of the account, for any query."""
        del request
        instance = {
            "crn": INSTANCE,
            "name": NAME,
            "service_plan_unique_id": PLAN,
            "doc": {"extensions": {"emulated": True}},
            "tags": [],
        }
        return JSONResponse({"items": [instance], "limit": 100})

    async def plan(request: Request) -> Response:
        """GET /{id}: an instance's plan."""
        if request.path_params["plan_id"] != PLAN:
            raise not_found(f"Plan {request.path_params['plan_id']}")
        return JSONResponse(
            {
                "id": PLAN,
                "name": PLAN,
                "overview_ui": {"en": {"display_name": PLAN}},
                "metadata": {"pricing": {"type": "paygo" if price_per_s > 0.0 else "free"}},
            }
        )

    return [
        Route(f"{SEARCH_PREFIX}/v3/resources/search", search, methods=["POST"]),
        Route(f"{CATALOG_PREFIX}/{{plan_id}}", plan),
    ]
