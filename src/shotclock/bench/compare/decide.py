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
from dataclasses import dataclass
from typing import Literal

from shotclock.bench.bootstrap import Estimate, paired, pairs_needed
from shotclock.bench.schema import Result

FEWEST_PAIRS = 10
LOOK_AT = (FEWEST_PAIRS, 20, 40, 80, 160)
ALPHA = 0.01
"""One-sided, over all looks at one metric."""
MOST_PAIRS = 1_000

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

    def shown(self, effect: float) -> float:
        """An effect as a relative change or a difference, above 0 where B is worse."""
        return math.expm1(effect) if self.scale == "ratio" else effect


@dataclass(frozen=True, slots=True)
class Decision:
    """How a metric came out. change: B against A as `Rule.shown`, with its interval; None without pairs.

    needed: pairs after which the interval is expected to be narrow enough; 0 where the question is settled.
    """

    rule: Rule
    result: Result
    change: Estimate | None
    pairs: int
    needed: int
    why: str


def decide(rule: Rule, a: Sequence[float], b: Sequence[float]) -> Decision:
    """From the values of the pairs, in their order, shapes equal."""
    effects = [rule.effect(one, other) for one, other in zip(a, b, strict=True)]
    confidence = 1 - 2 * ALPHA / len(LOOK_AT)  # two-sided, so that each end keeps its one-sided part
    found = paired(effects, confidence)
    if found is None:
        pairs = "1 pair" if len(effects) == 1 else f"{len(effects)} pairs"
        why = f"{pairs}; at least {FEWEST_PAIRS} are needed"
        return Decision(rule, Result.INCONCLUSIVE, None, len(effects), FEWEST_PAIRS, why)
    change = Estimate(
        rule.shown(found.value), rule.shown(found.low), rule.shown(found.high), confidence, found.runs
    )
    limit = rule.limit_effect
    if len(effects) < FEWEST_PAIRS:
        result = Result.INCONCLUSIVE
    elif found.low > limit:
        result = Result.FAIL
    else:
        result = Result.PASS if found.high <= limit else Result.INCONCLUSIVE
    needed = 0
    if result is Result.INCONCLUSIVE:
        wanted = pairs_needed(effects, abs(found.value - limit), confidence, MOST_PAIRS)
        needed = max(FEWEST_PAIRS, wanted, len(effects) + 1 if len(effects) >= FEWEST_PAIRS else 0)
    return Decision(rule, result, change, len(effects), needed, _why(rule, result, change, needed))


def _why(rule: Rule, result: Result, change: Estimate, needed: int) -> str:
    interval = f"{_percent(change.low)} to {_percent(change.high)} worse over {change.runs} pairs"
    limit = _percent(rule.limit)
    match result:
        case Result.PASS:
            return f"{interval}, within {limit}"
        case Result.FAIL:
            return f"{interval}, all of it over {limit}"
        case Result.INCONCLUSIVE:
            more = f"about {needed} pairs" if needed < MOST_PAIRS else f"over {MOST_PAIRS:,} pairs"
            return f"{interval}, against {limit}: {more} would settle it"


def _percent(value: float) -> str:
    return f"{100 * value:+.2f} %"
