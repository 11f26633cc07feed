"""Checks config.lock.toml: the settings load, and are this run's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shotclock.bench.schema import CIRCUITS, Summary
from shotclock.bench.verify.contradictions import Contradiction, disagreements
from shotclock.domain import documents, encoding
from shotclock.domain.errors import SettingsError
from shotclock.settings import load

LOCK = "config.lock.toml"


def check_loads(file: Path) -> Iterator[Contradiction]:
    """Faults that prevent `bench --config` from loading it; a missing file is reported elsewhere."""
    if not file.is_file():
        return
    try:
        load(file, {})
    except SettingsError as error:
        yield Contradiction(file.name, str(error).removeprefix(f"{file}:").strip())


def check_settings(file: Path, summary: Summary) -> Iterator[Contradiction]:
    """Settings that differ from the summary's; the file's own, not those set by the environment."""
    written = _parse(file)
    if written is None:
        return
    run: dict[str, dict[str, object]] = {
        "bench": {"arms": sorted(summary.arms), "workload": summary.workload},
        "kernel": {"name": summary.kernel, "n": summary.n},
        "quantum": {"shots": summary.shots},
    }
    if summary.kernel == CIRCUITS:  # the workload made its calls itself, whatever the settings name
        del run["kernel"]
    for cost in (arm.cost for arm in summary.arms.values()):
        if cost.prices is not None:  # older summaries do not hold them
            run["cost"] = {"currency": cost.currency, **cost.prices.model_dump()}
    for branch, facts in run.items():
        yield from disagreements(
            file.name, _select_facts(written, branch, facts), facts, branch, "the run had"
        )


def asks_for_samples(file: Path) -> bool:
    """Whether the run was to keep its samples."""
    branch = (_parse(file) or {}).get("bench")
    return isinstance(branch, dict) and branch.get("samples") is True


def _parse(file: Path) -> dict[str, Any] | None:
    """The file's content; None if it cannot be read, which `check_loads` reports."""
    if not file.is_file():
        return None
    try:
        return documents.parse_toml(encoding.read_text(file, documents.MOST_SETTINGS_BYTES))
    except (OSError, ValueError):
        return None


def _select_facts(written: dict[str, Any], branch: str, facts: dict[str, object]) -> dict[str, object]:
    """The branch's settings that the summary holds too, with sorted arms."""
    settings = written.get(branch)
    selected = {key: settings[key] for key in facts if key in settings} if isinstance(settings, dict) else {}
    if isinstance(arms := selected.get("arms"), list):
        selected["arms"] = sorted(map(str, arms))
    return selected
