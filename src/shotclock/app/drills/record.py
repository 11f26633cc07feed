"""What a drill found: times, steps, calls."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class StepRecord:
    """A step of the runbook as it was performed.

    command: the commands of the page.
    is_diagnosis: whether it only looks, so that its exit code is not judged.
    exit_code: of the shell.
    duration_s: seconds.
    output: the end of what it printed.
    """

    command: str
    is_diagnosis: bool
    exit_code: int
    duration_s: float
    output: str

    @property
    def has_failed(self) -> bool:
        """Whether a step that changes something ended with an error."""
        return self.exit_code != 0 and not self.is_diagnosis


@dataclass(frozen=True, slots=True)
class CallRecord:
    """The calls of the load.

    total: all of them.
    with_samples: answered with the QPU's samples.
    degraded: answered classically, by the service or at the client.
    unanswered: ended without an answer: shed, late, failed.
    lost: never ended.
    """

    total: int
    with_samples: int
    degraded: int
    unanswered: int
    lost: int


@dataclass(frozen=True, slots=True)
class DrillRecord:
    """A drill's result; everything is EMULATED except the software.

    name: of the drill.
    alert: that had to fire.
    scale: by how much windows and intervals of the rules were shortened.
    detection_s: from the fault to the notification of the alert, measured at this scale.
    unscaled_adds_s: what the rule as exported adds to that: its `for`, the intervals of scrapes and
        evaluations, the wait for the group.
    unscaled_window_s: the longest window that the rule as exported looks at.
    recovery_s: from the notification to the one that resolves it, the steps included.
    steps: of the runbook.
    calls: of the load.
    failure: why the drill did not pass, or "".
    """

    name: str
    alert: str
    scale: float
    detection_s: float | None
    unscaled_adds_s: float
    unscaled_window_s: float
    recovery_s: float | None
    steps: tuple[StepRecord, ...]
    calls: CallRecord
    failure: str = ""

    @property
    def has_passed(self) -> bool:
        """Whether the alert fired, every step worked, the alert was resolved and no call was lost."""
        return not self.failure

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {"drill": self.name, "emulated": True, "passed": self.has_passed, **asdict(self)} | {
            "calls_lost": self.calls.lost
        }
