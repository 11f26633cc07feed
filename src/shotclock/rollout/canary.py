"""Whether a canary is promoted or rolled back: tests that may be read after every call. Pure, no I/O.

A confidence sequence holds at all sample sizes at once, so reading it often and stopping at will does not
raise its error (Howard, Ramdas, McAuliffe, Sekhon, "Time-uniform, nonparametric, nonasymptotic confidence
sequences", Annals of Statistics 49, 2021, arXiv 1810.08240; for canaries Lindon, Sanden, Shirikian, arXiv
2205.14762). The calls of an arm count as independent, with one rate while the canary runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from scipy.special import betaln

from shotclock.domain.errors import SettingsError

Floats = npt.NDArray[np.float64]
BISECTIONS = 40
MOST_PROJECTED = 2**40
"""As many times the present sample is projected; what is open then does not depend on more calls."""

MEASURES = ("deadline_misses", "slow_calls", "validation")


MINIMUM_VALUES = 30
"""Values of a validation metric in each arm before it is judged; its sequence is narrowest there."""


class Verdict(StrEnum):
    """What becomes of a canary."""

    PROMOTE = "promote"
    ROLL_BACK = "roll_back"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class Proportion:
    """`hits` of `n` calls."""

    hits: int
    n: int

    def __post_init__(self) -> None:
        if not 0 <= self.hits <= self.n:
            raise SettingsError(f"canary: hits must be between 0 and n (got {self.hits} of {self.n})")


@dataclass(frozen=True, slots=True)
class Sample:
    """A number of values of a validation metric, lower is better, with their mean and variance."""

    n: int
    mean: float = 0.0
    variance: float = 0.0


@dataclass(frozen=True, slots=True)
class ArmSample:
    """What one arm of a canary has shown so far.

    missed: calls that missed their deadline.
    slow: calls slower than a limit set at the start, the control's p95 then: with a higher p95 they are more.
    validation: the model's validation metric, a value a run or evaluation; judged from MINIMUM_VALUES
        values on.
    """

    missed: Proportion
    slow: Proportion
    validation: Sample = field(default=Sample(0))


@dataclass(frozen=True, slots=True)
class CanaryPlan:
    """What was agreed before the canary began.

    alpha: the most probability of rolling back a canary that is no worse, and of promoting one that is worse
        than a margin by any measure; each over the canary's whole life.
    minimum: calls of each arm before anything is decided.
    miss_margin: a canary that misses at most this share more deadlines may be promoted.
    slow_margin: the same of slow calls; 0.05 means that the canary's p90 is at most the control's p95.
    validation_margin: the same of the validation metric, in its unit.
    """

    alpha: float = 0.01
    minimum: int = 500
    miss_margin: float = 0.01
    slow_margin: float = 0.05
    validation_margin: float = 0.01

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1:
            raise SettingsError(f"canary: alpha must be between 0 and 1 (got {self.alpha:g})")
        if self.minimum < 2:
            raise SettingsError(f"canary: minimum must be at least 2 (got {self.minimum})")
        for name in ("miss_margin", "slow_margin", "validation_margin"):
            if not getattr(self, name) > 0:
                raise SettingsError(f"canary: {name} must be above 0 (got {getattr(self, name):g})")


@dataclass(frozen=True, slots=True)
class Comparison:
    """One measure: canary minus control, above 0 is worse.

    measure: one of MEASURES.
    low, high: a confidence sequence of the difference.
    margin: the largest difference with which the canary is promoted.
    """

    measure: str
    low: float
    high: float
    margin: float


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict with its reasons.

    verdict: what becomes of the canary.
    comparisons: each measure.
    needed: calls that the canary still needs if the rates stay as they are; 0 with a verdict, and where no
        number of them would decide (`is_open` says which).
    is_open: more calls are expected to decide.
    """

    verdict: Verdict
    comparisons: tuple[Comparison, ...]
    needed: int = 0
    is_open: bool = False


def find_bounds(hits: Floats, n: Floats, alpha: float) -> tuple[Floats, Floats]:
    """The confidence sequence of each proportion, wrong at any time with a probability of at most alpha.

    {p : B(1+s, 1+n−s) / (pˢ(1−p)ⁿ⁻ˢ) < 1/α}, the uniform mixture of Bernoulli likelihood ratios, a martingale
    that Ville's inequality bounds (Robbins, Annals of Mathematical Statistics 41, 1970). Exact at every n.
    """
    hits, n = np.asarray(hits, dtype=np.float64), np.asarray(n, dtype=np.float64)
    misses = n - hits
    needed = betaln(1 + hits, 1 + misses) + math.log(alpha)
    peak = hits / np.maximum(n, 1)

    def is_outside(p: Floats) -> npt.NDArray[np.bool_]:
        with np.errstate(divide="ignore", invalid="ignore"):
            likelihood = np.where(hits > 0, hits * np.log(p), 0) + np.where(
                misses > 0, misses * np.log1p(-p), 0
            )
        outside: npt.NDArray[np.bool_] = likelihood <= needed
        return outside

    bounds = []
    for end in (0.0, 1.0):
        outer, inner = np.full_like(peak, end), peak.copy()
        at_end = ~is_outside(outer)
        for _ in range(BISECTIONS):
            middle = (outer + inner) / 2
            outside = is_outside(middle)
            outer, inner = np.where(outside, middle, outer), np.where(outside, inner, middle)
        bounds.append(np.where(at_end, end, outer))
    return bounds[0], bounds[1]


def find_difference(canary: Sample, control: Sample, alpha: float, minimum: int) -> tuple[float, float]:
    """An asymptotic confidence sequence of the difference of two means, each at alpha/2.

    Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas, "Time-uniform central limit theory and asymptotic confidence
    sequences", Annals of Statistics 52, 2024, arXiv 2103.06476, theorem 2.2, narrowest near `minimum` values.
    """
    width = sum(_asymptotic_width(sample, alpha / 2, minimum) for sample in (canary, control))
    difference = canary.mean - control.mean
    return difference - width, difference + width


def _asymptotic_width(sample: Sample, alpha: float, minimum: int) -> float:
    if sample.n < MINIMUM_VALUES:  # the variance of a few values may be 0
        return math.inf
    rho2 = (-2 * math.log(alpha) + math.log(-2 * math.log(alpha) + 1)) / minimum
    scaled = sample.n * rho2 + 1
    width = math.sqrt(2 * scaled / (sample.n**2 * rho2) * math.log(math.sqrt(scaled) / alpha))
    return math.sqrt(sample.variance) * width


def judge(canary: ArmSample, control: ArmSample, plan: CanaryPlan) -> Judgement:
    """The verdict on what both arms have shown; call it as often as you like.

    Rolled back if a measure's sequence is above 0; promoted if every measure's is at most its margin.
    """
    comparisons = tuple(_compare(canary, control, plan))
    verdict = _decide(canary, control, plan, comparisons)
    if verdict is not Verdict.INCONCLUSIVE:
        return Judgement(verdict, comparisons)
    needed = _project(canary, control, plan)
    return Judgement(verdict, comparisons, needed, needed > 0)


def _decide(
    canary: ArmSample, control: ArmSample, plan: CanaryPlan, comparisons: tuple[Comparison, ...]
) -> Verdict:
    if min(canary.missed.n, control.missed.n) < plan.minimum:
        return Verdict.INCONCLUSIVE
    if any(comparison.low > 0 for comparison in comparisons):
        return Verdict.ROLL_BACK
    if all(comparison.high <= comparison.margin for comparison in comparisons):
        return Verdict.PROMOTE
    return Verdict.INCONCLUSIVE


def _compare(canary: ArmSample, control: ArmSample, plan: CanaryPlan) -> Iterator[Comparison]:
    alpha = plan.alpha / len(MEASURES)
    pairs = ((canary.missed, control.missed), (canary.slow, control.slow))
    for measure, pair, margin in zip(MEASURES, pairs, (plan.miss_margin, plan.slow_margin), strict=False):
        hits = np.array([side.hits for side in pair], dtype=np.float64)
        n = np.array([side.n for side in pair], dtype=np.float64)
        low, high = find_bounds(hits, n, alpha / 2)
        yield Comparison(measure, float(low[0] - high[1]), float(high[0] - low[1]), margin)
    if canary.validation.n or control.validation.n:
        bounds = find_difference(canary.validation, control.validation, alpha, MINIMUM_VALUES)
        yield Comparison(MEASURES[-1], *bounds, plan.validation_margin)


def _project(canary: ArmSample, control: ArmSample, plan: CanaryPlan) -> int:
    """Calls of the canary until a verdict if both arms go on as they are; 0 if none is in sight."""
    smallest = min(canary.missed.n, control.missed.n)
    if not smallest:
        return plan.minimum
    doublings: Floats = np.exp2(np.arange(max(2.0, math.ceil(math.log2(MOST_PROJECTED / smallest)))))
    decided = _are_decided(canary, control, plan, doublings)
    if not decided.any():
        return 0
    first = int(decided.argmax())
    low, high = float(doublings[max(0, first - 1)]), float(doublings[first])
    for _ in range(2):  # each makes the interval 31 times smaller
        factors = np.linspace(low, high, 32)
        first = int(_are_decided(canary, control, plan, factors).argmax())
        low, high = float(factors[max(0, first - 1)]), float(factors[first])
    return max(1, math.ceil((high - 1) * canary.missed.n))


def _are_decided(
    canary: ArmSample, control: ArmSample, plan: CanaryPlan, factors: Floats
) -> npt.NDArray[np.bool_]:
    """Whether there is a verdict on so many times the present calls, for each factor at once."""
    alpha = plan.alpha / len(MEASURES)
    enough = factors * min(canary.missed.n, control.missed.n) >= plan.minimum
    worse, fine = np.zeros_like(enough), np.ones_like(enough)
    pairs = ((canary.missed, control.missed), (canary.slow, control.slow))
    for pair, margin in zip(pairs, (plan.miss_margin, plan.slow_margin), strict=True):
        hits = np.array([np.round(side.hits * factors) for side in pair])
        low, high = find_bounds(hits, np.array([np.ceil(side.n * factors) for side in pair]), alpha / 2)
        worse |= low[0] > high[1]
        fine &= high[0] - low[1] <= margin
    if canary.validation.n or control.validation.n:
        for place, factor in enumerate(factors):
            arms = (_lengthen(canary.validation, factor), _lengthen(control.validation, factor))
            lower, upper = find_difference(*arms, alpha, MINIMUM_VALUES)
            worse[place] |= lower > 0
            fine[place] &= upper <= plan.validation_margin
    return enough & (worse | fine)


def _lengthen(validation: Sample, factor: float) -> Sample:
    return Sample(round(validation.n * factor), validation.mean, validation.variance)
