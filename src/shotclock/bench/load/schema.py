"""`load.json`, schema 1: what a load test found. Additions keep the number; anything else moves it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from shotclock.bench.load.arrivals import Scenario
from shotclock.bench.load.records import Basis
from shotclock.bench.schema import Percentile, Ratio, Result
from shotclock.domain.plural import count

TOO_FEW = "too_few_samples"
Quantile = Literal["p50", "p90", "p95", "p99", "p99.9"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Tail(_Frozen):
    """A latency in milliseconds; missed calls stay in n and rank above every measured one.

    unit: ms.
    direction: lower is better.
    n: number of calls, missed ones included.
    missed: calls without a value.
    mean: over the measured values only; None without any.
    percentiles: by name, with bounds where there are samples enough.
    """

    unit: Literal["ms"] = "ms"
    direction: Literal["lower"] = "lower"
    n: int
    missed: int
    mean: float | None
    percentiles: dict[Quantile, Percentile | Literal["too_few_samples"]]


class Window(_Frozen):
    """A stretch of a run.

    start_s: where it begins, seconds from the run's begin.
    end_s: where it ends, likewise.
    n: calls in it: of an open load those that were due, else those that ended.
    rate: of ended calls, a second; of an open load, per call that came in.
    quantile_ms: the gated one, empirical; None where misses or too few calls leave none.
    low_ms, high_ms: its 99 % interval, as if calls were independent; None where an end lies among misses or
        is open.
    """

    start_s: float
    end_s: float
    n: int
    rate: float
    quantile_ms: float | None
    low_ms: float | None
    high_ms: float | None


class LoadRun(_Frozen):
    """One run at one rate.

    seed: of its arrivals.
    rate_per_s: as planned, calls a second.
    duration_s: as planned, seconds.
    offered_per_s: calls a second that were due; of a closed load, the same as `achieved_per_s`.
    achieved_per_s: calls a second that were asked.
    completed_per_s: calls a second that ended.
    calls: calls that ended.
    latency: any answer, from the scheduled instant, calls without one missed.
    quantum_latency: calls with samples, all others but cache hits missed (a cache hit asks no QPU).
    software: what of `latency` no emulation waited for.
    issue_lag: how late calls were asked.
    by_class: latency of the calls of each class, by who answered.
    shares: share of each class in all calls.
    deadline_hit_ratio: share of calls that were answered in time.
    quantum_share: share of calls whose samples came in time.
    goodput_per_s: calls a second that were answered in time.
    quantum_goodput_per_s: calls a second whose samples came in time.
    causes: how many calls had no samples, by why.
    qpu_s: QPU time consumed, seconds; 0 if none was reported.
    emulator_overruns: calls whose emulation computed for longer than the time it emulates.
    simulation: how an emulation computed the samples, of the least exact call; "" of a QPU's.
    windows: the run in stretches of equal length.
    stable: the last three windows agree; None where their calls are too few to say.
    faults: why the measurement itself is not to be trusted; empty is valid.
    gated: the percentile that the deadline is compared with.
    result: whether that percentile meets the deadline.
    why: the reason for the result, in words.
    """

    seed: int
    rate_per_s: float
    duration_s: float
    offered_per_s: float
    achieved_per_s: float
    completed_per_s: float
    calls: int
    latency: Tail
    quantum_latency: Tail
    software: Tail
    issue_lag: Tail
    by_class: dict[str, Tail]
    shares: dict[str, Ratio]
    deadline_hit_ratio: Ratio
    quantum_share: Ratio
    goodput_per_s: float
    quantum_goodput_per_s: float
    causes: dict[str, int]
    qpu_s: float
    emulator_overruns: int
    simulation: str = ""
    windows: tuple[Window, ...]
    stable: bool | None
    faults: tuple[str, ...]
    gated: Quantile
    result: Result
    why: str


class RunInterval(_Frozen):
    """An estimate with its two-sided bootstrap interval over runs.

    value: over all runs together, ms.
    low, high: the interval, ms.
    confidence: of the interval, 0 to 1.
    runs: how many there were.
    """

    value: float
    low: float
    high: float
    confidence: float
    runs: int


class Knee(_Frozen):
    """The highest rate that met the deadline, and the lowest that did not; None where no rate did."""

    met_per_s: float | None
    missed_per_s: float | None
    why: str


class Circuit(_Frozen):
    """A user circuit, which every call ran.

    file: its name, without the folder.
    sha256: of the source, hexadecimal.
    values: of its parameters.
    shots: shots of each call; of each measured circuit, with observables.
    observables: whose expectation values a call measured; none where it sampled the circuit.
    bases: measured circuits of such a call.
    """

    file: str
    sha256: str
    values: dict[str, float]
    shots: int
    observables: tuple[str, ...] = ()
    bases: int = 0

    def __str__(self) -> str:
        text = f"{self.file}, {count(self.shots, 'shot')}"
        if not self.observables:
            return text
        circuits = count(self.bases, "measured circuit")
        return f"{text} of {circuits}, {count(len(self.observables), 'observable')}"


class LoadCost(_Frozen):
    """What the QPU's time of a test costs at the settings' price.

    currency: of every amount here.
    qpu_second: the price of a second of the QPU.
    qpu_s: QPU time of all runs, seconds: those their jobs had the QPU.
    money: for these seconds.
    money_per_hit: of the quoted run, for a call whose samples came by the deadline; None without any.
    untold: submitted calls without reported seconds, most of them abandoned at their deadline; they make the
        money a lower bound.
    """

    currency: str
    qpu_second: float
    qpu_s: float
    money: float
    money_per_hit: float | None
    untold: int


class LoadSummary(_Frozen):
    """The whole of load.json.

    schema_number: 1.
    kind: load.
    shotclock: version.
    run_id: unique.
    status: complete, or interrupted by Ctrl-C.
    scenario: how calls arrived.
    basis: which calls count as answered.
    deadline_ms: each call's budget, milliseconds.
    rate_per_s: calls a second, as asked for; a sweep begins at it.
    duration_s: length of a run, seconds, as asked for.
    n: variables of a subproblem or, of a circuit, its classical bits.
    target: what was loaded: an address, or a dedicated orchestrator.
    provider: the provider's name.
    clock: wall or virtual.
    emulated: whether the provider, or any call's, is emulated.
    started_at: ISO 8601.
    environment: the machine.
    runs: in the order they were made.
    quoted: the index of the run that speaks for the test, the worst of its runs or, of a sweep, the last at
        the knee.
    official: five valid runs or more at one rate (no sweep).
    interval: of the gated percentile, ms; None of a sweep or an interrupted test, with fewer than two runs,
        or where it is a miss.
    knee: what a sweep found; None without a sweep.
    circuit: None where subproblems were asked.
    batch: subproblems in one request; each is a call.
    cost: None if no call reports QPU time.
    """

    schema_number: Literal[1] = Field(default=1, alias="schema")
    kind: Literal["load"] = "load"
    shotclock: str
    run_id: str
    status: Literal["complete", "interrupted"]
    scenario: Scenario
    basis: Basis
    deadline_ms: float
    rate_per_s: float
    duration_s: float
    n: int
    target: str
    provider: str
    clock: Literal["wall", "virtual"]
    emulated: bool
    started_at: str
    environment: dict[str, str]
    runs: tuple[LoadRun, ...]
    quoted: int
    official: bool
    interval: RunInterval | None
    knee: Knee | None
    circuit: Circuit | None = None
    batch: int = Field(default=1, ge=1)
    cost: LoadCost | None = None

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    @property
    def request_label(self) -> str:
        """What a call asked, in a few words."""
        if self.circuit is None:
            return f"n = {self.n}" if self.batch == 1 else f"n = {self.n}, {self.batch} in a request"
        return f"{self.circuit}, {count(self.n, 'bit')}"

    @property
    def identity(self) -> str:
        """Of what was asked: two circuits of equal names may differ in content and in values."""
        if self.circuit is None:
            return self.request_label
        values = ", ".join(f"{name} = {value!r}" for name, value in sorted(self.circuit.values.items()))
        measured = "; ".join(self.circuit.observables)
        parts = (self.request_label, f"sha256 {self.circuit.sha256[:16]}", values, measured)
        return ", ".join(part for part in parts if part)
