"""How a call ended: one of five values, each with its provenance."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from shotclock.domain.circuit import NOT_SIMULATED, Samples, Simulation
from shotclock.domain.flags import FLAG_LIMITS
from shotclock.domain.stages import StageTiming
from shotclock.domain.subproblem import Bits, Subproblem


class Winner(StrEnum):
    """Whose bits the answer is; ties are credited to classical, and to nothing before that."""

    INCUMBENT = "incumbent"
    CLASSICAL = "classical"
    QUANTUM = "quantum"


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """Bits with their energy on the subproblem as it was asked, and whose they are.

    bits: the assignment, shape (n,), uint8.
    energy: its energy, the offset included.
    winner: whose bits they are.
    solver: name of what found them.
    """

    bits: Bits
    energy: float
    winner: Winner
    solver: str


def incumbent(subproblem: Subproblem) -> Answer:
    """Changing nothing: all bits zero."""
    bits = np.zeros(subproblem.n, dtype=np.uint8)
    return Answer(bits, subproblem.offset, Winner.INCUMBENT, "incumbent")


REMAINING_BUDGET, SHOTS_TO_FIT = "remaining_budget", "shots_to_fit"
DOES_NOT_FIT = frozenset({REMAINING_BUDGET, SHOTS_TO_FIT})
"""The limits that refuse a call which predictably cannot finish in what is left of its budget."""

MAX_QUBITS = "max_qubits"
"""The limit that refuses a subproblem of more variables than the provider has qubits for."""

ERROR_FREE_SHOTS = "error_free_shots"
"""The limit that refuses a subproblem whose circuit hardly any shot would pass without an error."""

CALLER_QUOTA = "caller_quota"
"""The limit that refuses a call of a caller that has as much in progress as it may."""

TENANT_QUOTA = "tenant_quota"
"""The limit that refuses a call of a caller whose QPU time or money is used up."""

EXPECTED_GAIN = "expected_gain"
"""The limit that vetoes a submit whose pre-evaluation expects nothing of it."""

COMPILE_CAPACITY = "compile_capacity"
"""The limit that refuses a call whose circuit this host could not compile or emulate."""

DATA_POLICY = "data_policy"
"""The limit that keeps a call from a provider and region that the settings do not allow it."""

MEMORY = "memory"
"""The limit that refuses a call which does not fit into free memory."""

HOST_HEALTH = "host_health"
"""The limit that refuses every call while the host has a problem whose action is to refuse."""

REJECTION_LIMITS = (
    *(REMAINING_BUDGET, SHOTS_TO_FIT, MAX_QUBITS, ERROR_FREE_SHOTS, COMPILE_CAPACITY),
    *("queue_limit", "queue_wait", "caller_quota", "breaker", "drain", "expected_gain", "lanes", "lines"),
    *("concurrent_calls", DATA_POLICY, TENANT_QUOTA, MEMORY, HOST_HEALTH),
    *FLAG_LIMITS,
)
"""The name of every limit; a metric has each from the start."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a call was refused on arrival: the limit, its value, the present value, when to retry.

    limit: name of the limit.
    allowed: the limit's value, in `unit`.
    present: the value that goes against it, in `unit`.
    unit: the unit of both, with what it counts.
    retry_after_s: when to retry, seconds from now; 0 where waiting does not help or the time is not known.
    """

    limit: str
    allowed: float
    present: float
    unit: str
    retry_after_s: float

    def __str__(self) -> str:
        return (
            f"{self.limit}: {self.present:g} {self.unit} against a limit of {self.allowed:g}; "
            f"retry in {self.retry_after_s:.3g} s"
        )


@dataclass(frozen=True, slots=True)
class DeadlinePassed:
    """No samples by the deadline, after so many nanoseconds."""

    budget_ns: int


@dataclass(frozen=True, slots=True)
class ProviderFault:
    """The provider failed for good; its own words, redacted."""

    message: str


Cause = Rejection | DeadlinePassed | ProviderFault


class SubmitDecision(StrEnum):
    """What a pre-evaluation decided about a submit."""

    SUBMIT = "submit"
    """The samples are expected to beat the incumbent."""
    VETO = "veto"
    """They are not; the call was not submitted."""
    CALIBRATE = "calibrate"
    """They are not; submitted all the same, because only such calls show what a veto misses."""


@dataclass(frozen=True, slots=True)
class PreEvaluation:
    """What a local sampling of the bound circuit said before the submit.

    decision: what followed.
    expected_gain: energy of the incumbent minus the expected best of the shots, where that is lower.
    incumbent_energy: the lower energy of changing nothing and of greedy's answer.
    beats_incumbent: whether the best raw sample has a lower energy; None without samples.
    """

    decision: SubmitDecision
    expected_gain: float
    incumbent_energy: float
    beats_incumbent: bool | None = None


@dataclass(frozen=True, slots=True)
class Provenance:
    """Who did what for a call, so that no guarantee hides what the QPU did.

    provider: the provider's name; the solver's without a QPU; the server's address where it did not answer.
    emulated: whether the provider is emulated.
    base_version: the model version of the subproblem; 0 of a user circuit.
    stages: the timed stages, on this process's clock.
    job_id: the provider's; "" if no job was accepted.
    attempts: submits of the job; 0 if nothing was submitted.
    template_key: the compiled template's key; "" if none was bound.
    shots: shots in the samples; 0 without samples.
    qpu_s: QPU time consumed, seconds.
    raw_gain: energy of changing nothing minus the best raw sample's, ≥ 0 means an improvement; 0 without
        samples.
    classical_gain: the same of the classical answer; 0 without one.
    samples_at_ns: when the samples were here, on the same clock, nanoseconds; 0 without samples.
    emulator_overrun: the emulation computed for longer than the time it emulates, so this call's latency is
        not to be trusted as emulated.
    sharers: calls in the job, this one included.
    cached: samples of an earlier, equal call.
    penalised: run at a rep_delay below the device's default, which costs fidelity.
    simulation: how an emulation computed the samples.
    pre_evaluation: of its submit; None where none was made.
    """

    provider: str
    emulated: bool
    base_version: int
    stages: tuple[StageTiming, ...] = ()
    job_id: str = ""
    attempts: int = 0
    template_key: str = ""
    shots: int = 0
    qpu_s: float = 0.0
    raw_gain: float = 0.0
    classical_gain: float = 0.0
    samples_at_ns: int = 0
    emulator_overrun: bool = False
    sharers: int = 1
    cached: bool = False
    penalised: bool = False
    simulation: Simulation = NOT_SIMULATED
    pre_evaluation: PreEvaluation | None = None

    @property
    def began_ns(self) -> int:
        """The first instant in it, 0 without any."""
        instants = [timing.start_ns for timing in self.stages]
        if self.samples_at_ns:
            instants.append(self.samples_at_ns)
        return min(instants, default=0)


class InWords:
    """An outcome that says what happened; see `domain.summaries`."""

    __slots__ = ()

    def __repr__(self) -> str:
        from shotclock.domain import summaries  # noqa: PLC0415 - it is about the classes of this module

        return f"<{summaries.headline(self)}>"  # type: ignore[arg-type]

    def summary(self) -> str:
        """What happened and who did what, a fact a line."""
        from shotclock.domain import summaries  # noqa: PLC0415 - as above

        return summaries.summarise(self)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Done(InWords):
    """Samples came back by the deadline and passed their checks; the answer is the race's winner.

    answer: the lowest energy of the samples, the classical answer and changing nothing.
    samples: what the QPU returned; none of a purely classical answer.
    classical: the classical candidate; None if none was computed.
    provenance: who did what.
    """

    answer: Answer
    samples: Samples
    classical: Answer | None
    provenance: Provenance


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Degraded(InWords):
    """Answered classically by the deadline, because the quantum path could not."""

    answer: Answer
    cause: Cause
    provenance: Provenance


@dataclass(frozen=True, slots=True, repr=False)
class Shed(InWords):
    """Refused on arrival, and no classical answer was wanted."""

    rejection: Rejection
    provenance: Provenance


@dataclass(frozen=True, slots=True, repr=False)
class Late(InWords):
    """Nothing by the deadline."""

    cause: DeadlinePassed
    provenance: Provenance


@dataclass(frozen=True, slots=True, repr=False)
class Failed(InWords):
    """The provider failed, and no classical answer was wanted."""

    cause: ProviderFault
    provenance: Provenance


Outcome = Done | Degraded | Shed | Late | Failed


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Executed(InWords):
    """A circuit of the caller's own was run: its samples, by the deadline."""

    samples: Samples
    provenance: Provenance


CircuitOutcome = Executed | Shed | Late | Failed
"""How a call with a user circuit ended; it has no classical fallback."""


def end_without_answer(cause: Cause, provenance: Provenance) -> Shed | Late | Failed:
    """The outcome of a call for which there is nothing to apply: which of the three the cause decides."""
    match cause:
        case Rejection():
            return Shed(cause, provenance)
        case DeadlinePassed():
            return Late(cause, provenance)
        case ProviderFault():
            return Failed(cause, provenance)


def why_no_samples(outcome: Outcome | CircuitOutcome, *, figures: bool) -> str:
    """In words, "" of Done and Executed.

    figures: whether a rejection tells its limit with its values, or by name alone, so that equal causes
    can be counted.
    """
    match outcome:
        case Done() | Executed():
            return ""
        case Shed(rejection=cause) | Degraded(cause=cause) | Late(cause=cause) | Failed(cause=cause):
            return _in_words(cause, figures)


def _in_words(cause: Cause, figures: bool) -> str:
    match cause:
        case DeadlinePassed():
            return "deadline passed"
        case ProviderFault(message=message):
            return f"provider: {message}"
        case Rejection(limit=limit):
            return f"rejected: {cause if figures else limit}"


@dataclass(frozen=True, slots=True)
class ClientOutcomes:
    """How many calls ended by the decision of a client, without an answer of the service.

    late: nothing by the deadline.
    unreachable: the service could not be reached, or gave no usable answer.
    fallback: answered classically by the client.
    fallback_in_time: of these, by the deadline.
    """

    late: int = 0
    unreachable: int = 0
    fallback: int = 0
    fallback_in_time: int = 0

    @classmethod
    def of(cls, outcome: Outcome | CircuitOutcome, *, in_time: bool) -> ClientOutcomes:
        """One call; none of one that the orchestrator refused."""
        match outcome:
            case Late():
                return cls(late=1)
            case Failed():
                return cls(unreachable=1)
            case Degraded():
                return cls(fallback=1, fallback_in_time=int(in_time))
            case _:
                return cls()

    def __bool__(self) -> bool:
        return self != NO_CLIENT_OUTCOMES

    def __add__(self, other: ClientOutcomes) -> ClientOutcomes:
        return ClientOutcomes(
            self.late + other.late,
            self.unreachable + other.unreachable,
            self.fallback + other.fallback,
            self.fallback_in_time + other.fallback_in_time,
        )

    def __sub__(self, other: ClientOutcomes) -> ClientOutcomes:
        return ClientOutcomes(
            self.late - other.late,
            self.unreachable - other.unreachable,
            self.fallback - other.fallback,
            self.fallback_in_time - other.fallback_in_time,
        )

    def limit(self, most: int) -> ClientOutcomes:
        """At most so many of each kind."""
        fallback = min(self.fallback, most)
        return ClientOutcomes(
            min(self.late, most), min(self.unreachable, most), fallback, min(self.fallback_in_time, fallback)
        )


NO_CLIENT_OUTCOMES = ClientOutcomes()


class Decision(StrEnum):
    """What the aggregator did with an answer."""

    APPLIED = "applied"
    """Applied at the version it was computed on."""
    REVALIDATED = "revalidated"
    """The model had moved; re-scored on the present one and applied."""
    REJECTED = "rejected"
    """No candidate improves the present model, or the loss check refused it."""
    DROPPED = "dropped"
    """The model had moved and the policy drops stale answers."""
    CONFLICT = "conflict"
    """Lost the compare-and-swap to another writer."""
    ABANDONED = "abandoned"
    """The call brought no answer to apply."""


ALWAYS_STALE = frozenset({Decision.REVALIDATED, Decision.DROPPED, Decision.CONFLICT})
"""The decisions that are made only on an answer whose model has moved."""
