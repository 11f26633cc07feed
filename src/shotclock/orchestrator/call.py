"""One admitted call: its work, its deadline, its progress and its end."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from shotclock.domain.accounting import HERE, Origin
from shotclock.domain.budget import Deadline
from shotclock.domain.circuit import DeviceCircuit, Pub, Samples
from shotclock.domain.flags import ANY_SHOTS
from shotclock.domain.outcome import PreEvaluation, ProviderFault, Rejection
from shotclock.domain.stages import Stage, StageTiming
from shotclock.domain.subproblem import Subproblem
from shotclock.domain.trace import Span
from shotclock.orchestrator.side_by_side import group_side_by_side


@dataclass(slots=True)
class CallProgress:
    """What has happened to a call so far; complete enough for its provenance at any time.

    stages: the stages that have ended.
    job_id: the provider's id of its job, "" before the submit.
    attempts: submits of its job.
    template_key: the template its circuit was bound from.
    qpu_s: its share of the job's QPU time, seconds.
    emulator_overrun: the emulator was slower than the time it emulates.
    sharers: calls in its job, itself included.
    penalised: it ran at a rep_delay below the device's default.
    cached: answered from an equal call's samples.
    pre_evaluation: of its submit; None where none was made.
    span: the call's in its trace; None without traces.
    with_provider_since_ns: when the present request to the provider began; None between requests.
    """

    stages: list[StageTiming] = field(default_factory=list)
    job_id: str = ""
    attempts: int = 0
    template_key: str = ""
    qpu_s: float = 0.0
    emulator_overrun: bool = False
    sharers: int = 1
    penalised: bool = False
    cached: bool = False
    pre_evaluation: PreEvaluation | None = None
    span: Span | None = None
    with_provider_since_ns: int | None = None

    def record_stage(self, timing: StageTiming) -> None:
        """A stage has ended."""
        self.stages.append(timing)
        if self.span is not None:
            self.span.record_stage(timing)

    def record_interruption(self, now_ns: int, emulated: bool) -> None:
        """Ends the wait for the provider that a deadline cut short, and records it as `collect`."""
        if self.with_provider_since_ns is not None:
            waited = now_ns - self.with_provider_since_ns
            self.record_stage(
                StageTiming(Stage.COLLECT, self.with_provider_since_ns, waited, waited if emulated else 0)
            )


@dataclass(frozen=True, slots=True, eq=False)
class UserCircuits:
    """User circuits, compiled, that run in one job.

    circuits: one, or those of a batch at their points.
    shots: of each circuit.
    request_id: the caller's name for the request.
    shares: whether other callers' circuits may be in the job; those of a batch may.
    """

    circuits: tuple[DeviceCircuit, ...]
    shots: int
    request_id: str
    shares: bool = False

    @property
    def pubs(self) -> tuple[Pub, ...]:
        """Circuits that were compiled to run side by side together, each other one in its own PUB."""
        return tuple(map(Pub, group_side_by_side(self.circuits, lambda circuit: circuit)))


@dataclass(frozen=True, slots=True, eq=False)
class Sampled:
    """Samples of the requested number and width, of each circuit of the call; at_ns: when they arrived."""

    of_circuits: tuple[Samples, ...]
    at_ns: int

    @property
    def samples(self) -> Samples:
        """Of the only circuit."""
        return self.of_circuits[0]


Ended = Sampled | ProviderFault | Rejection


@dataclass(slots=True, eq=False)
class Call:
    """An admitted call.

    work: the subproblem or user circuits.
    deadline: when its outcome is due.
    queued_ns: when it was queued.
    ended: resolved by the lanes or the pipeline; cancelled when the caller no longer waits.
    progress: what has happened so far.
    caller: the name in the caller's certificate, "" without one.
    most_shots: the most that flags allow it.
    origin: where it comes from.
    """

    work: Subproblem | UserCircuits
    deadline: Deadline
    queued_ns: int
    ended: asyncio.Future[Ended]
    progress: CallProgress = field(default_factory=CallProgress)
    caller: str = ""
    most_shots: int = ANY_SHOTS
    origin: Origin = HERE

    @property
    def is_wanted(self) -> bool:
        """Whether the caller still waits."""
        return not self.ended.done()

    @property
    def has_samples(self) -> bool:
        """Whether its caller has been given samples."""
        if not self.ended.done() or self.ended.cancelled() or self.ended.exception() is not None:
            return False
        return isinstance(self.ended.result(), Sampled)

    def end(self, how: Ended) -> None:
        """Ends the call, if its caller still waits."""
        if not self.ended.done():
            self.ended.set_result(how)

    def fail(self, error: BaseException) -> None:
        """Raises an error of the caller, or a bug of ours, in the waiting caller."""
        if not self.ended.done():
            self.ended.set_exception(error)
