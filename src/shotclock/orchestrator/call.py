"""One call on its way: what was asked, by when, how far it got, how it ended."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from shotclock.domain.budget import Deadline
from shotclock.domain.circuit import DeviceCircuit, Samples
from shotclock.domain.outcome import ProviderFault, Rejection
from shotclock.domain.stages import Stage, StageTiming
from shotclock.domain.subproblem import Subproblem


@dataclass(slots=True)
class Progress:
    """What a call has been through so far; readable at the deadline, however far it got."""

    stages: list[StageTiming] = field(default_factory=list)
    job_id: str = ""
    attempts: int = 0
    template_key: str = ""
    qpu_s: float = 0.0
    emulator_overrun: bool = False
    sharers: int = 1
    penalised: bool = False
    cached: bool = False
    with_provider_since_ns: int | None = None

    def record_interruption(self, now_ns: int, emulated: bool) -> None:
        """Closes the wait for the provider that a deadline cut short; it is booked under `collect`."""
        if self.with_provider_since_ns is not None:
            waited = now_ns - self.with_provider_since_ns
            self.stages.append(
                StageTiming(Stage.COLLECT, self.with_provider_since_ns, waited, waited if emulated else 0)
            )


@dataclass(frozen=True, slots=True)
class UserCircuit:
    """A circuit of the caller's own, compiled, and the shots it is to be run with."""

    circuit: DeviceCircuit
    shots: int
    request_id: str


@dataclass(frozen=True, slots=True, eq=False)
class Sampled:
    """Samples as many and as wide as was asked for; at_ns: when they were there."""

    samples: Samples
    at_ns: int


Ended = Sampled | ProviderFault | Rejection


@dataclass(slots=True, eq=False)
class Call:
    """A call that was admitted. incumbent_energy: of the best answer without a QPU."""

    work: Subproblem | UserCircuit
    deadline: Deadline
    queued_ns: int
    incumbent_energy: float
    ended: asyncio.Future[Ended]
    progress: Progress = field(default_factory=Progress)

    @property
    def is_wanted(self) -> bool:
        """Whether its caller still waits."""
        return not self.ended.done()

    def end(self, how: Ended) -> None:
        """Hands the end to the caller, if it still waits."""
        if not self.ended.done():
            self.ended.set_result(how)

    def fail(self, error: BaseException) -> None:
        """Raises a mistake of the caller's own, or of ours, where the caller waits."""
        if not self.ended.done():
            self.ended.set_exception(error)
