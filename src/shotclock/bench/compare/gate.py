"""The gate: which metrics of A and B are held against each other, and how each came out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import chain

from shotclock.bench.compare.decide import FEWEST_PAIRS, Decision, Levels, Rule, decide
from shotclock.bench.compare.units import Unit
from shotclock.bench.record.environment import refuse_to_merge
from shotclock.bench.schema import Result
from shotclock.bench.stats.statistics import QUANTILES, Sample, percentile, pool
from shotclock.domain.errors import SettingsError

LIMITS = {"p50": 0.05, "p95": 0.10, "p99": 0.10}
"""How much slower is still within the gate, by quantile (CodSpeed's figures on the noise of runners)."""
SHARE_LIMIT = 0.01
GATED_LATENCIES = ("*.added_latency.software", "*.total_iteration_time.software", "load.latency.software")
"""What no emulation waited for: the rest is a profile's figure and tells nothing about the software."""
GATED_QUANTILES = ("p50", "p99")


@dataclass(frozen=True, slots=True)
class Wanted:
    """`PATTERN=LIMIT`: metrics by name, with wildcards, and how much worse they may get."""

    pattern: str
    limit: float

    @classmethod
    def parse(cls, text: str) -> Wanted:
        """From `hybrid-*.added_latency.software.p99=10%` or `*.quantum_share=0.02`."""
        pattern, _, limit = text.rpartition("=")
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(%?)", limit.strip())
        if not pattern or found is None:
            raise SettingsError(
                f"--metric {text}: wants PATTERN=LIMIT, as in '*.added_latency.software.p50=5%'"
            )
        value, most = float(found[1]) / (100 if found[2] else 1), 10.0 if found[2] else 1.0
        if value > most:  # 5 may stand for 5 %; what is over 1 must say so
            raise SettingsError(
                f"--metric {text}: the limit must be from 0 to 1, or from 0 % to 1000 %; 5 % is 0.05 or 5%"
            )
        return cls(pattern.strip(), value)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The whole of a comparison. caveat: why no verdict is given although figures are; empty without.

    unpaired: runs left out, those of the longer side that have no partner.
    """

    a: str
    b: str
    pairs: int
    unpaired: int
    interleaved: bool
    caveat: str
    decisions: tuple[Decision, ...]

    @property
    def result(self) -> Result:
        """FAIL beats INCONCLUSIVE beats PASS."""
        if self.caveat:
            return Result.INCONCLUSIVE
        results = {decision.result for decision in self.decisions}
        for worst in (Result.FAIL, Result.INCONCLUSIVE):
            if worst in results:
                return worst
        return Result.PASS

    @property
    def pairs_needed(self) -> int:
        """Pairs that would settle every metric that pairs can settle."""
        return max((decision.needed for decision in self.decisions), default=0)

    @property
    def missing(self) -> int:
        """Pairs, made in turns, that are missing to the fewest a verdict is given on."""
        return max(0, FEWEST_PAIRS - (0 if self.caveat else self.pairs))

    def of(self, result: Result) -> list[Decision]:
        """The metrics that came out so."""
        return [decision for decision in self.decisions if decision.result is result]


def compare(
    a: Sequence[Unit],
    b: Sequence[Unit],
    wanted: Sequence[Wanted] = (),
    *,
    despite: Sequence[str] = (),
    sequential: bool = False,
) -> Comparison:
    """A the baseline, B the change. Raises SettingsError where they don't compare, or for an idle pattern."""
    refuse_to_merge([unit.described for unit in chain(a, b)], despite)
    _refuse_itself(a, b)
    count, unpaired = min(len(a), len(b)), abs(len(a) - len(b))
    a, b = a[:count], b[:count]
    together = is_interleaved(a, b)
    rules = _rules(a, b, wanted)
    if not rules:
        raise SettingsError(f"{a[0].described.name} and {b[0].described.name} have no metric in common")
    decisions = tuple(_decide_within(rule, quantile, a, b) for rule, quantile in rules)
    caveat = ""
    if not together and not sequential:
        caveat = (
            "the runs of A and B were not made in turns, so the machine's drift may pass for a change; make "
            f"{FEWEST_PAIRS} pairs in turns (A B B A), or accept it with --sequential"
        )
    return Comparison(a[0].described.name, b[0].described.name, count, unpaired, together, caveat, decisions)


def _refuse_itself(a: Sequence[Unit], b: Sequence[Unit]) -> None:
    starts = {unit.started_at: unit.name for unit in a}
    for unit in b:
        if unit.started_at in starts:
            raise SettingsError(
                f"{starts[unit.started_at]} and {unit.name} are one run (begun at {unit.started_at}); "
                f"compare runs with others, not with themselves"
            )


def is_interleaved(a: Sequence[Unit], b: Sequence[Unit]) -> bool:
    """Whether, in the order they started, every two runs are one of each: A B, B A, in any sequence."""
    labelled = [(unit.started_at, 0) for unit in a] + [(unit.started_at, 1) for unit in b]
    if len({started for started, _ in labelled}) < len(labelled):
        return False  # units of one process: seeds of a run
    order = [side for _, side in sorted(labelled)]
    return all({one, other} == {0, 1} for one, other in zip(order[::2], order[1::2], strict=True))


def _rules(a: Sequence[Unit], b: Sequence[Unit], wanted: Sequence[Wanted]) -> list[tuple[Rule, float | None]]:
    """The metrics both sides have, with their quantile; None is a share."""
    latencies = _common([unit.latencies.keys() for unit in chain(a, b)])
    shares = _common([unit.shares.keys() for unit in chain(a, b)])
    found: list[tuple[Rule, float | None]] = []
    for name in latencies:
        gated = any(fnmatchcase(name, pattern) for pattern in GATED_LATENCIES)
        for quantile, value in QUANTILES.items():
            metric = f"{name}.{quantile}"
            limit = _limit(
                metric, wanted, LIMITS[quantile] if gated and quantile in GATED_QUANTILES else None
            )
            if limit is not None:
                found.append((Rule(metric, "lower", "ratio", limit), value))
    for name in shares:
        limit = _limit(name, wanted, SHARE_LIMIT)
        if limit is not None and limit > 1:
            raise SettingsError(
                f"--metric {name}={limit:g}: a share differs by 1 at most; the limit must be from 0 to 1"
            )
        if limit is not None:
            found.append((Rule(name, "higher", "difference", limit), None))
    _refuse_idle(wanted, [rule.metric for rule, _ in found], [*latencies, *shares])
    return found


def _common(names: Sequence[object]) -> list[str]:
    first, *others = [list(keys) for keys in names]  # type: ignore[call-overload]
    return [name for name in first if all(name in other for other in others)]


def _limit(metric: str, wanted: Sequence[Wanted], otherwise: float | None) -> float | None:
    """The last pattern that fits decides; with any pattern at all, what none fits is not gated."""
    fitting = [one.limit for one in wanted if fnmatchcase(metric, one.pattern)]
    if fitting:
        return fitting[-1]
    return None if wanted else otherwise


def _refuse_idle(wanted: Sequence[Wanted], gated: Sequence[str], known: Sequence[str]) -> None:
    for one in wanted:
        if not any(fnmatchcase(metric, one.pattern) for metric in gated):
            raise SettingsError(
                f"--metric {one.pattern}: fits no metric of both sides; latencies take .p50, .p95 or .p99: "
                f"{', '.join(known)}"
            )


def _decide_within(rule: Rule, quantile: float | None, a: Sequence[Unit], b: Sequence[Unit]) -> Decision:
    if quantile is None:
        return _held_share(rule, a, b)
    name = rule.metric.rpartition(".")[0]
    samples = [(one.latencies[name], other.latencies[name]) for one, other in zip(a, b, strict=True)]
    values = [(_quantile(one, quantile), _quantile(other, quantile)) for one, other in samples]
    known = [(one, other) for one, other in values if one is not None and other is not None]
    if len(known) < len(values):
        smallest = min(sample.n for pair in samples for sample in pair)
        why = f"too few samples, or misses at this quantile, in a run (the smallest has n={smallest:,})"
        together = (pool([pair[side] for pair in samples]) for side in (0, 1))
        levels = Levels(*(_quantile(one, quantile) for one in together))
        return Decision(rule, Result.INCONCLUSIVE, None, len(known), 0, why, levels, has_few_calls=True)
    return decide(rule, [one for one, _ in known], [other for _, other in known])


def _held_share(rule: Rule, a: Sequence[Unit], b: Sequence[Unit]) -> Decision:
    counts = [(one.shares[rule.metric], other.shares[rule.metric]) for one, other in zip(a, b, strict=True)]
    asked = [pair for pair in counts if all(calls for _, calls in pair)]
    if len(asked) < len(counts):
        levels = Levels(*(_share([pair[side] for pair in counts]) for side in (0, 1)))
        why = "a run without a call"
        return Decision(rule, Result.INCONCLUSIVE, None, len(asked), 0, why, levels, has_few_calls=True)
    shares = [(one[0] / one[1], other[0] / other[1]) for one, other in asked]
    return decide(rule, [one for one, _ in shares], [other for _, other in shares])


def _share(counts: Sequence[tuple[int, int]]) -> float | None:
    calls = sum(count for _, count in counts)
    return sum(successes for successes, _ in counts) / calls if calls else None


def _quantile(found: Sample, quantile: float) -> float | None:
    """Milliseconds; None with too few samples, at a miss, or where it is no time at all."""
    known = percentile(found, quantile)
    return known.value or None if known is not None else None
