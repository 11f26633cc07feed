"""The integration checklist, of a run or of settings alone.

Separate from `doctor`, which must report a missing package before anything here is imported.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shotclock.bench.judge.checklist import before_a_run
from shotclock.bench.judge.gates import mission_gates
from shotclock.bench.record import arm_runs as arm_names
from shotclock.bench.record.folder import RunFolder
from shotclock.bench.report.kit.wording import mark_of
from shotclock.bench.schema import CurvePoint
from shotclock.domain.errors import SettingsError
from shotclock.emulator import profile as profiles
from shotclock.settings import Settings


@dataclass(frozen=True, slots=True)
class Checklist:
    """The six points. mark: EMULATED or hardware, of the run they come from; "" without a run."""

    points: tuple[CurvePoint, ...]
    mark: str = ""


def of_run(folder: Path) -> Checklist:
    """The points as filled in by a run. Raises SettingsError on a folder without them."""
    summary = RunFolder(folder).read_summary()
    if not summary.checklist:
        raise SettingsError(
            f"--run {folder}: was written before runs had a checklist; run the benchmark again"
        )
    return Checklist(summary.checklist, mark_of(summary))


def of_settings(settings: Settings) -> Checklist:
    """The points that the settings decide; all others are not measured. Raises SettingsError."""
    profiles_known = (*profiles.list_profiles(), profiles.load(settings.quantum.profile).name)
    arms = (arm_names.parse(name, profiles_known) for name in settings.bench.arms)
    gates = mission_gates([arm for arm in arms if arm is not None])
    limits = (threshold.metric for threshold in settings.threshold)
    return Checklist(before_a_run(limits, (gate.metric for gate in gates)))
