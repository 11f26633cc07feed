"""Intervals over independent runs: calls of one queue depend on each other, runs do not.

The run-level bootstrap resamples whole runs (Davison and Hinkley, Bootstrap Methods and their Application,
§3.8); the interval of paired differences is Student's, which keeps its coverage with ten pairs where
percentile intervals fall short of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from shotclock.bench.stats.distributions import t_half_width, t_quantile

RESAMPLES = 2_000
Number = TypeVar("Number", np.int64, np.float64)


@dataclass(frozen=True, slots=True)
class BootstrapEstimate:
    """A value with its interval at a confidence, over so many runs or pairs.

    value: the statistic of all runs together, or the mean of the pairs.
    low, high: the two-sided interval.
    confidence: of the interval, 0 to 1.
    runs: number of runs or pairs.
    """

    value: float
    low: float
    high: float
    confidence: float
    runs: int


def over_runs(
    runs: Sequence[NDArray[Number]],
    statistic: Callable[[NDArray[Number]], float],
    confidence: float = 0.95,
    seed: int = 0,
) -> BootstrapEstimate | None:
    """The statistic of all runs' values together, with a percentile interval over resampled runs.

    None with fewer than two runs, or with an empty one.
    """
    if len(runs) < 2 or any(len(run) == 0 for run in runs):
        return None
    rng = np.random.default_rng((seed, len(runs)))
    choices = np.sort(rng.integers(0, len(runs), (RESAMPLES, len(runs))), axis=1)
    # few runs have few combinations: each is worked out once
    distinct, places = np.unique(choices, axis=0, return_inverse=True)
    worked_out = np.array([statistic(np.concatenate([runs[i] for i in chosen])) for chosen in distinct])
    drawn = worked_out[places.ravel()]
    low, high = np.quantile(drawn, ((1 - confidence) / 2, (1 + confidence) / 2))
    return BootstrapEstimate(
        statistic(np.concatenate(list(runs))), float(low), float(high), confidence, len(runs)
    )


def mean_over_runs(
    values: Sequence[float], confidence: float = 0.95, seed: int = 0
) -> BootstrapEstimate | None:
    """The mean of one figure a run, with its interval over resampled runs; None with fewer than two."""
    runs = [np.array([value], dtype=np.float64) for value in values]
    return over_runs(runs, lambda drawn: float(drawn.mean()), confidence, seed)


def estimate_paired(differences: Sequence[float], confidence: float) -> BootstrapEstimate | None:
    """Mean of paired differences with its two-sided t-interval; None with fewer than two pairs."""
    if len(differences) < 2:
        return None
    mean = float(np.mean(differences))
    half = t_half_width(differences, confidence)
    return BootstrapEstimate(mean, mean - half, mean + half, confidence, len(differences))


def pairs_needed(differences: Sequence[float], distance: float, confidence: float, most: int = 10_000) -> int:
    """How many pairs of this scatter have an interval no wider than `distance` either way; at most `most`."""
    scatter = float(np.std(differences, ddof=1)) if len(differences) > 1 else math.inf
    if scatter == 0:
        return len(differences)
    if distance <= 0 or not math.isfinite(scatter):
        return most
    pairs = max(2, len(differences))
    while (
        pairs < most and t_quantile((1 + confidence) / 2, pairs - 1) * scatter / math.sqrt(pairs) > distance
    ):
        pairs += max(1, pairs // 20)
    return min(pairs, most)
