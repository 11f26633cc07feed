"""Flag files for tests."""

from __future__ import annotations

import json
from typing import Any


def make_switch(*, on: bool = True, targeting: dict[str, Any] | None = None) -> dict[str, Any]:
    rule = {"targeting": targeting} if targeting else {}
    default = "on" if on else "off"
    return {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": default, **rule}


def make_share(percent: int) -> dict[str, Any]:
    return make_switch(targeting={"fractional": [["on", percent], ["off", 100 - percent]]})


def make_shots(most: int) -> dict[str, Any]:
    return {"state": "ENABLED", "variants": {"most": most}, "defaultVariant": "most"}


def make_file(**flags: dict[str, Any]) -> str:
    return json.dumps({"flags": flags}, indent=1)
