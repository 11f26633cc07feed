"""A job that a vendor has accepted, with what this process knows about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic

from shotclock.domain.circuit import DeviceCircuit, Pub, QaoaParameters, Template
from shotclock.domain.ports import Job
from shotclock.providers.client import J
from shotclock.providers.session_account import SessionAccount

TYPICAL_DURATION_S = 20e-6
"""Of a circuit: longer than any of 24 variables, and short compared with the rep_delay."""


@dataclass(slots=True, eq=False)
class SubmittedJob(Generic[J]):
    """A job from its submit or adoption until it has ended for its caller.

    job: the vendor's job.
    key: its name in the budget.
    began_ns: when its submit began, on our clock.
    accepted_ns: when its submit was answered, on our clock.
    expected_s: expected time from submit to samples, seconds.
    estimate_s: estimated QPU time, recorded if the vendor reports no usage, seconds.
    account: the account of the session it runs in.
    entered: it counts as a job of the workload.
    cancelled: it was cancelled here, so none of its samples will be returned.
    over: it has ended for its caller.
    acquisition: the lease or session that it runs in; "" if unknown.
    """

    job: J
    key: str
    began_ns: int
    accepted_ns: int
    expected_s: float
    estimate_s: float
    account: SessionAccount | None = None
    entered: bool = True
    cancelled: bool = False
    over: bool = False
    acquisition: str = ""


def representative_job(shots: int) -> Job:
    """Represents in estimates a job of which only the shots are known: one circuit, default rep_delay."""
    template = Template("", "", (0,), b"", TYPICAL_DURATION_S, 0, 0)
    return Job((Pub((DeviceCircuit(template, QaoaParameters.idle(1)),)),), shots, "estimate")
