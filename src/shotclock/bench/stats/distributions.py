"""Binomial and t distributions by `scipy.special`: `scipy.stats` takes every command a second to import."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import special


def binomial_cdf(k: int, n: int, p: float) -> float:
    """The probability of at most k successes in n trials of probability p."""
    return float(special.bdtr(k, n, p)) if k >= 0 else 0.0


def binomial_sf(k: int, n: int, p: float) -> float:
    """The probability of more than k successes in n trials of probability p."""
    return float(special.bdtrc(k, n, p)) if k >= 0 else 1.0


def binomial_ppf(q: float, n: int, p: float) -> int:
    """The smallest k with at most k successes at least as probable as q, 0 < q < 1."""
    k = math.ceil(float(special.bdtrik(q, n, p)))
    return k - 1 if k > 0 and binomial_cdf(k - 1, n, p) >= q else k


def binomial_isf(q: float, n: int, p: float) -> int:
    """The smallest k with more than k successes at most as probable as q, 0 < q < 1."""
    k = math.ceil(float(special.bdtrik(1 - q, n, p)))
    return k - 1 if k > 0 and binomial_sf(k - 1, n, p) <= q else k


def exact_interval(successes: int, n: int, confidence: float) -> tuple[float, float]:
    """The two-sided Clopper–Pearson interval of a share of n > 0 trials."""
    tail = (1 - confidence) / 2
    low = special.betaincinv(successes, n - successes + 1, tail) if successes else 0.0
    high = special.betaincinv(successes + 1, n - successes, 1 - tail) if successes < n else 1.0
    return float(low), float(high)


def t_half_width(values: Sequence[float], confidence: float) -> float:
    """Half of the two-sided t-interval of the mean of at least two values."""
    standard_error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return t_quantile((1 + confidence) / 2, len(values) - 1) * standard_error


def t_quantile(q: float, degrees: int) -> float:
    """Student's t quantile."""
    return float(special.stdtrit(degrees, q))
