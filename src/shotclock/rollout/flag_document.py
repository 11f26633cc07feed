"""A flag file in flagd's format (https://flagd.dev/reference/flag-definitions), checked before it is used."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from shotclock.domain.documents import DocumentError, parse_json
from shotclock.domain.errors import SettingsError
from shotclock.domain.flags import ANY_SHOTS, FLAGS, PROFILE, SHOTS, SWITCHES

TOP_LEVEL = ("$schema", "flags", "metadata")
FIELDS = ("state", "variants", "defaultVariant", "targeting", "metadata")
STATES = ("ENABLED", "DISABLED")
OPERATORS = frozenset(
    (
        *("var", "missing", "missing_some", "if", "?:", "==", "===", "!=", "!==", "!", "!!", "or", "and"),
        *(">", ">=", "<", "<=", "max", "min", "+", "-", "*", "/", "%", "merge", "in", "cat", "substr"),
        *("fractional", "starts_with", "ends_with", "sem_ver"),
    )
)
"""Those of JsonLogic, and flagd's four. An unknown one is refused: flagd would only log it."""

LOOPS = frozenset(("map", "reduce", "filter", "all", "none", "some"))
"""JsonLogic's too, and refused: nested ones double their work with each 20 bytes of the file."""

MOST_WEIGHT = 2**31 - 1


@dataclass(frozen=True, slots=True)
class FlagDocument:
    """A checked flag file.

    text: the document, as flagd's evaluator takes it.
    flags: each flag's definition, by its key.
    """

    text: str
    flags: Mapping[str, Mapping[str, Any]]


class _FlagError(ValueError):
    def __init__(self, key: str, message: str) -> None:
        super().__init__(f"{key}: {message}")
        self.key = key


def read_document(content: str | bytes, where: str) -> FlagDocument:
    """The checked document. Raises SettingsError: one line with the file, the line and the key."""
    try:
        document = parse_json(content)
        text = content if isinstance(content, str) else content.decode()
        _check_document(document)
    except DocumentError as error:
        raise SettingsError(f"{where}: {error}") from error
    except _FlagError as error:
        raise SettingsError(f"{where}{find_line(text, error.key)}: {error}") from error
    return FlagDocument(text, document["flags"])


def find_line(text: str, key: str) -> str:
    """ ":N", the line on which the last part of a dotted key is set, where that is after its first; or ""."""
    position, line = 0, ""
    for part in key.split("."):
        match = re.compile(rf"{re.escape(json.dumps(part))}\s*:").search(text, position)
        if match is None:
            break
        position = match.end()
        line = f":{text.count(chr(10), 0, match.start()) + 1}"
    return line


def _check_document(document: object) -> None:
    if not isinstance(document, dict):
        raise DocumentError(f'must be an object with the key "flags" (got {_show(document)})')
    for key in document:
        if key not in TOP_LEVEL:
            raise _FlagError(key, f"is not a valid key here; use {', '.join(TOP_LEVEL)}")
    flags = document.get("flags")
    if not isinstance(flags, dict):
        raise _FlagError("flags", f"must be an object, one key a flag (got {_show(flags)})")
    for key, flag in flags.items():
        if key not in FLAGS:
            near = difflib.get_close_matches(key, FLAGS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"use {', '.join(FLAGS)}"
            raise _FlagError(f"flags.{key}", f"is not a valid flag; {hint}")
        if not isinstance(flag, dict):
            raise _FlagError(f"flags.{key}", f"must be an object (got {_show(flag)})")
        _check_flag(f"flags.{key}", flag)


def _check_flag(key: str, flag: dict[str, Any]) -> None:
    for name in flag:
        if name not in FIELDS:
            raise _FlagError(f"{key}.{name}", f"is not a valid key here; use {', '.join(FIELDS)}")
    if flag.get("state") not in STATES:
        raise _FlagError(f"{key}.state", f"must be ENABLED or DISABLED (got {_show(flag.get('state'))})")
    variants = flag.get("variants")
    if not isinstance(variants, dict) or not variants:
        raise _FlagError(f"{key}.variants", f"must be an object of one or more (got {_show(variants)})")
    for name, value in variants.items():
        _check_variant(f"{key}.variants.{name}", value, key.removeprefix("flags."))
    default = flag.get("defaultVariant")
    if not isinstance(default, str) or default not in variants:
        allowed = ", ".join(map(str, variants))
        raise _FlagError(f"{key}.defaultVariant", f"must be one of {allowed} (got {_show(default)})")
    if "targeting" in flag:
        _check_targeting(f"{key}.targeting", flag["targeting"], variants)


def _check_targeting(key: str, rule: object, variants: Mapping[str, object]) -> None:
    if key == f"flags.{PROFILE}.targeting":
        raise _FlagError(key, "is not possible: all calls have one profile; remove it")
    if not isinstance(rule, dict):
        raise _FlagError(key, f"must be an object (got {_show(rule)})")
    for operator, values in find_operators(rule):
        if operator in LOOPS:
            raise _FlagError(key, f'has the loop "{operator}"; write each case out')
        if operator not in OPERATORS:
            raise _FlagError(key, f"has no operator {_show(operator)}; see flagd.dev")
        if operator == "fractional":
            _check_fractional(key, values, variants)


def _check_variant(key: str, value: object, flag: str) -> None:
    if flag in SWITCHES and not isinstance(value, bool):
        raise _FlagError(key, f"must be true or false (got {_show(value)})")
    if flag == PROFILE and not (isinstance(value, str) and value):
        raise _FlagError(key, f"must be the name of a profile (got {_show(value)})")
    whole = value if isinstance(value, int) and not isinstance(value, bool) else 0
    if flag == SHOTS and not 1 <= whole <= ANY_SHOTS:
        raise _FlagError(key, f"must be a whole number from 1 to {ANY_SHOTS} (got {_show(value)})")


def find_operators(rule: object) -> Iterator[tuple[str, object]]:
    """Each operator of a rule, with its operands."""
    pending = [rule]
    while pending:
        match pending.pop():
            case dict() as operation:
                yield from operation.items()
                pending.extend(operation.values())
            case list() as values:
                pending.extend(values)


def _check_fractional(key: str, values: object, variants: Mapping[str, object]) -> None:
    if not isinstance(values, list):
        raise _FlagError(key, f"fractional must be a list of [variant, weight] (got {_show(values)})")
    shares = values if not values or isinstance(values[0], list) else values[1:]
    total = 0
    for share in shares:
        match share:
            case [str(variant), int(weight)] if not isinstance(weight, bool) and weight >= 0:
                total += weight
            case [str(variant)]:
                total += 1
            case _:
                raise _FlagError(key, f"fractional: {_show(share)} is not [variant, weight of 0 or more]")
        if variant not in variants:
            raise _FlagError(key, f"fractional: {_show(variant)} is not a variant of the flag")
    if not 0 < total <= MOST_WEIGHT:
        raise _FlagError(key, f"fractional: the weights must add up to 1 to {MOST_WEIGHT} (got {total})")


def _show(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
