"""`summary.json`, schema 2: what others script against.

Schema 2 adds `break_even`, `amdahl`, `throughput`, `paired_seeds` and `loss_against_money`; a summary of
schema 1 is read as one without them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA = 2
TOO_FEW = "too_few_samples"


class _Frozen(BaseModel):
    """A loss that diverged is written "NaN" or "Infinity", which JSON has no numbers for."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class Result(StrEnum):
    """How a threshold came out."""

    PASS = "PASS"
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"


class Percentile(_Frozen):
    """An empirical quantile and the early-stopping upper bound (confidence 0.99) that gates use.

    None is a quantile among the right-censored calls: above `censored_above` of its metric.
    """

    value: float | None
    upper_bound: float | None


class Latency(_Frozen):
    """A latency in milliseconds. Censored and missed calls stay in n and rank above every measured one.

    mean: over the measured values only; None where there are none.
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


class Ratio(_Frozen):
    """A share of calls with its two-sided 99 % Clopper–Pearson interval; None where there are no calls."""

    type: Literal["ratio"] = "ratio"
    unit: Literal["ratio"] = "ratio"
    direction: Literal["higher"] = "higher"
    n: int
    value: float | None
    lower_bound: float | None
    upper_bound: float | None
    ok: bool | None = None


Metric = Annotated[Latency | Ratio, Field(discriminator="type")]


class Loss(_Frozen):
    """Held-out loss of one arm at the last step common to all arms, a value a seed.

    improvement: classical-only's loss minus this arm's, paired by seed, mean; interval: 95 % t-interval
    over seeds, None with one seed.
    """

    per_seed: dict[int, float]
    mean: float | None
    improvement: float | None
    interval: tuple[float, float] | None


class UnitPrices(_Frozen):
    """What an accelerator's hour and a QPU's second cost, in the currency of the cost they stand in."""

    gpu_hour: float
    qpu_second: float


class Cost(_Frozen):
    """What an arm consumed over the common steps, and per unit of loss it gained on classical-only.

    The per-improvement figures are None where the improvement is not positive. qpu_idle_s, idle_money: of
    qpu_s and money, what sessions were billed while no job had the QPU; None where not billed by session.
    abandoned_jobs: submitted and given up or failed, over the whole run; abandoned_qpu_s: of qpu_s, what they
    had consumed; abandoned_untold, sessions_untold: jobs and sessions of which the provider tells no usage,
    so that qpu_s and money are too low by it. compute_h: of one accelerator, as a run trains in one process;
    where the workload holds several, gpu_hour is the price of all. money: compute_h and qpu_s at `prices`,
    None in summaries from before they were told.
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


class ModeChange(_Frozen):
    """At which step of a seed calls began to meet training otherwise, after the p95 of so many calls.

    p95_ms: None where that call brought nothing by its deadline.
    """

    seed: int
    step: int
    mode: Literal["inline", "overlap"]
    calls: int
    p95_ms: float | None


class Meeting(_Frozen):
    """How many calls training waited for, how many it went on beside, and each change by measurement."""

    inline: int
    overlapped: int
    changes: tuple[ModeChange, ...] = ()


class ArmSummary(_Frozen):
    """One arm: what it ran as, and what it counted.

    mode: as asked for; "auto" follows what is measured, and meeting tells what came of it (None in summaries
    from before it was told). deadline_ms: of a call that is waited for, under "auto" the iteration's budget.
    device, calibration: of the QPU and of its figures in force; "" is not told.
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
    call_every: int | None
    samples_per_s: float | None
    outcomes: dict[str, int]
    decisions: dict[str, int]
    winners: dict[str, int]
    emulator_overruns: int
    penalised_calls: int = 0
    meeting: Meeting | None = None
    loss: Loss
    cost: Cost


class Gate(_Frozen):
    """A threshold and how it came out; `why` is the count behind the binomial bound.

    needed: of an INCONCLUSIVE one, the calls that are expected to settle it at the present share; 0 where
    the share lies so near the limit that no run of a reasonable length does; None where it is settled.
    """

    metric: str
    limit: float
    direction: Literal["max", "min"]
    result: Result
    why: str
    needed: int | None = None


class Component(_Frozen):
    """One number of a profile, with where it comes from."""

    name: str
    value: float
    unit: str
    tag: Literal["published", "measured", "assumed"]
    source: str


class ProfileSummary(_Frozen):
    """A profile's components, their predicted sum for this run's job, and the figures it is held against.

    sanity: the founding document's figures of added latency, in words and as ranges; None where it has none.
    not_modelled: what has no published figure and is therefore left out: the latency is a lower bound.
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


class SanityResult(StrEnum):
    """A figure against the founding document's. EXPLAINED: outside it, and its components say why."""

    MET = "met"
    EXPLAINED = "explained"
    NOT_MET = "not met"
    TOO_FEW = "too few samples"
    NO_FIGURE = "no figure"


class SanityFigure(_Frozen):
    """One statistic, milliseconds: the founding document's range, its ends alike for one number; ours."""

    statistic: Literal["mean", "p95", "p99"]
    expected_ms: tuple[float, float] | None
    measured_ms: float | None
    result: SanityResult


class SanityArm(_Frozen):
    """An arm against the founding document's representative numbers, and what its latency is made of.

    figure: the metric compared. components_ms: means a call, the largest first, that add up to the mean:
    what is waited for on the QPU's way, then `software`. rests_on: the profile's numbers behind the largest
    component; tags: how many of all the numbers behind the latency are published, measured, assumed.
    """

    arm: str
    figure: str
    figures: tuple[SanityFigure, ...]
    components_ms: dict[str, float]
    rests_on: tuple[str, ...]
    tags: dict[str, int]
    said: str


class State(StrEnum):
    """Of a point of the integration checklist."""

    MET = "met"
    NOT_MET = "not met"
    NOT_MEASURED = "not measured in this run"


class Point(_Frozen):
    """A point of the integration checklist: its state, why, what would meet it, the figures behind it."""

    key: str
    title: str
    state: State
    said: str
    fix: str = ""
    figures: tuple[str, ...] = ()


class Sentence(_Frozen):
    """One sentence of the verdict and what of this run it rests on.

    figures: metrics, or `<arm>.loss` and other fields of the arm's own table.
    """

    text: str
    figures: tuple[str, ...]


class Verdict(_Frozen):
    """The run's findings: a headline, then a sentence a claim.

    worth: whether quantum paid; way: which of the founding document's options the run speaks for; modes: how
    a call of each hybrid arm meets training. Empty in summaries from before they were told apart.
    """

    headline: str
    sentences: tuple[Sentence, ...]
    worth: Literal["worth it", "not worth it", "undecided", ""] = ""
    way: Literal["remote", "private", "staged", "not settled", ""] = ""
    modes: dict[str, Literal["inline", "overlap", "offline", "not settled"]] = {}


class RepresentativeIteration(_Frozen):
    """A classical iteration of a medium model on this machine, measured before the arms ran.

    mean_ms: over n iterations; too few of them for a percentile.
    """

    workload: str
    n: int
    mean_ms: float


class SecondPrices(_Frozen):
    """What an accelerator's second and a QPU's cost."""

    currency: str
    gpu_second: float
    qpu_second: float


class CallCost(_Frozen):
    """What an answered call of an arm took: means over its answered calls, which bear the time of its misses.

    calls: answered ones.
    blocked_s: R, how long a call holds the training.
    round_trip_s: scheduled instant to samples; R or less where the training waits.
    usage_s: billed QPU time beside R.
    by_wall: R itself is billed too (a session).
    gain: loss gained on classical-only by a call; None unless its whole 95 % interval lies above 0.
    gain_note: the gain in words, or why it is None.
    """

    arm: str
    calls: int
    blocked_s: float
    round_trip_s: float
    usage_s: float
    by_wall: bool
    gain: float | None
    gain_note: str

    def billed_s(self, round_trip_s: float) -> float:
        """QPU seconds billed for one call, were its round trip so long."""
        return self.usage_s + (round_trip_s if self.by_wall else 0.0)

    def cost(self, at: SecondPrices) -> float:
        """Of one call as it is."""
        return at.gpu_second * self.blocked_s + at.qpu_second * self.billed_s(self.blocked_s)

    def classical_s(self, at: SecondPrices) -> float:
        """T': the time of a classical solver that costs the same."""
        return self.cost(at) / at.gpu_second

    def price(self, classical_s: float, round_trip_s: float, at: SecondPrices) -> float:
        """p(R) against a classical answer of so many seconds; not positive where none breaks even."""
        return at.gpu_second * (classical_s - round_trip_s) / self.billed_s(round_trip_s)

    def round_trip(self, classical_s: float, price: float, at: SecondPrices) -> float:
        """R at which p(R) is this price; not positive where none breaks even."""
        left = at.gpu_second * classical_s - price * self.usage_s
        return left / (at.gpu_second + (price if self.by_wall else 0.0))


class BreakEvenPoint(_Frozen):
    """Where an arm's call would break even with classical-control's, the other of the two left as it is.

    classical_s: the time of a classical solver that costs as much as the call.
    price: of a QPU second at this round trip; None: even a free QPU is too slow.
    round_trip_s: at this price; None: even an instant QPU is too expensive.
    per_loss: at the same cost per unit of loss; else for the same answer.
    """

    classical_s: float
    price: float | None
    round_trip_s: float | None
    per_loss: bool


class BreakEven(_Frozen):
    """The quantum arms to compare, and the classical answer they compete with.

    classical: None without calls of a control arm; points: by arm, empty without it.
    """

    prices: SecondPrices
    quantum: tuple[CallCost, ...]
    classical: CallCost | None
    points: dict[str, BreakEvenPoint] = {}

    def gain_factor(self, arm: CallCost) -> float | None:
        """κ, the arm's gain a call over the control's; None unless both are settled above 0."""
        if self.classical is None or arm.gain is None or self.classical.gain is None:
            return None
        return arm.gain / self.classical.gain


class Ceiling(_Frozen):
    """An arm's training time, and the part of it spent blocked by calls, seconds (Amdahl's law).

    share: of the time, blocked by calls. at_most: the speed-up of the training with calls that block for
    nothing; None where it has no bound, as all the time is blocked.
    """

    total_s: float
    blocked_s: float
    share: float
    at_most: float | None


class Throughput(_Frozen):
    """Training samples and iterations a second of an arm's own time; None without a step."""

    samples_per_s: float | None
    iterations_per_s: float | None


class PairedSeeds(_Frozen):
    """An arm's held-out loss minus classical-only's at the last common step, by seed: below 0 it learnt more.

    interval: 95 % of the mean, None with one seed. unpaired: seeds for which one of both has no loss.
    """

    arm: str
    differences: dict[int, float]
    mean: float
    interval: tuple[float, float] | None
    unpaired: int


class LossPoint(_Frozen):
    """After one step: what a run had spent, mean over seeds, and the loss: mean, least and most of them."""

    step: int
    spent: float
    mean: float
    low: float
    high: float


class LossCurve(_Frozen):
    """An arm's evaluations in order, over `seeds` seeds."""

    arm: str
    seeds: int
    points: tuple[LossPoint, ...]


class Summary(_Frozen):
    """The whole of summary.json. Metric names are `<arm>.<figure>[.software|.emulated_wait]`."""

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
    common_steps: int
    environment: dict[str, str]
    arms: dict[str, ArmSummary]
    metrics: dict[str, Metric]
    mission_gates: tuple[Gate, ...]
    thresholds: tuple[Gate, ...]
    profiles: dict[str, ProfileSummary]
    verdict: Verdict
    sanity: tuple[SanityArm, ...] = ()
    checklist: tuple[Point, ...] = ()
    representative_iteration: RepresentativeIteration | None = None
    break_even: BreakEven | None = None
    amdahl: dict[str, Ceiling] = {}
    throughput: dict[str, Throughput] = {}
    paired_seeds: tuple[PairedSeeds, ...] = ()
    loss_against_money: tuple[LossCurve, ...] = ()

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, ser_json_inf_nan="strings")
