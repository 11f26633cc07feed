"""The ports at which rooms meet; `app` introduces the implementations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, ParamSpec, Protocol, TypeVar, runtime_checkable

from shotclock.domain.circuit import CircuitSpec, DeviceCircuit, Pub, Samples
from shotclock.domain.delta import Delta, Proposal
from shotclock.domain.iteration import CallCounts, FinishedCall, Iteration
from shotclock.domain.ledger import JobRecord, LedgerState
from shotclock.domain.outcome import Answer, CircuitOutcome, Decision, Outcome
from shotclock.domain.status import BreakerState, Drained, Phase, Status
from shotclock.domain.subproblem import Bits, Subproblem

P = ParamSpec("P")
T = TypeVar("T")


class Clock(Protocol):
    """Reads time, never waits: waiting belongs to the event loop."""

    def now_ns(self) -> int:
        """A monotonic instant, nanoseconds."""


class Offload(Protocol):
    """Runs work that would hold the interpreter somewhere else."""

    async def run(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """The work's result; `work` and its arguments must pickle.

        What the work raises is raised here. Raises WorkerError where this host cannot do it. A cancelled
        caller gets no result: work in a separate process ends there; a thread runs on, its result unused.
        """


class Dispatcher(Protocol):
    """Solves subproblems: each accepted call ends in exactly one outcome, by its deadline."""

    async def solve(self, subproblem: Subproblem) -> Outcome:
        """`subproblem.budget_ns` starts to run when this is called."""

    async def execute(self, spec: CircuitSpec) -> CircuitOutcome:
        """Runs a circuit of the caller's own; CircuitError where it cannot be run anywhere."""

    async def record_decision(self, request_id: str, decision: Decision) -> None:
        """What became of an answer at the model: closes the record of a paid call."""


class Operations(Protocol):
    """What an operator may ask of a running orchestrator."""

    @property
    def phase(self) -> Phase:
        """Whether it takes calls: `status().phase`, which every call asks for."""

    def status(self) -> Status:
        """How it is now."""

    async def drain(self, budget_ns: int) -> Drained:
        """Accepts nothing more; returns when every accepted call has ended, within the budget."""

    def resume(self) -> None:
        """Accepts calls again."""


class Pending(Protocol):
    """A call under way, seen from synchronous code."""

    def done(self) -> bool:
        """Whether `result` would return at once."""

    def result(self) -> Outcome:
        """Waits for the outcome; the call's own deadline bounds the wait."""


class Caller(Protocol):
    """A dispatcher's face for code without an event loop: a training loop."""

    def ask(self, subproblem: Subproblem) -> Pending:
        """Starts a call and returns at once."""

    def record_decision(self, request_id: str, decision: Decision) -> None:
        """Tells the dispatcher what became of an answer, without waiting."""


class Solver(Protocol):
    """A classical answer."""

    name: str

    def solve(self, subproblem: Subproblem) -> Bits:
        """The best bits found, shape (n,), uint8."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a provider runs: PUBs that share their shots.

    pubs: the PUBs, in order.
    shots: shots of every PUB.
    tag: ours, by which the job is found again.
    rep_delay_s: pause between two shots, seconds; None is the device's default.
    """

    pubs: tuple[Pub, ...]
    shots: int
    tag: str
    rep_delay_s: float | None = None

    @classmethod
    def of(
        cls, circuits: tuple[DeviceCircuit, ...], shots: int, tag: str, rep_delay_s: float | None = None
    ) -> Job:
        """A PUB a circuit: nothing packed."""
        return cls(tuple(Pub((circuit,)) for circuit in circuits), shots, tag, rep_delay_s)

    @property
    def circuits(self) -> tuple[DeviceCircuit, ...]:
        """Every circuit, PUB after PUB: the order of `Execution.samples`."""
        return tuple(circuit for pub in self.pubs for circuit in pub.circuits)


@dataclass(frozen=True, slots=True)
class Execution:
    """A finished job: its samples, and how its time was spent.

    The instants are on the caller's clock; `*_emulated_ns` is the part an emulation waited on purpose (all of
    it zero on hardware).

    samples: one Samples a circuit, in the job's order.
    running_at_ns: when the QPU began, nanoseconds.
    finished_at_ns: when the QPU ended, nanoseconds.
    collected_at_ns: when the samples were here, nanoseconds.
    queue_emulated_ns: emulated part of the wait for the QPU, nanoseconds.
    execution_emulated_ns: emulated part of the time on the QPU, nanoseconds.
    collect_emulated_ns: emulated part of the time from the end to the samples, nanoseconds.
    qpu_s: QPU time consumed, seconds; 0 if the provider reports none.
    emulator_overrun: whether the emulation computed for longer than the time it emulates.
    """

    samples: tuple[Samples, ...]
    running_at_ns: int
    finished_at_ns: int
    collected_at_ns: int
    queue_emulated_ns: int = 0
    execution_emulated_ns: int = 0
    collect_emulated_ns: int = 0
    qpu_s: float = 0.0
    emulator_overrun: bool = False


@dataclass(frozen=True, slots=True)
class Accepted:
    """A job the provider took. shots: as far as they are known here, 0 where they are not."""

    job_id: str
    submit_emulated_ns: int = 0
    shots: int = 0


@dataclass(frozen=True, slots=True)
class ProviderLimits:
    """What a provider allows.

    lanes: jobs that may be with it at once.
    max_shots: shots a job.
    max_qubits: qubits a circuit.
    submissions_per_minute: submits a minute; None means no limit.
    paid: whether jobs cost money, so that they go through the ledger.
    emulated: whether no real QPU is behind it.
    max_pubs: PUBs a job.
    rep_delay_default_s: what it takes where a job names none, seconds; 0 where it knows no such delay.
    """

    lanes: int
    max_shots: int
    max_qubits: int
    submissions_per_minute: float | None
    paid: bool
    emulated: bool
    max_pubs: int = 1
    rep_delay_default_s: float = 0.0


class Provider(Protocol):
    """Runs jobs on a QPU or an emulation of one. Faults are raised as ProviderError."""

    name: str
    limits: ProviderLimits

    def predict_s(self, job: Job) -> float:
        """The p95 of submit-to-samples for this job with nothing ahead of it, seconds."""

    async def submit(self, job: Job) -> Accepted:
        """Hands the job over."""

    async def collect(self, accepted: Accepted) -> Execution:
        """Waits for the job and fetches its samples. Raises JobEndedError where the job is over without."""

    async def cancel(self, accepted: Accepted) -> None:
        """Gives the job up; nothing is raised when it has already ended."""

    async def find(self, tag: str) -> tuple[Accepted, ...]:
        """The jobs submitted under this tag that can be collected: how one is adopted after a crash."""

    async def ping(self) -> None:
        """A status call: free and quick; raises ProviderError where the provider takes no jobs now."""

    async def close(self) -> None:
        """Ends what costs while it is open: sessions, connections; the last call of all."""


@dataclass(frozen=True, slots=True)
class Charges:
    """What a provider's jobs and sessions cost beside the executions that were collected, QPU seconds.

    abandoned: jobs that were accepted and never brought samples.
    abandoned_s: what those consumed, seconds, as far as it is known.
    abandoned_untold: those of them of which it is not known.
    sessions: sessions whose usage was reported.
    sessions_s: what those were charged from their first job to their end, seconds, jobs included.
    sessions_untold: sessions whose usage was not reported.
    """

    abandoned: int = 0
    abandoned_s: float = 0.0
    abandoned_untold: int = 0
    sessions: int = 0
    sessions_s: float = 0.0
    sessions_untold: int = 0


NO_CHARGES = Charges()


@runtime_checkable
class Emulating(Protocol):
    """A provider that computes while an emulated time passes."""

    def has_overrun_since(self, instant_ns: int) -> bool:
        """Whether a job has computed past the instant at which it was due, from this instant on."""


@runtime_checkable
class Rehearsing(Protocol):
    """A provider that predicts from the jobs it has run, and may run one before the first call for it."""

    async def rehearse(self, job: Job) -> None:
        """Runs a job for its duration alone; raises ProviderError where it fails."""


@runtime_checkable
class Charged(Protocol):
    """A provider that knows its charges."""

    def charges(self) -> Charges:
        """So far; final once it is closed."""


class Ledger(Protocol):
    """The durable record of paid jobs. Every method raises LedgerError when the promise cannot be kept."""

    async def intend(self, record: JobRecord) -> None:
        """Records what is about to be submitted; durable when this returns."""

    async def move(self, tag: str, state: LedgerState, *, job_id: str = "", note: str = "") -> None:
        """The next state of a record, along `NEXT_STATES`; durable when this returns."""

    async def jobs(self, *states: LedgerState) -> tuple[JobRecord, ...]:
        """The records in these states, all of them without any; the oldest change first."""


class Synthesizer(Protocol):
    """Quantum meaning: subproblem to circuit, samples to answer."""

    async def warm(self, n: int) -> None:
        """Compiles what subproblems of n variables need, off the event loop."""

    def lines(self, n: int) -> tuple[tuple[int, ...], ...]:
        """Lines of n qubits that share none and are ready, the best first; none before `warm(n)`."""

    async def bind(self, subproblem: Subproblem, line: tuple[int, ...] = ()) -> DeviceCircuit:
        """The line's cached template with this subproblem's parameters; compiles on a miss.

        line: () is the device's best.
        """

    async def bind_circuit(self, source: str | bytes, values: Mapping[str, float]) -> DeviceCircuit:
        """A user circuit, compiled; raises CircuitError, which names what cannot be run."""

    def decode(self, subproblem: Subproblem, samples: Samples) -> Answer:
        """The best sample on the original objective; raises ProviderError on samples that don't fit."""


class Kernel(Protocol):
    """Finds subproblems in a model and turns answers into deltas.

    loss_check: whether an answer must also lower the task's loss on the present batch to be applied.
    """

    name: str
    loss_check: bool

    def propose(self, base_version: int, budget_ns: int) -> Proposal:
        """A subproblem of the model as it is now."""

    def rebuild(self, proposal: Proposal, version: int) -> Subproblem:
        """The same variables' surrogate on the model as it is now."""

    def delta(self, proposal: Proposal, bits: Bits, version: int) -> Delta:
        """What applying the bits changes on the model as it is now."""


class Workload(Protocol):
    """A model in training, moved only by its own steps and by deltas the aggregator lets through."""

    name: str
    samples_per_step: int

    def step(self) -> float:
        """One optimizer step; the batch loss before it."""

    def evaluate(self) -> float:
        """Held-out loss, without side effects."""

    def probe(self, delta: Delta) -> float:
        """Loss on the present batch after the delta minus before, the model left unchanged."""

    def apply(self, delta: Delta) -> None:
        """Writes the delta into the model."""

    def kernel(self, name: str, n: int) -> Kernel:
        """The named kernel, bound to this model; SettingsError when it cannot serve this workload."""


class Trainer(Protocol):
    """A workload being trained, with calls or without; `finished` grows as calls end."""

    finished: list[FinishedCall]

    @property
    def counts(self) -> CallCounts:
        """How many calls fell due, how many were asked, and why the others were not."""

    def iterate(self, step: int) -> Iteration:
        """One training iteration, the call that is due included."""

    def flush(self) -> None:
        """Waits for the call in flight, if any, and offers its answer."""


TemplateEvent = Literal["hit", "miss", "loaded", "evicted", "refused"]
"""In memory; not in memory; a miss found on disk; dropped from memory; on disk but not to be used."""


class TemplateRecorder(Protocol):
    """Counts what becomes of templates; observes and never decides."""

    def template(self, event: TemplateEvent) -> None:
        """A template was asked for, dropped or refused."""

    def record_compile(self, seconds: float) -> None:
        """A template was compiled in this time."""


WorkerRestart = Literal["abandoned", "time", "memory", "died", "grown"]
"""Why a worker process was replaced: killed when nobody waited for its work any more, over its time or its
memory, ended by itself or from outside, or left with less memory than the next work may take.
"""


class Recorder(TemplateRecorder, Protocol):
    """Counts what happens; observes and never decides."""

    def record_worker_restart(self, reason: WorkerRestart) -> None:
        """A worker process was replaced; called from any thread."""

    def record_submit(self, latency_ns: int) -> None:
        """A submit was accepted after this long."""

    def record_queue_length(self, length: int) -> None:
        """The queue's present length."""

    def record_retry(self) -> None:
        """A submit or collect is tried again."""

    def record_lookup(self, hit: bool) -> None:
        """Samples of an equal, earlier call were looked for."""

    def breaker(self, state: BreakerState) -> None:
        """Whether the provider is trusted again."""

    def record_outcome(self, outcome: Outcome | CircuitOutcome) -> None:
        """A call ended."""

    def record_decision(self, decision: Decision, stale: bool) -> None:
        """The aggregator decided on an answer."""
