"""The models of `summary.json`, schema 2, which scripts read.

Schema 2 adds the findings of `bench/analysis`; a summary of schema 1 is read as one without them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from shotclock.bench.analysis import (
    Accelerators,
    BreakEven,
    Ceiling,
    LadderShares,
    LossCurve,
    PairedSeeds,
    PreEvaluated,
    RepresentativeIteration,
    SanityArm,
    Serving,
    Throughput,
)
from shotclock.bench.frozen import Frozen
from shotclock.bench.placement import Placement
from shotclock.bench.replication import Replication

SCHEMA = 2
TOO_FEW = "too_few_samples"


class Result(StrEnum):
    """The result of a threshold."""

    PASS = "PASS"
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"


class Percentile(Frozen):
    """An empirical quantile and the early-stopping upper bound (confidence 0.99) that gates use.

    value: milliseconds; None if it is among the right-censored calls, above the metric's `censored_above`
    upper_bound: milliseconds; None likewise
    """

    value: float | None
    upper_bound: float | None


class Latency(Frozen):
    """A latency in milliseconds. Censored and missed calls count in n and rank above all measured ones.

    type: latency
    unit: ms
    direction: lower is better
    n: number of values, including missed ones
    missed: calls without a value
    censored_above: lower bound of the missed values; None without any
    mean: over the measured values only; None without any
    percentiles: by name
    ok: whether its thresholds hold; None without one or if one is inconclusive
    """

    type: Literal["latency"] = "latency"
    unit: Literal["ms"] = "ms"
    direction: Literal["lower"] = "lower"
    n: int
    missed: int = 0
    censored_above: float | None = None
    mean: float | None
    percentiles: dict[Literal["p50", "p95", "p99"], Percentile | Literal["too_few_samples"]]
    ok: bool | None = None


class Ratio(Frozen):
    """A share of calls with its two-sided 99 % Clopper–Pearson interval; None without calls.

    type: ratio
    unit: ratio, 0 to 1
    direction: higher is better
    n: number of calls
    value: the share
    lower_bound, upper_bound: of the interval
    ok: whether its thresholds hold; None without one or if one is inconclusive
    """

    type: Literal["ratio"] = "ratio"
    unit: Literal["ratio"] = "ratio"
    direction: Literal["higher"] = "higher"
    n: int
    value: float | None
    lower_bound: float | None
    upper_bound: float | None
    ok: bool | None = None


Metric = Annotated[Latency | Ratio, Field(discriminator="type")]


class Loss(Frozen):
    """Held-out loss of one arm at the last step common to all arms.

    per_seed: by seed
    mean: over seeds
    improvement: mean of classical-only's loss minus this arm's, paired by seed
    interval: 95 % t-interval of the improvement; None with one seed
    """

    per_seed: dict[int, float]
    mean: float | None
    improvement: float | None
    interval: tuple[float, float] | None


class UnitPrices(Frozen):
    """The price of an accelerator hour and of a QPU second, in the currency of their `Cost`."""

    gpu_hour: float
    qpu_second: float


class Cost(Frozen):
    """What an arm consumed over the common steps, in total and per unit of loss gained on classical-only.

    currency: of all amounts
    prices: the settings' prices; None in older summaries, which do not hold them
    compute_h: hours of one accelerator; if the workload uses several, gpu_hour is the price of all
    qpu_s: billed QPU seconds
    abandoned_jobs: submitted jobs that were cancelled or failed, over the whole run
    abandoned_qpu_s: their part of qpu_s
    abandoned_untold, sessions_untold: jobs and sessions without reported usage; they make qpu_s and money
        lower bounds
    qpu_idle_s, idle_money: the part of qpu_s and money billed while no job used a session; None without one
    money: compute_h and qpu_s at `prices`
    compute_h_per_loss, money_per_loss: per unit of loss; None if the improvement is not positive
    """

    currency: str
    prices: UnitPrices | None = None
    compute_h: float
    qpu_s: float
    abandoned_jobs: int = 0
    abandoned_qpu_s: float = 0.0
    abandoned_untold: int = 0
    sessions_untold: int = 0
    qpu_idle_s: float | None = None
    idle_money: float | None = None
    money: float
    compute_h_per_loss: float | None
    money_per_loss: float | None


class ModeChange(Frozen):
    """A step at which an arm changed its mode.

    seed, step: where
    mode: the new mode
    calls: how many earlier calls the p95 is over
    p95_ms: of those calls, nearest rank; None if that call did not answer by its deadline
    """

    seed: int
    step: int
    mode: Literal["inline", "overlap"]
    calls: int
    p95_ms: float | None


class Meeting(Frozen):
    """How calls met training.

    inline: calls that training waited for
    overlapped: calls during which training continued
    changes: changes of mode
    """

    inline: int
    overlapped: int
    changes: tuple[ModeChange, ...] = ()


class Rung(Frozen):
    """The QPU's best sample of each call, by its energy, beside one classical control.

    better, equal, worse: shares of the compared calls in which it was that
    median_ms: the control's time per call
    money: of the control per call, at the price of an accelerator hour
    within_call: calls in which the control took no longer than the QPU's samples
    """

    better: Ratio
    equal: Ratio
    worse: Ratio
    median_ms: float
    money: float
    within_call: int


class Ladder(Frozen):
    """Where the QPU stands among classical controls on the same subproblems.

    calls: with new samples in time; only these are compared
    median_ms: of scheduled instant to samples
    money: billed QPU time per call at its price, without a session's idle time
    rungs: by control; `exact` only has the calls whose optimum is affordable, `best-known` the others
    """

    calls: int
    median_ms: float
    money: float
    rungs: dict[str, Rung]


CIRCUITS = "circuits"
"""The kernel of a run whose workload makes its calls through primitives."""


class ArmSummary(Frozen):
    """One arm: how it ran, and its counts.

    calls_quantum: whether it calls a QPU
    profile, provider: names; None without a QPU
    device, calibration: of the QPU; "" if not reported
    mode: as configured; "auto" follows measured latencies
    emulated: whether the QPU is emulated
    deadline_ms: of an inline call; under "auto" the iteration's budget
    protected: whether a classical answer is returned at the deadline
    seeds, steps, calls: what was run
    skipped_calls: due calls that were not made, by reason
    call_every: steps between calls; None without calls
    clock: wall or virtual, as this arm ran; "" in older summaries, where it is the run's
    samples_per_s: training samples per second
    outcomes, decisions, winners: counts of calls
    emulator_overruns: calls whose emulation took longer than the time it emulates
    simulation: how an emulation computed the samples, of the least exact call; "" of a QPU's
    surrogate_error: median over calls of the subproblem's relative energy error against the dense surrogate;
        0 where no term was left out, None without calls and in older summaries
    penalised_calls: calls at a rep_delay below the device's default
    causes: why calls brought no samples, with counts, most frequent first
    meeting: how calls met training; None in older summaries
    ladder: the QPU's samples beside classical controls; None without samples and in older summaries
    pre_evaluated: decisions of a local pre-evaluation; None without it
    cache_hits: of all calls, those answered from an equal call's samples; None where the cache is off
    placement: of calls to several hosts; None where the arm has an orchestrator in the benchmark's process
    phases: of calls through a primitive, how many were made in the forward and in the backward pass
    loss, cost: see `Loss` and `Cost`
    """

    calls_quantum: bool
    profile: str | None
    provider: str | None
    device: str = ""
    calibration: str = ""
    mode: str | None
    emulated: bool
    deadline_ms: float | None
    protected: bool
    seeds: tuple[int, ...]
    steps: int
    calls: int
    skipped_calls: dict[str, int] = Field(default_factory=dict)
    call_every: int | None
    clock: str = ""
    samples_per_s: float | None
    outcomes: dict[str, int]
    decisions: dict[str, int]
    winners: dict[str, int]
    emulator_overruns: int
    simulation: str = ""
    surrogate_error: float | None = None
    penalised_calls: int = 0
    causes: dict[str, int] = Field(default_factory=dict)
    meeting: Meeting | None = None
    ladder: Ladder | None = None
    pre_evaluated: PreEvaluated | None = None
    cache_hits: Ratio | None = None
    placement: Placement | None = None
    phases: dict[str, int] = Field(default_factory=dict)
    loss: Loss
    cost: Cost


class GateResult(Frozen):
    """A threshold and its result.

    metric: its name
    limit: milliseconds, or a share
    direction: whether the limit is a maximum or a minimum
    result: PASS, FAIL or INCONCLUSIVE
    why: the count behind the binomial bound
    needed: calls expected to decide an INCONCLUSIVE result at the current share; 0 if the share is too close
        to the limit for a run of reasonable length; None otherwise
    """

    metric: str
    limit: float
    direction: Literal["max", "min"]
    result: Result
    why: str
    needed: int | None = None


class Component(Frozen):
    """One number of a profile.

    name: its dotted key
    value: in `unit`
    unit: the unit's symbol
    tag: how the number is known
    source: where it comes from
    """

    name: str
    value: float
    unit: str
    tag: Literal["published", "measured", "assumed"]
    source: str


class ProfileSummary(Frozen):
    """A profile's components, its prediction for this run's job, and the reference figures.

    title: for people
    components: every number with its source
    mean_by_component_ms: predicted means
    predicted_mean_ms, predicted_p95_ms: of submit to samples
    sanity: the reference figures of added latency, in words; None without any
    sanity_mean_ms, sanity_p95_ms: the same as ranges
    not_modelled: components without a published figure, which make the latency a lower bound
    """

    title: str
    components: tuple[Component, ...]
    mean_by_component_ms: dict[str, float]
    predicted_mean_ms: float
    predicted_p95_ms: float
    sanity: str | None
    sanity_mean_ms: tuple[float, float] | None = None
    sanity_p95_ms: tuple[float, float] | None = None
    not_modelled: tuple[str, ...]


class State(StrEnum):
    """The state of a point of the integration checklist."""

    MET = "met"
    NOT_MET = "not met"
    NOT_MEASURED = "not measured in this run"


class CurvePoint(Frozen):
    """A point of the integration checklist.

    key, title: which point
    state: whether it is met
    said: why
    fix: what would meet it; "" if met
    figures: the metrics behind it
    """

    key: str
    title: str
    state: State
    said: str
    fix: str = ""
    figures: tuple[str, ...] = ()


class Sentence(Frozen):
    """One sentence of the verdict and the figures it cites.

    figures: metrics, or `<arm>.loss` and other fields of the arm's table.
    """

    text: str
    figures: tuple[str, ...]


class Verdict(Frozen):
    """The run's findings.

    headline: in one sentence
    sentences: one per claim
    worth: whether quantum paid; "" in older summaries
    way: the specification's option that the run supports; "" in older summaries
    modes: how a call of each hybrid arm meets training; empty in older summaries
    """

    headline: str
    sentences: tuple[Sentence, ...]
    worth: Literal["worth it", "not worth it", "undecided", ""] = ""
    way: Literal["remote", "private", "staged", "not settled", ""] = ""
    modes: dict[str, Literal["inline", "overlap", "offline", "not settled"]] = Field(default_factory=dict)


class Summary(Frozen):
    """The content of summary.json. Metric names are `<arm>.<figure>[.software|.emulated_wait]`.

    schema_number: 1 or 2
    shotclock, run_id: the version, and a unique name
    status, failure: how the run ended
    clock: of the run
    emulated: whether any arm's QPU is emulated
    quick: whether it ran with --quick
    workload, kernel, n, shots: what was run
    started_at: ISO 8601
    duration_s, wall_s: by the run's clock (emulated time if that is virtual), and by the wall clock
    common_steps: steps that all arms completed
    environment: the machine
    arms, metrics: by name
    mission_gates, thresholds, profiles: gates with results, latency profiles by name
    verdict, sanity, checklist: conclusions
    representative_iteration: a classical iteration of a medium model on this machine
    request_budget_ms: how long a request of an inference workload may wait; None where the workload trains
    serving: of an inference workload, by arm
    break_even, amdahl, throughput, ladder, paired_seeds, loss_against_money: findings about worth
    accelerators: counters around calls; None in older summaries
    replication: of an engine's replicates over hosts; None of a run in one process
    """

    schema_number: Literal[1, 2] = Field(default=2, alias="schema")
    shotclock: str
    run_id: str
    status: Literal["complete", "interrupted", "failed"]
    failure: str = ""
    clock: Literal["wall", "virtual"]
    emulated: bool
    quick: bool
    workload: str
    kernel: str
    n: int
    shots: int | Literal["fit"]
    started_at: str
    duration_s: float
    wall_s: float | None = None
    common_steps: int
    environment: dict[str, str]
    arms: dict[str, ArmSummary]
    metrics: dict[str, Metric]
    mission_gates: tuple[GateResult, ...]
    thresholds: tuple[GateResult, ...]
    profiles: dict[str, ProfileSummary]
    verdict: Verdict
    sanity: tuple[SanityArm, ...] = ()
    checklist: tuple[CurvePoint, ...] = ()
    representative_iteration: RepresentativeIteration | None = None
    request_budget_ms: float | None = None
    serving: dict[str, Serving] = Field(default_factory=dict)
    break_even: BreakEven | None = None
    amdahl: dict[str, Ceiling] = Field(default_factory=dict)
    throughput: dict[str, Throughput] = Field(default_factory=dict)
    ladder: dict[str, LadderShares] = Field(default_factory=dict)
    paired_seeds: tuple[PairedSeeds, ...] = ()
    loss_against_money: tuple[LossCurve, ...] = ()
    accelerators: Accelerators | None = None
    replication: Replication | None = None

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, ser_json_inf_nan="strings")

    @property
    def subject(self) -> str:
        """What the calls ask: the kernel and its size, or the workload's circuits."""
        return CIRCUITS if self.kernel == CIRCUITS else f"{self.kernel}, n = {self.n}"
