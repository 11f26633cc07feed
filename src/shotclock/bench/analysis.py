"""What `bench/judge` concludes from the metrics, as `summary.json` holds it since schema 2."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from shotclock.bench.frozen import Frozen


class RepresentativeIteration(Frozen):
    """A classical iteration of a medium model on this machine, measured before the arms ran.

    mean_ms: over n iterations; too few of them for a percentile.
    """

    workload: str
    n: int
    mean_ms: float


class SecondPrices(Frozen):
    """The price of an accelerator second and of a QPU second."""

    currency: str
    gpu_second: float
    qpu_second: float


class CallCost(Frozen):
    """The cost of an arm's answered call: means over its answered calls, including the time of its misses.

    arm: its name.
    calls: answered ones.
    blocked_s: R, how long a call holds the training.
    round_trip_s: scheduled instant to samples; at most R if training waits.
    usage_s: billed QPU time outside R.
    by_wall: whether R is billed too (a session).
    gain: loss gained on classical-only per call; None unless its whole 95 % interval is above 0.
    gain_note: the gain in words, or the reason for None.
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
        """QPU seconds billed for one call with this round trip."""
        return self.usage_s + (round_trip_s if self.by_wall else 0.0)

    def cost(self, at: SecondPrices) -> float:
        """The cost of one call."""
        return at.gpu_second * self.blocked_s + at.qpu_second * self.billed_s(self.blocked_s)

    def classical_s(self, at: SecondPrices) -> float:
        """T': the time of a classical solver with the same cost."""
        return self.cost(at) / at.gpu_second

    def price(self, classical_s: float, round_trip_s: float, at: SecondPrices) -> float:
        """p(R) against a classical answer of `classical_s`; not positive if no price breaks even."""
        return at.gpu_second * (classical_s - round_trip_s) / self.billed_s(round_trip_s)

    def round_trip(self, classical_s: float, price: float, at: SecondPrices) -> float:
        """The R at which p(R) is this price; not positive if none breaks even."""
        worth_left = at.gpu_second * classical_s - price * self.usage_s
        return worth_left / (at.gpu_second + (price if self.by_wall else 0.0))


class BreakEvenPoint(Frozen):
    """The price and the round trip at which an arm's call breaks even with classical-control's.

    classical_s: the time of a classical solver that costs as much as the call.
    price: of a QPU second at today's round trip; None: even a free QPU is too slow.
    round_trip_s: at today's price; None: even an instant QPU is too expensive.
    per_loss: whether for the same cost per unit of loss instead of for the same answer.
    """

    classical_s: float
    price: float | None
    round_trip_s: float | None
    per_loss: bool


class BreakEven(Frozen):
    """The quantum arms to compare, and the classical answer they compete with.

    prices: of an accelerator second and a QPU second
    quantum: costs of the quantum arms' calls
    classical: costs of the control arm's calls; None without calls
    points: by arm; empty without a control arm
    """

    prices: SecondPrices
    quantum: tuple[CallCost, ...]
    classical: CallCost | None
    points: dict[str, BreakEvenPoint] = Field(default_factory=dict)

    def gain_factor(self, arm: CallCost) -> float | None:
        """κ, the arm's gain per call over the control's; None unless both are known to be above 0."""
        if self.classical is None or arm.gain is None or self.classical.gain is None:
            return None
        return arm.gain / self.classical.gain


class Ceiling(Frozen):
    """An arm's training time and the part blocked by calls (Amdahl's law).

    total_s: training time, seconds
    blocked_s: blocked by calls, seconds
    share: blocked_s ÷ total_s
    at_most: the training's speed-up if calls took no time; None if all the time is blocked
    hint: what to do where waiting is most of it: "overlap" training and calls, or "yield", give the
        allocation back meanwhile; "" otherwise; None in older summaries
    """

    total_s: float
    blocked_s: float
    share: float
    at_most: float | None
    hint: Literal["", "overlap", "yield"] | None = None


class Throughput(Frozen):
    """Training samples and iterations per second of an arm's time; None without a step."""

    samples_per_s: float | None
    iterations_per_s: float | None


class Share(Frozen):
    """A share of n calls with its two-sided 99 % Clopper–Pearson interval.

    ratio: 0 to 1.
    low: lower bound.
    high: upper bound.
    n: calls.
    """

    ratio: float
    low: float
    high: float
    n: int


class LadderShares(Frozen):
    """How often an arm's best sample of a call matched the optimum and beat each control.

    Each is None if no call was compared with that control. The arm has the ladder with times and money.

    matches_optimum: of the calls whose optimum is affordable.
    beats_greedy: the incumbent.
    beats_perturbed_greedy: at equal shots.
    beats_random: at equal shots.
    beats_annealing: see the arm for its time.
    beats_tabu: see the arm for its time.
    """

    matches_optimum: Share | None
    beats_greedy: Share | None
    beats_perturbed_greedy: Share | None
    beats_random: Share | None
    beats_annealing: Share | None
    beats_tabu: Share | None


class Estimate(Frozen):
    """A share of calls with its two-sided 99 % interval; each None where it is unknown.

    n: the calls it rests on
    value: the share
    lower_bound, upper_bound: of the interval
    """

    n: int
    value: float | None
    lower_bound: float | None
    upper_bound: float | None


class PreEvaluated(Frozen):
    """An arm's calls that a local pre-evaluation decided on.

    submitted: expected to beat the incumbent (the better of greedy and changing nothing)
    vetoed: expected not to, and not submitted
    calibrated: expected not to, and submitted to measure the pre-evaluation
    precision: of the submitted calls with samples, those that beat the incumbent
    missed: of the calibration calls with samples, those that did
    recall: of all decided calls that would beat it, those submitted: an estimate from both
    saved_qpu_s: vetoed calls at the mean QPU seconds of those that ran; None if none did
    """

    submitted: int
    vetoed: int
    calibrated: int
    precision: Estimate
    missed: Estimate
    recall: Estimate
    saved_qpu_s: float | None

    @property
    def calls(self) -> int:
        """Calls that were pre-evaluated."""
        return self.submitted + self.vetoed + self.calibrated


class Serving(Frozen):
    """How an arm serves the requests of an inference workload, one at a time.

    requests: served
    requests_per_s: of the arm's time; None without any
    p99_ms: None with fewer than 662 requests
    p99_upper_bound_ms: at confidence 0.99; None likewise
    in_time: requests served within the workload's budget
    """

    requests: int
    requests_per_s: float | None
    p99_ms: float | None
    p99_upper_bound_ms: float | None
    in_time: Estimate


class PairedSeeds(Frozen):
    """An arm's held-out loss minus classical-only's at the last common step; below 0 the arm is better.

    arm: its name
    differences: by seed
    mean: of the differences
    interval: 95 % interval of the mean; None with one seed
    unpaired: seeds without a loss for one of both arms
    """

    arm: str
    differences: dict[int, float]
    mean: float
    interval: tuple[float, float] | None
    unpaired: int


class LossPoint(Frozen):
    """A curve's point after one step.

    step: its number
    spent: seconds or money until then, mean over seeds
    mean, low, high: of the seeds' losses
    """

    step: int
    spent: float
    mean: float
    low: float
    high: float


class LossCurve(Frozen):
    """An arm's evaluations in order, over `seeds` seeds."""

    arm: str
    seeds: int
    points: tuple[LossPoint, ...]


class KnownFigures(Frozen):
    """A figure that is not known has no key: unknown is absent, never null or 0."""

    @model_serializer(mode="wrap")
    def _leave_out_unknown(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in dump(self).items() if value is not None}


class AcceleratorSummary(KnownFigures):
    """An accelerator that the run could use.

    id: its UUID, with the partition where the device has several
    name: the product
    hbm_total_bytes: what it can allocate
    """

    id: str
    name: str | None = None
    hbm_total_bytes: int | None = None


class AroundCalls(KnownFigures):
    """What accelerators and fabrics did around an arm's calls.

    calls: with any reading
    hbm_used_before_bytes, hbm_used_after_bytes: HBM in use as calls began and as their answers came, means
    hbm_used_peak_bytes: the most during any call
    hbm_bandwidth_ratio: share of HBM's bandwidth in use during calls, mean
    hbm_bandwidth_method: how that was found
    ecc_errors, pcie_replays, rdma_bytes, rdma_errors, cxl_errors: counted during all calls
    gpu_idle_s: accelerator seconds that training waited for answers, all calls
    gpu_idle_per_call_s: the same per call
    """

    calls: int
    hbm_used_before_bytes: float | None = None
    hbm_used_after_bytes: float | None = None
    hbm_used_peak_bytes: int | None = None
    hbm_bandwidth_ratio: float | None = None
    hbm_bandwidth_method: str | None = None
    ecc_errors: int | None = None
    pcie_replays: int | None = None
    rdma_bytes: int | None = None
    rdma_errors: int | None = None
    cxl_errors: int | None = None
    gpu_idle_s: float | None = None
    gpu_idle_per_call_s: float | None = None


class FitSummary(Frozen):
    """Where a call must wait for an earlier one to end, because memory is full.

    calls: that fit at once
    candidates: candidate vectors of these calls
    memory: which ends first: HBM, pinned memory or host memory
    allowed_bytes: of it, for all calls
    call_bytes: of it, for one call
    """

    calls: int
    candidates: int
    memory: str
    allowed_bytes: int
    call_bytes: int


class Accelerators(KnownFigures):
    """The accelerators of a run, and what was read around its calls.

    because: how many the process could use, or why none
    devices: these
    arms: by name, those with calls
    warnings: of the host's health as the run began
    blocking_point: the calls that fit into memory; None where no memory is known
    """

    because: str
    devices: tuple[AcceleratorSummary, ...] = ()
    arms: dict[str, AroundCalls] = Field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    blocking_point: FitSummary | None = None


class SanityResult(StrEnum):
    """A figure compared with the reference. EXPLAINED: outside the range because of its components."""

    MET = "met"
    EXPLAINED = "explained"
    NOT_MET = "not met"
    TOO_FEW = "too few samples"
    NO_FIGURE = "no figure"


class SanityFigure(Frozen):
    """One statistic, milliseconds.

    statistic: mean, p95 or p99
    expected_ms: the reference range, with equal ends for a single number; None without one
    measured_ms: this run's
    result: the comparison
    """

    statistic: Literal["mean", "p95", "p99"]
    expected_ms: tuple[float, float] | None
    measured_ms: float | None
    result: SanityResult


class SanityArm(Frozen):
    """An arm compared with the reference figures, and the components of its latency.

    arm: its name
    figure: the compared metric
    figures: by statistic
    components_ms: means per call, largest first, which add up to the mean
    rests_on: the profile's numbers behind the largest component
    tags: how many of the numbers behind the latency are published, measured and assumed
    said: the comparison in words
    """

    arm: str
    figure: str
    figures: tuple[SanityFigure, ...]
    components_ms: dict[str, float]
    rests_on: tuple[str, ...]
    tags: dict[str, int]
    said: str
