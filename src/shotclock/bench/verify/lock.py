"""config.lock.toml: settings that load, and those of this run."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shotclock.bench.schema import Summary
from shotclock.bench.verify.faults import Fault, disagreements
from shotclock.domain import encoding
from shotclock.domain.errors import SettingsError
from shotclock.settings import load


def check_loads(file: Path) -> Iterator[Fault]:
    """What keeps `bench --config` from taking it; a file that is not there is told elsewhere."""
    if not file.is_file():
        return
    try:
        load(file, {})
    except SettingsError as error:
        yield Fault(file.name, str(error).removeprefix(f"{file}:").strip())


def check_told(file: Path, summary: Summary) -> Iterator[Fault]:
    """Where it tells another run than the summary does; as written, whatever the environment sets."""
    if not file.is_file():
        return
    try:
        written = tomllib.loads(encoding.read_text(file))
    except (tomllib.TOMLDecodeError, UnicodeError):
        return  # `check_loads` has said so
    run: dict[str, dict[str, object]] = {
        "bench": {"arms": sorted(summary.arms), "workload": summary.workload},
        "kernel": {"name": summary.kernel, "n": summary.n},
        "quantum": {"shots": summary.shots},
    }
    for cost in (arm.cost for arm in summary.arms.values()):
        if cost.prices is not None:  # summaries did not always tell them
            run["cost"] = {"currency": cost.currency, **cost.prices.model_dump()}
    for branch, facts in run.items():
        yield from disagreements(
            file.name, _select_facts(written, branch, facts), facts, branch, "the run had"
        )


def _select_facts(written: dict[str, Any], branch: str, facts: dict[str, object]) -> dict[str, object]:
    """Of a branch, what the run tells as well; arms in any order."""
    told = written.get(branch)
    found = {key: told[key] for key in facts if key in told} if isinstance(told, dict) else {}
    if isinstance(arms := found.get("arms"), list):
        found["arms"] = sorted(map(str, arms))
    return found
