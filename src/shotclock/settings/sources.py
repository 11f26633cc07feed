"""Settings from flags, environment and file, in this order."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import (
    ValidationError,
)
from pydantic_settings import (
    EnvSettingsSource,
)
from pydantic_settings import (
    SettingsError as EnvironmentValueError,
)

from shotclock.domain import documents, encoding
from shotclock.domain.errors import SettingsError
from shotclock.settings.explain import explain, fields_of, nearest, siblings_of
from shotclock.settings.source import ENV_PREFIX, Source
from shotclock.settings.tree import Settings

log = logging.getLogger(__name__)


def load(file: str | Path | None, flags: Mapping[str, Any]) -> Settings:
    """The tree from flags (nested, unset ones left out), environment and file.

    Raises SettingsError with file, line, key and the nearest name, in one line.
    """
    merged: dict[str, Any] = {}
    try:
        path = None if file is None else Path(file)
    except TypeError:
        raise SettingsError(f"settings: must be the path of a file (got {file!r})") from None
    for source in _sources(path):
        _validate(source)  # by itself: a wrong value is refused although a later source overrides it
        merged = _lay_over(merged, source.values)
    return _validate(Source("flag: ", _lay_over(merged, flags)))


def load_sources(file: Path | None) -> dict[str, Settings]:
    """What the file and the environment say, by the name of the source, each over the defaults alone.

    For checks of names that only their owners know, so that no flag hides a wrong one; raises as `load` does.
    """
    return {
        str(source.file) if source.file else "environment": _validate(source) for source in _sources(file)
    }


def _sources(file: Path | None) -> tuple[Source, Source]:
    """The file and the environment, in the order in which the second overrides the first."""
    text = _read(file)
    try:
        values = documents.parse_toml(text)
    except documents.DocumentError as error:
        raise SettingsError(f"{file}: {error}") from error
    _refuse_unknown_environment()
    return Source("", values, file, text), Source("environment: ", _environment())


def _validate(source: Source) -> Settings:
    try:
        return Settings.model_validate(source.values)
    except ValidationError as error:
        raise SettingsError(explain(error, source)) from error


def _environment() -> Mapping[str, Any]:
    try:
        return EnvSettingsSource(Settings, env_prefix=ENV_PREFIX, env_nested_delimiter="__")()
    except EnvironmentValueError as error:  # it names the branch, and not the variable
        branch = str(error).partition('field "')[2].partition('"')[0]
        names = (
            name for name in sorted(os.environ) if name.upper().startswith(f"{ENV_PREFIX}{branch}".upper())
        )
        blamed = ", ".join(name for name in names if not _is_json(os.environ[name]))
        raise SettingsError(
            f'environment: {blamed}: a list or a table is written as JSON: ["a", "b"]'
        ) from error


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _lay_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        tables = isinstance(under, Mapping) and isinstance(value, Mapping)
        merged[key] = _lay_over(under or {}, value) if tables else value
    return merged


def _read(file: Path | None) -> str:
    if file is None:
        return ""
    try:
        return encoding.read_text(file, documents.MOST_SETTINGS_BYTES)
    except (OSError, UnicodeError) as error:
        raise SettingsError(f"{file}: cannot read the settings file: {encoding.explain(error)}") from error


def _refuse_unknown_environment() -> None:
    """Only names with `__` are settings: Kubernetes adds SHOTCLOCK_PORT and its like to each container
    of a namespace with a service named shotclock.
    """
    names = fields_of(Settings)
    for variable in sorted(os.environ):
        first, separator, _ = variable.upper().removeprefix(ENV_PREFIX).partition("__")
        if not variable.upper().startswith(ENV_PREFIX) or first.lower() in names:
            continue
        if separator:
            branch = first.lower()
            raise SettingsError(
                f"environment: {variable}: unknown settings branch '{branch}'{nearest(branch, names)}"
            )
        if meant := _with_two_underscores(first.lower()):
            log.warning("environment: %s is not read; did you mean %s%s?", variable, ENV_PREFIX, meant)


def _with_two_underscores(name: str) -> str:
    """BENCH__SEEDS of bench_seeds; "" where it does not name a branch and a key."""
    for branch in fields_of(Settings):
        key = name.removeprefix(f"{branch}_")
        if key != name and key in siblings_of((branch, key)):
            return f"{branch}__{key}".upper()
    return ""
