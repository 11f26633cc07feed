"""One place that settings come from: the file or the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ENV_PREFIX = "SHOTCLOCK_"


@dataclass(frozen=True, slots=True)
class Source:
    """Values of one place.

    name: how an error begins.
    values: the settings, nested as in the file.
    file: the settings file; None of the environment and of flags.
    text: the text of a settings file, to find its lines in; "" of other places.
    """

    name: str
    values: Mapping[str, Any]
    file: Path | None = None
    text: str = ""
