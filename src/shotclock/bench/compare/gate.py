"""The gate: which metrics of A and B are compared, and the result of each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import chain

from shotclock.bench.compare.decide import FEWEST_PAIRS, DecisionRule, Levels, MetricDecision, decide
from shotclock.bench.compare.units import Unit
from shotclock.bench.record.environment import refuse_to_merge
from shotclock.bench.schema import Result
from shotclock.bench.stats.statistics import QUANTILES, Sample, percentile, pool
from shotclock.domain.errors import SettingsError

LIMITS = {"p50": 0.05, "p95": 0.10, "p99": 0.10}
"""The allowed slowdown by quantile (from CodSpeed's figures on the noise of CI runners)."""
SHARE_LIMIT = 0.01
GATED_LATENCIES = ("*.added_latency.software", "*.total_iteration_time.software", "load.latency.software")
"""Time without emulated waits: only this part depends on the software; the rest comes from the profile."""
GATED_QUANTILES = ("p50", "p99")


@dataclass(frozen=True, slots=True)
class MetricLimit:
    """`PATTERN=LIMIT`: metrics by name, with wildcards, and how much worse they may become."""

    pattern: str
    limit: float

    @classmethod
    def parse(cls, text: str) -> MetricLimit:
        """From `hybrid-*.added_latency.software.p99=10%` or `*.quantum_share=0.02`."""
        pattern, _, limit = text.rpartition("=")
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(%?)", limit.strip())
        if not pattern or match is None:
            raise SettingsError(
                f"--metric {text}: expected PATTERN=LIMIT, as in '*.added_latency.software.p50=5%'"
            )
        value, most = float(match[1]) / (100 if match[2] else 1), 10.0 if match[2] else 1.0
        if value > most:  # a plain 5 is probably meant as 5 %
            raise SettingsError(
                f"--metric {text}: the limit must be from 0 to 1, or from 0 % to 1000 %; 5 % is 0.05 or 5%"
            )
        return cls(pattern.strip(), value)


@dataclass(frozen=True, slots=True)
class Comparison:
    """A comparison of two sets of runs.

    a, b: names
    pairs: number of pairs
    unpaired: omitted runs of the longer side, which have no partner
    interleaved: whether the runs of A and B were made in turns
    caveat: why no verdict is given although figures are; "" otherwise
    decisions: one per metric
    """

    a: str
    b: str
    pairs: int
    unpaired: int
    interleaved: bool
    caveat: str
    decisions: tuple[MetricDecision, ...]

    @property
    def result(self) -> Result:
        """The worst result: FAIL, then INCONCLUSIVE, then PASS."""
        if self.caveat:
            return Result.INCONCLUSIVE
        results = {decision.result for decision in self.decisions}
        for worst in (Result.FAIL, Result.INCONCLUSIVE):
            if worst in results:
                return worst
        return Result.PASS

    @property
    def pairs_needed(self) -> int:
        """Pairs that would decide every metric that more pairs can decide."""
        return max((decision.needed for decision in self.decisions), default=0)

    @property
    def missing(self) -> int:
        """Pairs, made in turns, missing to the minimum for a verdict."""
        return max(0, FEWEST_PAIRS - (0 if self.caveat else self.pairs))

    def of(self, result: Result) -> list[MetricDecision]:
        """The metrics with this result."""
        return [decision for decision in self.decisions if decision.result is result]


def compare(
    a: Sequence[Unit],
    b: Sequence[Unit],
    limits: Sequence[MetricLimit] = (),
    *,
    despite: Sequence[str] = (),
    sequential: bool = False,
) -> Comparison:
    """Compares B with the baseline A; raises SettingsError if that is impossible or a pattern is unused."""
    refuse_to_merge([unit.described for unit in chain(a, b)], despite)
    _refuse_itself(a, b)
    count, unpaired = min(len(a), len(b)), abs(len(a) - len(b))
    a, b = a[:count], b[:count]
    together = is_interleaved(a, b)
    rules = _rules(a, b, limits)
    if not rules:
        raise SettingsError(f"{a[0].described.name} and {b[0].described.name} have no metric in common")
    decisions = tuple(_decide_within(rule, quantile, a, b) for rule, quantile in rules)
    caveat = ""
    if not together and not sequential:
        caveat = (
            "the runs of A and B were not made in turns, so the machine's drift may look like a change; make "
            f"{FEWEST_PAIRS} pairs in turns (A B B A), or accept it with --sequential"
        )
    return Comparison(a[0].described.name, b[0].described.name, count, unpaired, together, caveat, decisions)


def _refuse_itself(a: Sequence[Unit], b: Sequence[Unit]) -> None:
    starts = {unit.started_at: unit.name for unit in a}
    for unit in b:
        if unit.started_at in starts:
            raise SettingsError(
                f"{starts[unit.started_at]} and {unit.name} are the same run (begun at {unit.started_at}); "
                f"compare different runs"
            )


def is_interleaved(a: Sequence[Unit], b: Sequence[Unit]) -> bool:
    """Whether, in order of start, each two consecutive runs are one of A and one of B."""
    labelled = [(unit.started_at, 0) for unit in a] + [(unit.started_at, 1) for unit in b]
    if len({started for started, _ in labelled}) < len(labelled):
        return False  # units of one process: seeds of a run
    order = [side for _, side in sorted(labelled)]
    return all(set(sides) == {0, 1} for sides in zip(order[::2], order[1::2], strict=True))


def _rules(
    a: Sequence[Unit], b: Sequence[Unit], limits: Sequence[MetricLimit]
) -> list[tuple[DecisionRule, float | None]]:
    """The common metrics with their quantile; None for a share."""
    latencies = _common([unit.latencies.keys() for unit in chain(a, b)])
    shares = _common([unit.shares.keys() for unit in chain(a, b)])
    rules: list[tuple[DecisionRule, float | None]] = []
    for name in latencies:
        gated = any(fnmatchcase(name, pattern) for pattern in GATED_LATENCIES)
        for quantile, value in QUANTILES.items():
            metric = f"{name}.{quantile}"
            limit = _limit(
                metric, limits, LIMITS[quantile] if gated and quantile in GATED_QUANTILES else None
            )
            if limit is not None:
                rules.append((DecisionRule(metric, "lower", "ratio", limit), value))
    for name in shares:
        limit = _limit(name, limits, SHARE_LIMIT)
        if limit is not None and limit > 1:
            raise SettingsError(
                f"--metric {name}={limit:g}: a share differs by 1 at most; the limit must be from 0 to 1"
            )
        if limit is not None:
            rules.append((DecisionRule(name, "higher", "difference", limit), None))
    _refuse_unused(limits, [rule.metric for rule, _ in rules], [*latencies, *shares])
    return rules


def _common(names: Sequence[object]) -> list[str]:
    first, *others = [list(keys) for keys in names]  # type: ignore[call-overload]
    return [name for name in first if all(name in keys for keys in others)]


def _limit(metric: str, limits: Sequence[MetricLimit], otherwise: float | None) -> float | None:
    """The last matching pattern's limit; if there are patterns but none matches, the metric is not gated."""
    matching = [limit.limit for limit in limits if fnmatchcase(metric, limit.pattern)]
    if matching:
        return matching[-1]
    return None if limits else otherwise


def _refuse_unused(limits: Sequence[MetricLimit], gated: Sequence[str], names: Sequence[str]) -> None:
    for limit in limits:
        if not any(fnmatchcase(metric, limit.pattern) for metric in gated):
            raise SettingsError(
                f"--metric {limit.pattern}: fits no metric of both sides; latencies take .p50, .p95 or .p99: "
                f"{', '.join(names)}"
            )


def _decide_within(
    rule: DecisionRule, quantile: float | None, a: Sequence[Unit], b: Sequence[Unit]
) -> MetricDecision:
    if quantile is None:
        return _decide_share(rule, a, b)
    name = rule.metric.rpartition(".")[0]
    samples = [(in_a.latencies[name], in_b.latencies[name]) for in_a, in_b in zip(a, b, strict=True)]
    values = [(_quantile(in_a, quantile), _quantile(in_b, quantile)) for in_a, in_b in samples]
    measured = [(in_a, in_b) for in_a, in_b in values if in_a is not None and in_b is not None]
    if len(measured) < len(values):
        smallest = min(sample.n for pair in samples for sample in pair)
        why = f"too few samples, or misses at this quantile, in a run (the smallest has n={smallest:,})"
        together = (pool([pair[side] for pair in samples]) for side in (0, 1))
        levels = Levels(*(_quantile(pooled, quantile) for pooled in together))
        return MetricDecision(
            rule, Result.INCONCLUSIVE, None, len(measured), 0, why, levels, has_few_calls=True
        )
    return decide(rule, [in_a for in_a, _ in measured], [in_b for _, in_b in measured])


def _decide_share(rule: DecisionRule, a: Sequence[Unit], b: Sequence[Unit]) -> MetricDecision:
    counts = [(in_a.shares[rule.metric], in_b.shares[rule.metric]) for in_a, in_b in zip(a, b, strict=True)]
    with_calls = [pair for pair in counts if all(calls for _, calls in pair)]
    if len(with_calls) < len(counts):
        levels = Levels(*(_share([pair[side] for pair in counts]) for side in (0, 1)))
        why = "a run without a call"
        return MetricDecision(
            rule, Result.INCONCLUSIVE, None, len(with_calls), 0, why, levels, has_few_calls=True
        )
    shares = [(in_a[0] / in_a[1], in_b[0] / in_b[1]) for in_a, in_b in with_calls]
    return decide(rule, [in_a for in_a, _ in shares], [in_b for _, in_b in shares])


def _share(counts: Sequence[tuple[int, int]]) -> float | None:
    calls = sum(count for _, count in counts)
    return sum(successes for successes, _ in counts) / calls if calls else None


def _quantile(sample: Sample, quantile: float) -> float | None:
    """Milliseconds; None with too few samples, at a miss, or if it is 0."""
    estimate = percentile(sample, quantile)
    return estimate.value or None if estimate is not None else None
