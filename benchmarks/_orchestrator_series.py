"""Latencies of one way, in blocks, and rates: what a table's rows are made of."""

from __future__ import annotations

from dataclasses import dataclass, field

from shotclock.bench.stats.statistics import Sample, percentile
from shotclock.domain.outcome import Done, Outcome

BLOCKS = 5
"""As many as an official claim needs runs; those of one script run follow one another."""


@dataclass(slots=True)
class Series:
    """Latencies of one way, nanoseconds, a list a block; without_samples: calls that ended otherwise."""

    what: str
    blocks: list[list[int]] = field(default_factory=list)
    without_samples: int = 0

    @property
    def n(self) -> int:
        """Calls of all blocks."""
        return sum(len(block) for block in self.blocks)

    def quantile_ms(self, quantile: float) -> float | None:
        """Over all blocks; None with too few samples to bound it."""
        bounded = percentile(Sample.of([value for block in self.blocks for value in block]), quantile)
        return bounded.value if bounded else None

    def upper_bound_ms(self, quantile: float) -> float | None:
        """The upper bound of that quantile at confidence 0.99."""
        bounded = percentile(Sample.of([value for block in self.blocks for value in block]), quantile)
        return bounded.upper_bound if bounded else None

    def worst_ms(self, quantile: float) -> float | None:
        """The block with the highest one; None where a block has too few samples."""
        by_block = [percentile(Sample.of(block), quantile) for block in self.blocks]
        values = [bounded.value for bounded in by_block if bounded and bounded.value is not None]
        return max(values) if values and len(values) == len(by_block) else None

    def add(self, block: list[int], outcomes: list[Outcome]) -> None:
        """One more block."""
        self.blocks.append(block)
        self.without_samples += sum(not isinstance(outcome, Done) for outcome in outcomes)


@dataclass(frozen=True, slots=True)
class Rate:
    """Calls a second with so many in flight, and how many of them ended without samples."""

    what: str
    calls: int
    per_s: float
    without_samples: int
