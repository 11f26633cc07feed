"""The ports through which packages of the middle layer meet; `app` wires the implementations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ParamSpec, Protocol, TypeVar, runtime_checkable

from shotclock.domain.accounting import Charges, JobUsage, MoneyLeft
from shotclock.domain.canary import CanaryReport, CanaryRequest
from shotclock.domain.circuit import CircuitSpec, DeviceCircuit, Pub, Samples
from shotclock.domain.circuit_batch import CircuitBatch, CircuitPoints, Deliver
from shotclock.domain.delta import Delta, Proposal
from shotclock.domain.flags import FlagChange, FlagDecision, FlagReport, FlagRequest
from shotclock.domain.iteration import CallCounts, CircuitCall, FinishedCall, Iteration
from shotclock.domain.ledger import JobRecord, LedgerState
from shotclock.domain.outcome import Answer, CircuitOutcome, Decision, Outcome
from shotclock.domain.status import Drained, Phase, Status
from shotclock.domain.subproblem import Bits, Subproblem
from shotclock.domain.subproblem_batch import DeliverOutcome, SubproblemBatch

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
        """Solves the subproblem; `subproblem.budget_ns` starts to run when this is called."""

    async def solve_batch(self, batch: SubproblemBatch, deliver: DeliverOutcome) -> None:
        """Solves several subproblems at the same time, each as `solve` would: by its own budget and quotas.

        deliver: called once for each subproblem as answers arrive, on the event loop.
        """

    async def execute(self, spec: CircuitSpec) -> CircuitOutcome:
        """Runs a user circuit. Raises CircuitError if it cannot run on any device."""

    async def execute_batch(self, batch: CircuitBatch, deliver: Deliver) -> None:
        """Runs several circuits at several points each, compiled once a circuit and packed into few jobs.

        deliver: called once for each point as answers arrive, on the event loop. Raises CircuitError, before
        anything runs, if one of the circuits cannot run.
        """

    async def record_decision(
        self, request_id: str, decision: Decision, *, stale: bool = False, caller: str = ""
    ) -> None:
        """Counts the decision on an answer at the model; it closes the record of a paid call.

        stale: the answer was computed on an older model; `ALWAYS_STALE` decisions say so by themselves.
        caller: the name in the caller's certificate, "" without one.
        """


class Operations(Protocol):
    """What an operator may request of a running orchestrator."""

    @property
    def phase(self) -> Phase:
        """Whether it accepts calls: `status().phase`, without the cost of the rest."""

    def status(self) -> Status:
        """Its present status."""

    async def drain(self, budget_ns: int) -> Drained:
        """Accepts no more calls; returns when every accepted call has ended, within the budget."""

    def resume(self) -> None:
        """Accepts calls again."""


class Flags(Protocol):
    """Feature flags: which calls may use the QPU. They never allow more than the settings do."""

    def decide(self, request: FlagRequest) -> FlagDecision:
        """Whether the call may use the QPU and with how many shots; never raises, never waits."""

    def report(self) -> FlagReport:
        """The flags in force and the state of their source."""

    def canary(self) -> CanaryReport:
        """The canary that runs, or the last one."""

    def record_end(self, decision: FlagDecision, outcome: Outcome, duration_ns: int, budget_ns: int) -> None:
        """A call on which `decide` decided so ended, this long after it arrived."""


class FlagSource(Protocol):
    """Where a document of flags in flagd's format is kept: a file or a row. For any thread."""

    name: str
    """For error texts."""
    kind: str
    """Who changed the flags, in the audit log, where that was not by request: file or ledger."""
    description: str
    """What it is, in a sentence."""

    def read(self) -> bytes:
        """The document. Raises SettingsError if it cannot be read."""

    def replace(self, edit: Callable[[bytes], str]) -> None:
        """Puts what `edit` makes of the document in its place, while no other editor may.

        Raises what `edit` raises, SettingsError, or MachineError; the document is as it was then.
        """


class Rollout(Protocol):
    """What an operator may change of the flags of a running service."""

    async def set_flag(self, flag: str, setting: str) -> FlagChange:
        """Sets one flag in the source that the service reads; in force when this returns.

        setting: as `shotclock flags set` takes it. Raises SettingsError on what cannot be set, MachineError
        if the source cannot be written; nothing has changed then.
        """

    async def start_canary(self, request: CanaryRequest, caller: str) -> None:
        """Puts a share of the calls on the QPU and compares them with the others. Raises as `set_flag`."""

    async def abort_canary(self, caller: str) -> None:
        """Ends the canary; the share is what it was before. Raises as `set_flag`."""

    async def record_validation(self, run: str, kernel: str, value: float, caller: str) -> None:
        """A value of the validation metric of a training run, lower is better.

        run: what precedes the "/" in the run's request ids. Raises SettingsError unless the value is finite.
        """


class Profiles(Protocol):
    """The latency profiles among which the flag `profile` chooses."""

    def check(self, name: str) -> None:
        """Raises SettingsError, without the name of a file or key, on one that the provider cannot take."""

    def use(self, name: str) -> None:
        """From the provider's next job on; "" is the settings' own. May be called from any thread."""


class Pending(Protocol):
    """A call in progress, seen from synchronous code."""

    def done(self) -> bool:
        """Whether `result` would return at once."""

    def result(self) -> Outcome:
        """Waits for the outcome; the call's own deadline bounds the wait."""


class Caller(Protocol):
    """A dispatcher for code without an event loop, such as a training loop."""

    def ask(self, subproblem: Subproblem) -> Pending:
        """Starts a call and returns at once."""

    def record_decision(self, request_id: str, decision: Decision, *, stale: bool = False) -> None:
        """Reports the decision on an answer to the dispatcher, without waiting."""


class PendingBatch(Protocol):
    """A batch of circuits in progress, seen from synchronous code."""

    def done(self) -> bool:
        """Whether `result` would return at once."""

    def result(self) -> tuple[CircuitOutcome, ...]:
        """Waits for the outcome of every point; the batch's own deadline bounds the wait.

        Raises what `Dispatcher.execute_batch` raises, CancelledError (of concurrent.futures) after `cancel`.
        """

    def cancel(self) -> bool:
        """Gives the batch up, with its jobs; False if it has ended."""


class CircuitCaller(Protocol):
    """A dispatcher of circuits for code without an event loop, or with one that must not be blocked."""

    def submit(self, batch: CircuitBatch) -> PendingBatch:
        """Starts the batch and returns at once."""


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
    tag: set by us, so that the job can be found again.
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
        """One PUB per circuit: nothing is packed."""
        return cls(tuple(Pub((circuit,)) for circuit in circuits), shots, tag, rep_delay_s)

    @property
    def circuits(self) -> tuple[DeviceCircuit, ...]:
        """Every circuit, PUB by PUB: the order of `Execution.samples`."""
        return tuple(circuit for pub in self.pubs for circuit in pub.circuits)


@dataclass(frozen=True, slots=True)
class Execution:
    """A finished job: its samples, and how its time was spent.

    The instants are on the caller's clock; `*_emulated_ns` is the part an emulation waited on purpose (all of
    it zero on hardware).

    samples: one Samples per circuit, in the job's order.
    running_at_ns: when the QPU began, nanoseconds.
    finished_at_ns: when the QPU ended, nanoseconds.
    collected_at_ns: when the samples were here, nanoseconds.
    queue_emulated_ns: emulated part of the wait for the QPU, nanoseconds.
    execution_emulated_ns: emulated part of the time on the QPU, nanoseconds.
    collect_emulated_ns: emulated part of the time from the end to the samples, nanoseconds.
    qpu_s: QPU time consumed, seconds; 0 if the provider reports none.
    emulator_overrun: whether the emulation computed for longer than the time it emulates.
    acquisition: the vendor's id of the lease or session that the job ran in; "" is unknown, or none.
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
    acquisition: str = ""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A job that the provider accepted. shots: 0 if they are unknown here."""

    job_id: str
    submit_emulated_ns: int = 0
    shots: int = 0


@dataclass(frozen=True, slots=True)
class ProviderLimits:
    """What a provider allows.

    lanes: jobs it accepts at once.
    max_shots: shots per job.
    max_qubits: qubits per circuit.
    submissions_per_minute: None means no limit.
    paid: whether jobs cost money, so that they go through the ledger.
    emulated: whether no real QPU is behind it.
    max_pubs: PUBs per job.
    rep_delay_default_s: the delay of a job that sets none, seconds; 0 if the provider has no such delay.
    lists_jobs: whether `find` searches a list of every job of the account, so that a job that stays missing
        was never submitted.
    """

    lanes: int
    max_shots: int
    max_qubits: int
    submissions_per_minute: float | None
    paid: bool
    emulated: bool
    max_pubs: int = 1
    rep_delay_default_s: float = 0.0
    lists_jobs: bool = False


class Provider(Protocol):
    """Runs jobs on a QPU or an emulation of one. Faults are raised as ProviderError."""

    name: str
    limits: ProviderLimits

    def predict_s(self, job: Job) -> float:
        """The p95 of submit-to-samples for this job with nothing ahead of it, seconds."""

    async def submit(self, job: Job) -> Accepted:
        """Submits the job."""

    async def collect(self, accepted: Accepted) -> Execution:
        """Waits for the job and fetches its samples. Raises JobEndedError if it ended without any."""

    async def cancel(self, accepted: Accepted) -> None:
        """Cancels the job; nothing is raised if it has already ended."""

    async def find(self, tag: str) -> tuple[Accepted, ...]:
        """The jobs submitted under this tag that can be collected; a crashed caller's job is adopted so."""

    async def ping(self) -> None:
        """A free, fast status call. Raises ProviderError if the provider accepts no jobs now."""

    async def close(self) -> None:
        """Closes what costs while it is open: sessions, connections. No call follows."""


@runtime_checkable
class Budgeted(Protocol):
    """A provider with a spending cap."""

    def money_left(self) -> MoneyLeft | None:
        """What may still be spent; None without a cap."""

    def estimate_s(self, job: Job) -> float:
        """The QPU time that the job will be charged, seconds."""

    def on_usage(self, report: Callable[[str, float], None]) -> None:
        """Calls `report` with a job's tag and its final usage, seconds, whenever that becomes known."""


@runtime_checkable
class Emulating(Protocol):
    """A provider that computes while an emulated time passes."""

    def has_overrun_since(self, instant_ns: int) -> bool:
        """Whether a job has computed past the instant at which it was due, from this instant on."""


@runtime_checkable
class Rehearsing(Protocol):
    """A provider that predicts from the jobs it has run, and may run one before the first call."""

    async def rehearse(self, job: Job) -> None:
        """Runs a job to measure its duration. Raises ProviderError if it fails."""


@runtime_checkable
class Charged(Protocol):
    """A provider that knows its charges."""

    def charges(self) -> Charges:
        """The charges so far; final once the provider is closed."""


class Ledger(Protocol):
    """The durable record of paid jobs. Every method raises LedgerError if it cannot be made durable.

    What one event loop asks for is carried out in the order in which it was asked for.
    """

    async def intend(self, record: JobRecord) -> None:
        """Records what is about to be submitted; durable when this returns."""

    async def move(self, tag: str, state: LedgerState, *, job_id: str = "", note: str = "") -> None:
        """Moves a record to its next state, along `NEXT_STATES`; durable when this returns."""

    async def charge(self, tag: str, usage: JobUsage) -> None:
        """Replaces a job's estimate by what the provider reports, for good; durable when this returns.

        Does nothing where the job has no account, or nothing is known.
        """

    async def jobs(self, *states: LedgerState) -> tuple[JobRecord, ...]:
        """The records in these states (no argument: in any), oldest change first."""


class Synthesizer(Protocol):
    """Translates a subproblem to a circuit, and samples to an answer."""

    async def warm(self, n: int) -> None:
        """Compiles what subproblems of n variables need, off the event loop."""

    def lines(self, n: int) -> tuple[tuple[int, ...], ...]:
        """Disjoint lines of n qubits that are ready, the best first; empty before `warm(n)`."""

    async def bind(self, subproblem: Subproblem, line: tuple[int, ...] = ()) -> DeviceCircuit:
        """Binds this subproblem's parameters to the line's cached template; compiles on a miss.

        line: () is the device's best.
        """

    async def bind_circuit(self, source: str | bytes, values: Mapping[str, float]) -> DeviceCircuit:
        """Compiles a user circuit. Raises CircuitError, which names what cannot be run."""

    async def bind_points(self, circuit: CircuitPoints) -> tuple[DeviceCircuit, ...]:
        """The circuit at each of its points, compiled once. Raises CircuitError as `bind_circuit`."""

    def decode(self, subproblem: Subproblem, samples: Samples) -> Answer:
        """The best sample on the original objective. Raises ProviderError if the samples do not fit it."""


class Kernel(Protocol):
    """Finds subproblems in a model and turns answers into deltas.

    loss_check: whether an answer must also lower the task's loss on the present batch to be applied.
    """

    name: str
    loss_check: bool

    def propose(self, base_version: int, budget_ns: int) -> Proposal:
        """A subproblem of the present model."""

    def rebuild(self, proposal: Proposal, version: int) -> Subproblem:
        """The surrogate of the same variables on the present model."""

    def delta(self, proposal: Proposal, bits: Bits, version: int) -> Delta:
        """What applying the bits changes in the present model."""


class CircuitWorkload(Protocol):
    """A model in training that calls circuits through primitives by itself."""

    name: str
    samples_per_step: int

    def step(self) -> float:
        """One optimizer step; the batch loss before it."""

    def evaluate(self) -> float:
        """Held-out loss; its calls are not measured."""


class Workload(Protocol):
    """A model in training, changed only by its own steps and by deltas that the aggregator accepts."""

    name: str
    samples_per_step: int

    def step(self) -> float:
        """One optimizer step; the batch loss before it."""

    def evaluate(self) -> float:
        """Held-out loss, without side effects."""

    def probe(self, delta: Delta) -> float:
        """Loss on the present batch after the delta minus before; the model is left unchanged."""

    def apply(self, delta: Delta) -> None:
        """Writes the delta into the model."""

    def kernel(self, name: str, n: int) -> Kernel:
        """The named kernel, bound to this model. Raises SettingsError if it does not fit this workload."""


class Trainer(Protocol):
    """A workload being trained, with calls or without; `finished` grows as calls end."""

    finished: list[FinishedCall]

    @property
    def counts(self) -> CallCounts:
        """How many calls were due, how many were made, and why the others were not."""

    def iterate(self, step: int) -> Iteration:
        """One training iteration, including the call that is due."""

    def flush(self) -> None:
        """Waits for the calls in flight and offers their answers."""


@runtime_checkable
class CallsCircuits(Protocol):
    """A Trainer whose workload makes calls through primitives."""

    @property
    def circuit_calls(self) -> list[CircuitCall]:
        """Those of its steps that have ended, in order."""
