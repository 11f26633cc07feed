"""Decides PASS, FAIL or INCONCLUSIVE from paired values.

A pair is a run of A and a run of B made next to each other, so that the machine's drift affects both. Its
effect is ln(b/a) for unbounded figures and b − a for shares, signed so that more is worse. The t-interval
of the mean effect is compared with a limit: FAIL if its lower end is over the limit, PASS if its upper end
is within it, otherwise INCONCLUSIVE with the number of pairs that would decide it.

Pairs may be added and the decision repeated at the numbers of pairs in `LOOK_AT`: each look spends its part
of the 1 %.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from shotclock.bench.numbers import percent_change
from shotclock.bench.schema import Result
from shotclock.bench.stats.bootstrap import BootstrapEstimate, estimate_paired, pairs_needed
from shotclock.domain.plural import count

FEWEST_PAIRS = 10
LOOK_AT = (FEWEST_PAIRS, 20, 40, 80, 160)
ALPHA = 0.01
"""One-sided error probability over all looks at one metric."""
MOST_PAIRS = 1_000
_LARGEST_EXPONENT = 700.0
"""Above it e^x overflows; such a wide interval is not printed anyway."""

Scale = Literal["ratio", "difference"]


@dataclass(frozen=True, slots=True)
class DecisionRule:
    """How one metric is judged.

    metric: its name
    direction: whether lower or higher values are better
    scale: whether changes are relative or differences
    limit: the allowed change for the worse: 0.05 means 5 % of a ratio, or a difference of 0.05 in a share
    """

    metric: str
    direction: Literal["lower", "higher"]
    scale: Scale
    limit: float

    def effect(self, a: float, b: float) -> float:
        """The effect of one pair, above 0 if B is worse. On the ratio scale values must be above 0."""
        worse = math.log(b / a) if self.scale == "ratio" else b - a
        return worse if self.direction == "lower" else -worse

    @property
    def limit_effect(self) -> float:
        """The limit on the effect's scale."""
        return math.log1p(self.limit) if self.scale == "ratio" else self.limit

    def express_effect(self, effect: float) -> float:
        """An effect as a relative change or a difference, above 0 where B is worse."""
        return math.expm1(min(effect, _LARGEST_EXPONENT)) if self.scale == "ratio" else effect


@dataclass(frozen=True, slots=True)
class Levels:
    """A metric's mean level in A and in B, on the rule's scale: ms or a share; None if unknown."""

    a: float | None = None
    b: float | None = None

    def change(self, scale: Scale) -> float | None:
        """B relative to A, as a relative change or a difference, above 0 if B is larger; None if unknown."""
        if self.a is None or self.b is None or (scale == "ratio" and self.a <= 0):
            return None
        return self.b / self.a - 1 if scale == "ratio" else self.b - self.a


@dataclass(frozen=True, slots=True)
class MetricDecision:
    """The result for one metric.

    rule: how it is judged
    result: PASS, FAIL or INCONCLUSIVE
    change: B relative to A as `Rule.express_effect`, with its interval; None without pairs
    pairs: number of pairs
    needed: pairs after which the interval should be narrow enough; 0 if decided, or if more pairs do not help
    why: the result in words
    levels: mean levels in A and B
    has_few_calls: whether runs have too few calls for the figure
    """

    rule: DecisionRule
    result: Result
    change: BootstrapEstimate | None
    pairs: int
    needed: int
    why: str
    levels: Levels = Levels()
    has_few_calls: bool = False

    @property
    def interval(self) -> tuple[float, float] | None:
        """The change's interval; None with too few pairs, or if wider than ±100 %."""
        if self.change is None or self.pairs < FEWEST_PAIRS:
            return None
        low, high = self.change.low, self.change.high
        return (low, high) if max(abs(low), abs(high)) <= 1 else None


def decide(rule: DecisionRule, a: Sequence[float], b: Sequence[float]) -> MetricDecision:
    """Decides from the paired values, in order, of equal length."""
    effects = [rule.effect(*pair) for pair in zip(a, b, strict=True)]
    levels = Levels(_mean(rule, a), _mean(rule, b))
    confidence = 1 - 2 * ALPHA / len(LOOK_AT)  # two-sided, so that each end keeps its one-sided part
    effect = estimate_paired(effects, confidence)
    change = None
    if effect is not None:
        value, low, high = (rule.express_effect(each) for each in (effect.value, effect.low, effect.high))
        change = BootstrapEstimate(value, low, high, confidence, effect.runs)
    if effect is None or len(effects) < FEWEST_PAIRS:
        why = f"{count(len(effects), 'pair')}; at least {FEWEST_PAIRS} are needed"
        return MetricDecision(rule, Result.INCONCLUSIVE, change, len(effects), FEWEST_PAIRS, why, levels)
    result = _judge_effect(effect, rule.limit_effect)
    needed = 0
    if result is Result.INCONCLUSIVE:
        distance = abs(effect.value - rule.limit_effect)
        needed = max(len(effects) + 1, pairs_needed(effects, distance, confidence, MOST_PAIRS))
    decision = MetricDecision(rule, result, change, len(effects), needed, "", levels)
    return replace(decision, why=_explain(decision))


def _mean(rule: DecisionRule, values: Sequence[float]) -> float | None:
    """The geometric mean of ratios, the arithmetic mean of differences."""
    if not values:
        return None
    if rule.scale == "ratio":
        return math.exp(math.fsum(map(math.log, values)) / len(values))
    return math.fsum(values) / len(values)


def _judge_effect(effect: BootstrapEstimate, limit: float) -> Result:
    if effect.low > limit:
        return Result.FAIL
    return Result.PASS if effect.high <= limit else Result.INCONCLUSIVE


def _explain(decision: MetricDecision) -> str:
    rule, over = decision.rule, f"over {count(decision.pairs, 'pair')}"
    limit = format_change(rule.scale, rule.limit)
    interval = f"interval wider than ±100 % {over}"
    if decision.interval is not None:
        low, high = (format_change(rule.scale, end) for end in decision.interval)
        interval = f"{low} to {high} worse {over}"
    elif decision.change is not None and decision.change.low > 1:
        interval = f"more than 100 % worse {over}"
    match decision.result:
        case Result.PASS:
            return f"{interval}, within {limit}"
        case Result.FAIL:
            return f"{interval}, all of it over {limit}"
        case Result.INCONCLUSIVE:
            return f"{interval}, against {limit}: {describe_pairs(decision.needed)} would decide it"


def describe_pairs(needed: int) -> str:
    """How many pairs are expected to decide a metric, in words."""
    return f"about {count(needed, 'pair')}" if needed < MOST_PAIRS else f"over {MOST_PAIRS:,} pairs"


def format_change(scale: Scale, change: float) -> str:
    """A relative change in percent, a difference of shares in points."""
    return percent_change(change, 2) if scale == "ratio" else f"{100 * change:+.2f} points"
