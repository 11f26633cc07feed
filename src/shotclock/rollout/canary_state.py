"""A canary as it is kept in a file, so that a restart of the service goes on with it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from shotclock.domain import files
from shotclock.domain.canary import CanaryPhase, CanaryRequest
from shotclock.domain.documents import MOST_SETTINGS_BYTES, DocumentError, parse_json
from shotclock.domain.errors import MachineError, SettingsError
from shotclock.rollout.canary import CanaryPlan
from shotclock.rollout.canary_groups import Group

SCHEMA = 1


@dataclass(slots=True)
class CanaryState:
    """A canary, running or the last one.

    phase: what became of it.
    request: what was asked for, with its slow_ms.
    previous: the setting of `quantum_share` before it.
    caller: who started it.
    canary, control: what both sides have shown.
    reason: why it ended, or what keeps it from ending.
    pending: a setting of `quantum_share` that is still to be written; "" if it has been.
    plan: how it is judged.
    """

    phase: CanaryPhase
    request: CanaryRequest
    previous: str
    caller: str
    canary: Group
    control: Group
    reason: str = ""
    pending: str = ""
    plan: CanaryPlan = field(init=False)

    def __post_init__(self) -> None:
        self.plan = make_plan(self.request)

    def text(self) -> str:
        """The file's content."""
        return (
            json.dumps(
                {
                    "schema": SCHEMA,
                    "phase": self.phase,
                    "request": asdict(self.request),
                    "previous": self.previous,
                    "caller": self.caller,
                    "reason": self.reason,
                    "pending": self.pending,
                    "canary": self.canary.to_json(),
                    "control": self.control.to_json(),
                }
            )
            + "\n"
        )


def make_plan(request: CanaryRequest) -> CanaryPlan:
    """Raises SettingsError on a margin or an error that cannot be tested."""
    return CanaryPlan(
        request.alpha, request.minimum, request.miss_margin, request.slow_margin, request.validation_margin
    )


def read_state(path: Path) -> CanaryState | None:
    """The canary in the file, None without one. Raises SettingsError on a file that cannot be used."""
    if not path.exists():
        return None
    try:
        saved: Any = parse_json(files.read_regular(path, MOST_SETTINGS_BYTES))
        if saved["schema"] != SCHEMA:
            raise ValueError(f"schema {saved['schema']!r}, this version reads {SCHEMA}")
        return CanaryState(
            CanaryPhase(saved["phase"]),
            CanaryRequest(**saved["request"]),
            str(saved["previous"]),
            str(saved["caller"]),
            Group.from_json(saved["canary"]),
            Group.from_json(saved["control"]),
            str(saved["reason"]),
            str(saved["pending"]),
        )
    except (OSError, DocumentError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise SettingsError(f"{path}: is not a canary's state: {error}") from error


def write_state(path: Path, text: str) -> None:
    """Replaces the file. Raises MachineError."""
    try:
        files.write_text(path, text)
    except OSError as error:
        raise MachineError(f"{path}: cannot be written: {error.strerror}") from error
