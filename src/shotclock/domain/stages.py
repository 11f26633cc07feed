"""The stages of a call, timed on one monotonic clock; emulated waiting is kept apart from software."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Stage(StrEnum):
    """Where a call spends its time, in the order in which it happens."""

    PROPOSE = "propose"
    """Training computes the subproblem's coefficients."""
    ADMISSION_WAIT = "admission_wait"
    """In the orchestrator's bounded queue."""
    SUBMISSION_BUCKET_WAIT = "submission_bucket_wait"
    """Held back by the provider's limit on submissions a minute."""
    BIND = "bind"
    """Template found, parameters computed."""
    CIRCUIT_SUBMIT_LATENCY = "circuit_submit_latency"
    """From submit to the provider's acceptance."""
    QPU_QUEUE_WAIT = "qpu_queue_wait"
    """Accepted, waiting for the QPU (the vendor's created → running)."""
    QPU_EXEC_TIME = "qpu_exec_time"
    """The QPU is held (the vendor's running → finished)."""
    COLLECT = "collect"
    """Finished, until the samples are here: polling and transfer."""
    POSTPROC_TIME = "postproc_time"
    """Decoding and the race with the classical answer."""
    APPLY = "apply"
    """Re-validation and compare-and-swap on the model."""
    TOTAL_ITERATION_TIME = "total_iteration_time"
    """The whole training iteration, optimizer step included."""


@dataclass(frozen=True, slots=True)
class StageTiming:
    """One stage of one call.

    stage: which one.
    start_ns: when it began, on the monotonic clock, nanoseconds.
    duration_ns: its length, nanoseconds.
    emulated_ns: the part an emulation waited on purpose, nanoseconds; the rest is software.
    """

    stage: Stage
    start_ns: int
    duration_ns: int
    emulated_ns: int = 0

    @property
    def software_ns(self) -> int:
        """What the call spent in software, never negative."""
        return max(0, self.duration_ns - self.emulated_ns)
