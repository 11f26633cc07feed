"""Checks machine.json: complete, and equal to the summary's environment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from shotclock.bench.verify.contradictions import Contradiction
from shotclock.domain import documents, files

RECORDED = ("cpu", "cores", "memory_gib", "system", "python")


def check_machine(file: Path, environment: Mapping[str, str], summary: str) -> Iterator[Contradiction]:
    """environment: of the file named `summary`. A missing machine.json is reported elsewhere."""
    for key in RECORDED:
        if not environment.get(key):
            yield Contradiction(
                summary, f"environment.{key}: is missing; results of unknown origin don't merge"
            )
    if not file.is_file():
        return
    try:
        written = documents.parse_json(files.read_regular(file, documents.MOST_SETTINGS_BYTES))
    except (OSError, documents.DocumentError) as error:
        yield Contradiction(file.name, str(error) if isinstance(error, ValueError) else str(error.strerror))
        return
    if written != environment:
        yield Contradiction(file.name, f"is not the environment of {summary}")
