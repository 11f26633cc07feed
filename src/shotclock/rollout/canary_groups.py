"""What a canary's two sides have shown: counts that are kept while calls end."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shotclock.domain.budget import NS_PER_MS
from shotclock.domain.canary import CanaryGroup
from shotclock.domain.outcome import Degraded, Done, Outcome
from shotclock.rollout.canary import ArmSample, Proportion, Sample

BUCKET_RATIO = 1.05
"""Edges of the durations' buckets: a percentile is at most 5 % too high."""

FEWEST_FOR_P95 = 130
"""Early stopping's fewest samples for a bound of a p95 (MLPerf LoadGen, c = 0.99)."""


@dataclass(slots=True)
class Group:
    """One side.

    slow_ms: a call is slow if it takes longer, milliseconds.
    calls, missed, slow, sampled: see `CanaryGroup`.
    durations: calls by the number of their bucket.
    values, mean, squares: of the validation metric, by Welford's method.
    """

    slow_ms: float
    calls: int = 0
    missed: int = 0
    slow: int = 0
    sampled: int = 0
    durations: Counter[int] = field(default_factory=Counter)
    values: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def add_call(self, outcome: Outcome, duration_ns: int, budget_ns: int) -> None:
        """A call ended; one without an answer in time is slower than any limit."""
        is_missed = duration_ns > budget_ns or not isinstance(outcome, Done | Degraded)
        duration_ms = duration_ns / NS_PER_MS
        self.calls += 1
        self.missed += is_missed
        self.slow += is_missed or duration_ms > self.slow_ms
        self.sampled += (
            isinstance(outcome, Done) and outcome.samples.shots > 0 and not outcome.provenance.cached
        )
        self.durations[math.ceil(math.log(max(duration_ms, 1e-3), BUCKET_RATIO))] += 1

    def add_value(self, value: float) -> None:
        """A value of the validation metric, lower is better."""
        self.values += 1
        difference = value - self.mean
        self.mean += difference / self.values
        self.squares += difference * (value - self.mean)

    @property
    def sample(self) -> ArmSample:
        """What the tests read."""
        variance = self.squares / (self.values - 1) if self.values > 1 else 0.0
        return ArmSample(
            Proportion(self.missed, self.calls),
            Proportion(self.slow, self.calls),
            Sample(self.values, self.mean, variance),
        )

    def report(self) -> CanaryGroup:
        """What a person reads."""
        return CanaryGroup(
            self.calls,
            self.missed,
            self.slow,
            self.sampled,
            self._p95_ms(),
            self.values,
            self.mean if self.values else None,
        )

    def _p95_ms(self) -> float | None:
        if self.calls < FEWEST_FOR_P95:
            return None
        rank, count = math.ceil(0.95 * self.calls), 0
        for bucket in sorted(self.durations):
            count += self.durations[bucket]
            if count >= rank:
                return float(BUCKET_RATIO**bucket)
        return None

    def to_json(self) -> dict[str, Any]:
        """Plain values, from which `from_json` goes on."""
        return {
            "slow_ms": self.slow_ms,
            "calls": self.calls,
            "missed": self.missed,
            "slow": self.slow,
            "sampled": self.sampled,
            "durations": {str(bucket): count for bucket, count in self.durations.items()},
            "values": self.values,
            "mean": self.mean,
            "squares": self.squares,
        }

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> Group:
        """Raises LookupError, TypeError or ValueError on what `to_json` did not write."""
        counts = {name: int(saved[name]) for name in ("calls", "missed", "slow", "sampled", "values")}
        durations = Counter({int(bucket): int(count) for bucket, count in saved["durations"].items()})
        group = cls(float(saved["slow_ms"]), durations=durations, **counts)
        group.mean, group.squares = float(saved["mean"]), float(saved["squares"])
        if not (0 <= group.missed <= group.slow <= group.calls == durations.total() and group.squares >= 0):
            raise ValueError("counts do not fit each other")
        return group
