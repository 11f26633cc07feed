"""Checks that a parquet file is of the run that the summary describes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from shotclock.bench.columns import EMULATED, read_origin
from shotclock.bench.verify.contradictions import Contradiction


def check_origin(file: Path, run_id: str, *, emulated: bool) -> Iterator[Contradiction]:
    """file: one that can be read. Files of older versions state no run, and are not judged by it."""
    origin = read_origin(file)
    if origin.run_id and origin.run_id != run_id:
        yield Contradiction(file.name, f"is of run {origin.run_id[:100]}, and the summary of {run_id}")
    if origin.emulated and origin.emulated.startswith(EMULATED) != emulated:
        yield Contradiction(
            file.name, f"emulated: says {origin.emulated[:100]!r}, and the summary says {emulated}"
        )
