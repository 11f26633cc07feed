"""`[[threshold]]`: a limit on a metric."""

from __future__ import annotations

from pydantic import (
    ValidationInfo,
    field_validator,
    model_validator,
)

from shotclock.settings.branch import LONGEST_MS, Branch

THRESHOLD_RANGES = {
    "quantum_share": (0.0, 1.0, "a ratio, in which 90 % is 0.9"),
    "deadline_hit_ratio": (0.0, 1.0, "a ratio, in which 90 % is 0.9"),
    "_ms": (0.0, LONGEST_MS, "a latency in milliseconds"),
}
"""The least and the greatest limit of a metric whose name ends so, and what it is."""


class ThresholdSettings(Branch):
    """`<arm>.<figure>.p95_ms` with max, or `<arm>.<ratio>` with min; each within its metric's range."""

    metric: str
    max: float | None = None
    min: float | None = None

    @field_validator("max", "min")
    @classmethod
    def _within_the_metrics_range(cls, limit: float | None, info: ValidationInfo) -> float | None:
        metric = str(info.data.get("metric", ""))
        ending = next((suffix for suffix in THRESHOLD_RANGES if metric.endswith(suffix)), None)
        if limit is None or ending is None:
            return limit
        low, high, kind = THRESHOLD_RANGES[ending]
        if not low <= limit <= high:
            raise ValueError(f"must be from {low:.10g} to {high:.10g} for '{metric}', {kind}")
        return limit

    @model_validator(mode="after")
    def _one_limit(self) -> ThresholdSettings:
        if (self.max is None) == (self.min is None):
            raise ValueError("a threshold needs exactly one of max and min")
        return self
