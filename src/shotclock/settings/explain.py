"""What is wrong with a setting: where, what, and the nearest name."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from shotclock.settings.arm import ArmSettings
from shotclock.settings.bench import BenchSettings
from shotclock.settings.circuit_limits import CircuitLimitsSettings
from shotclock.settings.circuits import CircuitsSettings
from shotclock.settings.cost import CostSettings
from shotclock.settings.data_policy import DataRuleSettings
from shotclock.settings.kernel import KernelSettings
from shotclock.settings.orchestrator import OrchestratorSettings
from shotclock.settings.quantum import QuantumSettings
from shotclock.settings.serve import ServeSettings
from shotclock.settings.source import ENV_PREFIX, Source
from shotclock.settings.threshold import ThresholdSettings
from shotclock.settings.toml_lines import line_of
from shotclock.settings.tree import Settings

LIMITS_PATH = ("circuits", "limits")
"""The one table inside a table of the settings."""
NO_TABLE = frozenset(("model_type", "dict_type", "tuple_type"))
"""Pydantic's kinds of error for a value where a table, or a list of tables, must be."""


def nearest(name: str, known: Mapping[str, object] | tuple[str, ...] | list[str]) -> str:
    """`; did you mean 'x'?`, or the list of what there is."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean '{close[0]}'?" if close else f"; known: {', '.join(known)}"


def fields_of(model: type[BaseModel]) -> dict[str, Any]:
    """The keys of a table as they are written in the file, with their types."""
    return {(info.alias or name): info.annotation for name, info in model.model_fields.items()}


def siblings_of(path: tuple[str | int, ...]) -> list[str]:
    """The known keys beside the last one of a path."""
    tables: dict[str, type[BaseModel]] = {
        "bench": BenchSettings,
        "kernel": KernelSettings,
        "quantum": QuantumSettings,
        "circuits": CircuitsSettings,
        "orchestrator": OrchestratorSettings,
        "serve": ServeSettings,
        "cost": CostSettings,
        "arm": ArmSettings,
        "data_policy": DataRuleSettings,
        "threshold": ThresholdSettings,
    }
    if len(path) > len(LIMITS_PATH) and path[: len(LIMITS_PATH)] == LIMITS_PATH:
        return list(fields_of(CircuitLimitsSettings))
    return list(fields_of(tables.get(str(path[0]), Settings) if len(path) > 1 else Settings))


def explain(error: ValidationError, source: Source) -> str:
    """The first problem as `where: key: what is wrong`, and how many others there are.

    A key that takes one of several types has a problem for each of them, at one path: they are joined into
    one text. A problem inside or around the first one's path is the same mistake and not counted.
    """
    problems = [(_to_path(details["loc"]), details) for details in error.errors()]
    path, first = problems[0]
    same_key = [details for at, details in problems if at == path]
    more = sum(at[: len(path)] != path and path[: len(at)] != at for at, _ in problems)
    what = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        what = f"unknown key{nearest(str(path[-1]), siblings_of(path))}"
    elif (len(path) == 1 or path == LIMITS_PATH) and first["type"] in NO_TABLE:
        name = ".".join(map(str, path))
        name = f"[[{name}]] tables" if name in ("threshold", "data_policy") else f"a table, [{name}]"
        what = f"must be {name}"
    elif first["type"] != "missing" and not isinstance(first["input"], dict):
        choices = [details["msg"].removeprefix("Input should be ") for details in same_key[1:]]
        what = f"{', or '.join([what[0].lower() + what[1:], *choices])} (got {first['input']!r})"
    text = f"{_origin(path, source)}{'.'.join(str(part) for part in path)}: {what}"
    return f"{text} (and {more} more)" if more else text


def _to_path(loc: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """Without pydantic's names for the alternatives of a key that takes a number or a word."""
    return tuple(part for part in loc if not str(part).startswith(("constrained-", "literal[")))


def _origin(path: tuple[str | int, ...], source: Source) -> str:
    """The file and line, the flag or the environment variable that set the key.

    A variable may set a whole table, so the longest one that is set counts.
    """
    if source.file is not None:
        line = line_of(source.text, path)
        return f"{source.file}:{line}: " if line else f"{source.file}: "
    if not source.name.startswith("environment"):
        return source.name
    names = {name.upper(): name for name in os.environ}
    spelled = (
        ENV_PREFIX + "__".join(str(part) for part in path[:end]).upper() for end in range(len(path), 0, -1)
    )
    variable = next((names[name] for name in spelled if name in names), None)
    return f"{source.name}{variable}: " if variable else source.name
