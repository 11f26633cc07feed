"""Reads and changes single flags of a flag file, in the words of `shotclock flags`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from shotclock.domain.errors import SettingsError
from shotclock.domain.flags import (
    ANY_SHOTS,
    FLAGS,
    PROFILE,
    QUANTUM_CLIENTS,
    QUANTUM_KERNELS,
    QUANTUM_PATH,
    QUANTUM_SHARE,
    SHOTS,
    SWITCHES,
    FlagChange,
)
from shotclock.domain.ports import FlagSource
from shotclock.rollout.flag_document import FlagDocument, read_document

ON, OFF, ANY, BY_RULE = "on", "off", "any", "by its targeting rule"
OF_SETTINGS = "settings"
"""The profile that `quantum.profile` names."""

UNSET = {**dict.fromkeys(SWITCHES, ON), SHOTS: ANY, PROFILE: OF_SETTINGS}
"""What a flag that is not in the file comes to."""

READ = {QUANTUM_KERNELS: "kernel", QUANTUM_CLIENTS: "client"}
"""What the rules of these flags read."""


def describe_flags(document: FlagDocument) -> dict[str, str]:
    """Every flag's setting, as `set_flag` takes it where it has such a form."""
    return {flag: _describe(flag, document.flags.get(flag)) for flag in FLAGS}


def set_flag(document: FlagDocument, flag: str, setting: str) -> str:
    """The document with this flag set, its other flags as they were. Raises SettingsError.

    setting: "on" or "off"; of quantum_share a percentage; of quantum_kernels and quantum_clients also
        "off:NAME,NAME"; of shots a number or "any"; of profile a name or "settings".
    """
    if flag not in FLAGS:
        raise SettingsError(f"flags set: '{flag}' is not a flag; use {', '.join(FLAGS)}")
    whole = json.loads(document.text)
    whole["flags"][flag] = _define(flag, setting)
    return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"


def ignore_text(text: str) -> None:
    """Where reading the document is check enough."""
    del text


def edit_source(
    source: FlagSource, flag: str, setting: str, check: Callable[[str], object] = ignore_text
) -> FlagChange:
    """Sets one flag in the source's document.

    check: raises SettingsError on text that must not be written.

    Raises SettingsError, or MachineError if the source cannot be written; it is as it was then.
    """
    changes: list[FlagChange] = []

    def edit(content: bytes) -> str:
        document = read_document(content, source.name)
        text = set_flag(document, flag, setting)
        after = read_document(text, source.name)
        check(text)
        changes.append(FlagChange(flag, describe_flags(document)[flag], describe_flags(after)[flag]))
        return text

    source.replace(edit)
    return changes[-1]


def _describe(flag: str, definition: Mapping[str, Any] | None) -> str:
    if definition is None or definition["state"] == "DISABLED":
        return UNSET[flag]
    for setting in _candidates(flag, definition):
        if _define(flag, setting) == definition:
            return setting
    return BY_RULE if definition.get("targeting") else str(_default(definition))


def _candidates(flag: str, definition: Mapping[str, Any]) -> tuple[str, ...]:
    """Settings of which the definition may be."""
    match definition.get("targeting"):
        case {"fractional": [["on", int(percent)], *_]} if flag == QUANTUM_SHARE and 0 <= percent <= 100:
            return (f"{percent}",)
        case {"if": [{"in": [_, [*names]]}, *_]} if flag in READ and names and all(names):
            return (f"{OFF}:{','.join(map(str, names))}",)
        case None if flag in SWITCHES:
            return (ON, OFF)
    return ()


def _default(definition: Mapping[str, Any]) -> str | int:
    value: str | int = definition["variants"][definition["defaultVariant"]]
    if isinstance(value, bool):
        return ON if value else OFF
    return value


def _define(flag: str, setting: str) -> dict[str, Any]:
    if flag == SHOTS:
        return _define_shots(setting)
    if flag == PROFILE:
        state = "DISABLED" if setting == OF_SETTINGS else "ENABLED"
        return {"state": state, "variants": {"name": setting}, "defaultVariant": "name"}
    if setting in {ON, OFF}:
        return _define_switch(setting)
    if flag == QUANTUM_SHARE and setting.isdecimal() and int(setting) <= 100:
        percent = int(setting)
        return _define_switch(ON, {"fractional": [[ON, percent], [OFF, 100 - percent]]})
    names = setting.removeprefix(f"{OFF}:").split(",")
    if flag in READ and setting.startswith(f"{OFF}:") and all(names):
        return _define_switch(ON, {"if": [{"in": [{"var": READ[flag]}, names]}, OFF, ON]})
    forms = {QUANTUM_PATH: "on or off", QUANTUM_SHARE: "a percentage from 0 to 100, on or off"}
    form = forms.get(flag, "on, off, or off:NAME,NAME")
    raise SettingsError(f"flags set: {flag} must be {form} (got '{setting}')")


def _define_shots(setting: str) -> dict[str, Any]:
    if setting == ANY:
        return {"state": "DISABLED", "variants": {"most": ANY_SHOTS}, "defaultVariant": "most"}
    if not setting.isdecimal() or not 1 <= int(setting) <= ANY_SHOTS:
        raise SettingsError(f"flags set: {SHOTS} must be {ANY}, or a number from 1 on (got '{setting}')")
    return {"state": "ENABLED", "variants": {"most": int(setting)}, "defaultVariant": "most"}


def _define_switch(default: str, targeting: dict[str, Any] | None = None) -> dict[str, Any]:
    rule = {"targeting": targeting} if targeting else {}
    return {"state": "ENABLED", "variants": {ON: True, OFF: False}, "defaultVariant": default, **rule}
