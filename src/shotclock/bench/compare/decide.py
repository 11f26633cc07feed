"""PASS, FAIL or INCONCLUSIVE from paired values; what the gate and its ruler share.

A pair is a run of A and a run of B that were made next to each other, so that what drifts on the machine
is in both. Its effect is ln(b/a) for what can grow without end and b − a for shares, turned so that more
is worse. The mean effect's t-interval is held against a limit: FAIL where even its lower end is over the
limit, PASS where its upper end is within it, and INCONCLUSIVE between, with the pairs that would settle it.

Pairs may be added and the question asked again, at the numbers of pairs in `LOOK_AT`: every look spends its
part of the 1 %.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from shotclock.bench.schema import Result
from shotclock.bench.stats.bootstrap import Estimate, estimate_paired, pairs_needed
from shotclock.domain.plural import count

FEWEST_PAIRS = 10
LOOK_AT = (FEWEST_PAIRS, 20, 40, 80, 160)
ALPHA = 0.01
"""One-sided, over all looks at one metric."""
MOST_PAIRS = 1_000
_LARGEST_EXPONENT = 700.0
"""Beyond it e^x is no float; an interval as wide is not printed anyway."""

Scale = Literal["ratio", "difference"]


@dataclass(frozen=True, slots=True)
class Rule:
    """How one metric is held. limit: how much worse is still within it: 0.05 of a ratio is 5 %, of a

    difference 0.05 is five hundredths of a share.
    """

    metric: str
    direction: Literal["lower", "higher"]
    scale: Scale
    limit: float

    def effect(self, a: float, b: float) -> float:
        """Of one pair; above 0 where B is worse. Ratios want values above 0."""
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
    """A metric of A and of B, a number each: ms of a latency, else a share; None where it is not known.

    Of pairs the mean on the rule's scale, so that B against A is the mean change.
    """

    a: float | None = None
    b: float | None = None

    def moved(self, scale: Scale) -> float | None:
        """B against A: a relative change or a difference, above 0 where B is more; None if not known."""
        if self.a is None or self.b is None or (scale == "ratio" and self.a <= 0):
            return None
        return self.b / self.a - 1 if scale == "ratio" else self.b - self.a


@dataclass(frozen=True, slots=True)
class Decision:
    """How a metric came out. change: B against A as `Rule.express_effect`, with its interval;
    None without pairs.

    needed: pairs after which the interval is expected to be narrow enough; 0 where the question is settled,
    or where more pairs do not help because runs have too few calls (has_few_calls).
    """

    rule: Rule
    result: Result
    change: Estimate | None
    pairs: int
    needed: int
    why: str
    levels: Levels = Levels()
    has_few_calls: bool = False

    @property
    def interval(self) -> tuple[float, float] | None:
        """Of the change; None where it has no meaning: of few pairs, or wider than ±100 %."""
        if self.change is None or self.pairs < FEWEST_PAIRS:
            return None
        low, high = self.change.low, self.change.high
        return (low, high) if max(abs(low), abs(high)) <= 1 else None


def decide(rule: Rule, a: Sequence[float], b: Sequence[float]) -> Decision:
    """From the values of the pairs, in their order, shapes equal."""
    effects = [rule.effect(one, other) for one, other in zip(a, b, strict=True)]
    levels = Levels(_mean(rule, a), _mean(rule, b))
    confidence = 1 - 2 * ALPHA / len(LOOK_AT)  # two-sided, so that each end keeps its one-sided part
    found = estimate_paired(effects, confidence)
    change = None
    if found is not None:
        shown = (
            rule.express_effect(found.value),
            rule.express_effect(found.low),
            rule.express_effect(found.high),
        )
        change = Estimate(*shown, confidence, found.runs)
    if found is None or len(effects) < FEWEST_PAIRS:
        why = f"{count(len(effects), 'pair')}; at least {FEWEST_PAIRS} are needed"
        return Decision(rule, Result.INCONCLUSIVE, change, len(effects), FEWEST_PAIRS, why, levels)
    result = _result(found, rule.limit_effect)
    needed = 0
    if result is Result.INCONCLUSIVE:
        distance = abs(found.value - rule.limit_effect)
        needed = max(len(effects) + 1, pairs_needed(effects, distance, confidence, MOST_PAIRS))
    made = Decision(rule, result, change, len(effects), needed, "", levels)
    return replace(made, why=_why(made))


def _mean(rule: Rule, values: Sequence[float]) -> float | None:
    """Geometric of ratios, arithmetic of differences."""
    if not values:
        return None
    if rule.scale == "ratio":
        return math.exp(math.fsum(map(math.log, values)) / len(values))
    return math.fsum(values) / len(values)


def _result(found: Estimate, limit: float) -> Result:
    if found.low > limit:
        return Result.FAIL
    return Result.PASS if found.high <= limit else Result.INCONCLUSIVE


def _why(made: Decision) -> str:
    rule, over = made.rule, f"over {count(made.pairs, 'pair')}"
    limit = signed(rule.scale, rule.limit)
    interval = f"interval wider than ±100 % {over}"
    if made.interval is not None:
        low, high = (signed(rule.scale, end) for end in made.interval)
        interval = f"{low} to {high} worse {over}"
    elif made.change is not None and made.change.low > 1:
        interval = f"more than 100 % worse {over}"
    match made.result:
        case Result.PASS:
            return f"{interval}, within {limit}"
        case Result.FAIL:
            return f"{interval}, all of it over {limit}"
        case Result.INCONCLUSIVE:
            return f"{interval}, against {limit}: {pairs_words(made.needed)} would settle it"


def pairs_words(needed: int) -> str:
    """How many pairs are expected to settle a question."""
    return f"about {count(needed, 'pair')}" if needed < MOST_PAIRS else f"over {MOST_PAIRS:,} pairs"


def signed(scale: Scale, change: float) -> str:
    """A relative change in per cent, a difference of shares in points."""
    return f"{100 * change:+.2f} {'%' if scale == 'ratio' else 'points'}"
