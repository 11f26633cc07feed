"""Synthetic latencies of a queue on a machine that drifts, and comparisons whose right answer is known.

Calls of a run depend on each other twice: they queue (Lindley's recursion, one server), and their service
times are autocorrelated (log-normal AR(1)). Each run has a random level, and pairs drift together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from shotclock.bench.compare.decide import LOOK_AT, DecisionRule, MetricDecision, decide
from shotclock.bench.schema import Result

CALLS = 2_000
"""A run's."""
LOAD = 0.6
SERVICE_MS = 5.0
PHI, SIGMA = 0.8, 0.25
RUN_LEVEL, PAIR_LEVEL = 0.01, 0.05
RULES = {
    0.50: DecisionRule("latency.p50", "lower", "ratio", 0.05),
    0.99: DecisionRule("latency.p99", "lower", "ratio", 0.10),
}

Runs = NDArray[np.float64]
"""Latencies, shape (runs, calls), milliseconds."""
Change = Callable[[Runs], Runs]


@dataclass(frozen=True, slots=True)
class Caught:
    """Of so many comparisons: how each rule came out.

    pairs: after which half of them, and 95 % of them, were conclusive or had reached the limit.
    """

    comparisons: int
    failed: dict[float, int]
    failed_any: int
    inconclusive: dict[float, int]
    pairs: tuple[int, int]


def repeat(latencies: Runs) -> Runs:
    """B is A."""
    return latencies


def slower(factor: float) -> Change:
    """All of B takes so many times as long: +10 % on p50 is 1.10."""
    return lambda latencies: latencies * factor


def longer_tail(factor: float) -> Change:
    """Only what is above p90 grows, so that p99 is `factor` times what it was and p50 stays."""
    reference = series(40, np.random.default_rng(99))
    low, high = np.quantile(reference / np.median(reference), (0.90, 0.99))
    stretch = (factor * high - low) / (high - low)

    def change(latencies: Runs) -> Runs:
        knee = low * np.median(latencies, axis=1, keepdims=True)
        return np.where(latencies > knee, knee + (latencies - knee) * stretch, latencies)

    return change


def at_the_limit() -> Change:
    """p50 and p99 slower by just what their rules allow: what a gate of 1 % may fail once in a hundred."""
    fifty, ninety_nine = (1 + RULES[quantile].limit for quantile in (0.50, 0.99))
    all_of_it, tail = slower(fifty), longer_tail(ninety_nine / fifty)
    return lambda latencies: tail(all_of_it(latencies))


def series(runs: int, rng: np.random.Generator) -> Runs:
    """So many independent runs."""
    noise = rng.normal(0.0, SIGMA * np.sqrt(1 - PHI**2), (runs, CALLS))
    noise[:, 0] = rng.normal(0.0, SIGMA, runs)
    service = SERVICE_MS * np.exp(lfilter([1.0], [1.0, -PHI], noise, axis=1) - SIGMA**2 / 2)
    arrivals = np.cumsum(rng.exponential(SERVICE_MS / LOAD, (runs, CALLS)), axis=1)
    # Lindley's recursion in closed form: the server is free after call k at
    # max over j ≤ k of (arrival j + the services of j to k)
    ends = np.cumsum(service, axis=1)
    free = np.maximum.accumulate(arrivals - ends + service, axis=1) + ends
    latencies: Runs = (free - arrivals) * np.exp(rng.normal(0.0, RUN_LEVEL, (runs, 1)))
    return latencies


def compare(change: Change, comparisons: int, seed: int, speak: Collection[float] = tuple(RULES)) -> Caught:
    """Comparisons of A with changed A; pairs are added until the counted rules are conclusive."""
    failed, inconclusive = dict.fromkeys(RULES, 0), dict.fromkeys(RULES, 0)
    failed_any, pairs = 0, list[int]()
    for number in range(comparisons):
        decisions = _settle(change, np.random.default_rng((seed, number)), speak)
        for quantile, decision in decisions.items():
            failed[quantile] += decision.result is Result.FAIL
            inconclusive[quantile] += decision.result is Result.INCONCLUSIVE
        failed_any += any(decision.result is Result.FAIL for decision in decisions.values())
        pairs.append(max(decision.pairs for decision in decisions.values()))
    half, nearly_all = (int(np.quantile(pairs, share, method="higher")) for share in (0.50, 0.95))
    return Caught(comparisons, failed, failed_any, inconclusive, (half, nearly_all))


def _settle(
    change: Change, rng: np.random.Generator, speak: Collection[float]
) -> dict[float, MetricDecision]:
    values: dict[float, tuple[list[float], list[float]]] = {quantile: ([], []) for quantile in RULES}
    decisions: dict[float, MetricDecision] = {}
    pairs_made = 0
    for look in LOOK_AT:
        drift = np.exp(rng.normal(0.0, PAIR_LEVEL, (look - pairs_made, 1)))
        a, b = series(look - pairs_made, rng) * drift, change(series(look - pairs_made, rng)) * drift
        pairs_made = look
        for quantile, (of_a, of_b) in values.items():
            of_a.extend(_quantiles(a, quantile))
            of_b.extend(_quantiles(b, quantile))
            if quantile not in decisions or decisions[quantile].result is Result.INCONCLUSIVE:
                decisions[quantile] = decide(RULES[quantile], of_a, of_b)
        if all(decisions[quantile].result is not Result.INCONCLUSIVE for quantile in speak):
            break
    return decisions


def _quantiles(latencies: Runs, quantile: float) -> list[float]:
    """The nearest-rank quantile of each run."""
    rank = math.ceil(quantile * latencies.shape[1]) - 1
    values: list[float] = np.partition(latencies, rank, axis=1)[:, rank].tolist()
    return values
