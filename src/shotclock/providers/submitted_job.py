"""A job that a vendor has accepted, and what is known of it here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic

from shotclock.domain.circuit import DeviceCircuit, Pub, QaoaParameters, Template
from shotclock.domain.ports import Job
from shotclock.providers.client import J
from shotclock.providers.session_account import SessionAccount

TYPICAL_DURATION_S = 20e-6
"""Of a circuit: longer than 24 variables take, and little next to the rep_delay."""


@dataclass(slots=True, eq=False)
class SubmittedJob(Generic[J]):
    """A job from its submit, or from when it was adopted, to its end for its caller.

    job: the vendor's; key: its name in the budget; began_ns and accepted_ns: of its submit, on our clock;
    expected_s: submit to samples; estimate_s: QPU time, counted where the vendor reports no usage;
    account: of the session it runs in; entered: it counts as a job of a workload; cancelled: it was given
    up here, and no samples of it will be handed out; over: it has ended for its caller.
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


def representative_job(shots: int) -> Job:
    """What a job of which only the shots are known is taken to be: one circuit, at the default rep_delay."""
    template = Template("", "", (0,), b"", TYPICAL_DURATION_S, 0, 0)
    return Job((Pub((DeviceCircuit(template, QaoaParameters.idle(1)),)),), shots, "estimate")
