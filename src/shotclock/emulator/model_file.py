"""Reads a TOML file into a model: profiles and devices, shipped ones and a site's."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from shotclock.domain import documents, encoding
from shotclock.domain.errors import SettingsError

M = TypeVar("M", bound=BaseModel)


def read(kind: str, path: Path, model: type[M]) -> M:
    """The file's content; kind names it in errors. Raises SettingsError, as `parse` does."""
    try:
        text = encoding.read_text(path, documents.MOST_SETTINGS_BYTES)
    except (OSError, UnicodeError) as error:
        raise SettingsError(f"{kind} {path}: cannot be read: {encoding.explain(error)}") from error
    return parse(kind, str(path), text, model)


def parse(kind: str, where: str, text: str, model: type[M]) -> M:
    """The text's content. Raises SettingsError, in one line that names the kind, where it is and the key."""
    try:
        values = documents.parse_toml(text)
        documents.check(values)
        return model.model_validate(values)
    except documents.DocumentError as error:
        raise SettingsError(f"{kind} {where}: {error}") from error
    except ValidationError as error:
        raise SettingsError(f"{kind} {where}: {first_fault(error)}") from error


def first_fault(error: ValidationError, whole: str = "file") -> str:
    """The first fault of a validation in one line: key, what is wrong, how many more.

    whole: the name to use if the fault has no key.
    """
    faults = error.errors(include_url=False, include_context=False)
    key = ".".join(str(part) for part in faults[0]["loc"]) or whole
    what = faults[0]["msg"].removeprefix("Value error, ")
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return f"{key}: {what}{more}"
