"""Checks a run folder of either kind."""

from __future__ import annotations

from pathlib import Path

from shotclock.bench.load.folder import SUMMARY as LOAD_SUMMARY
from shotclock.bench.verify.bench_run import check_bench
from shotclock.bench.verify.contradictions import Contradiction
from shotclock.bench.verify.load_run import check_load
from shotclock.domain.errors import SettingsError


def verify(folder: Path) -> list[Contradiction]:
    """All faults of a run folder or of a load test's; raises SettingsError if it is not a folder."""
    if not folder.is_dir():
        raise SettingsError(f"{folder}: is not a folder; name one that `shotclock bench` or `load` wrote")
    return check_load(folder) if (folder / LOAD_SUMMARY).is_file() else check_bench(folder)
