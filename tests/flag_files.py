"""Flag files for tests."""

from __future__ import annotations

import json
from typing import Any

from shotclock.domain.errors import SettingsError


def make_switch(*, on: bool = True, targeting: dict[str, Any] | None = None) -> dict[str, Any]:
    rule = {"targeting": targeting} if targeting else {}
    default = "on" if on else "off"
    return {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": default, **rule}


def make_share(percent: int) -> dict[str, Any]:
    return make_switch(targeting={"fractional": [["on", percent], ["off", 100 - percent]]})


def make_shots(most: int) -> dict[str, Any]:
    return {"state": "ENABLED", "variants": {"most": most}, "defaultVariant": "most"}


class NoProfiles:
    """Those of any provider but the emulated."""

    def check(self, name: str) -> None:
        raise SettingsError(f"needs quantum.provider = 'emulated' (got {name})")

    def use(self, name: str) -> None:
        assert not name


NO_PROFILES = NoProfiles()


def make_profile(name: str, **others: str) -> dict[str, Any]:
    return {"state": "ENABLED", "variants": {"name": name, **others}, "defaultVariant": "name"}


def make_file(**flags: dict[str, Any]) -> str:
    return json.dumps({"flags": flags}, indent=1)
