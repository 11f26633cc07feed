"""MLPerf's four scenarios and their arrivals, fixed before the first call is made.

Scenarios as in the MLPerf Inference rules (mlcommons/inference_policies, inference_rules.adoc): their
names, how queries follow each other, and which percentile speaks for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from shotclock.domain.budget import NS_PER_S
from shotclock.domain.errors import SettingsError
from shotclock.domain.subproblem import Subproblem
from shotclock.domain.subproblem_batch import (
    MOST_COEFFICIENT_BYTES,
    MOST_SUBPROBLEMS,
    count_coefficient_bytes,
)

Instants = NDArray[np.int64]
MOST_CALLS = 5_000_000
"""A run's: each is mask, about half a kilobyte of memory, until the run has been judged."""
MOST_S = 9e9
"""A run's length; more nanoseconds than these do not fit an int64."""


class Scenario(StrEnum):
    """How queries follow each other."""

    SINGLE_STREAM = "single-stream"
    """One call a query; the next query when the last has ended. p90."""
    MULTI_STREAM = "multi-stream"
    """`streams` calls a query, at once; the next query when all of the last have ended. p99."""
    SERVER = "server"
    """Open load: Poisson arrivals that wait for nobody. p99."""
    OFFLINE = "offline"
    """Everything is there at the start. Throughput."""


GATED = {
    Scenario.SINGLE_STREAM: 0.90,
    Scenario.MULTI_STREAM: 0.99,
    Scenario.SERVER: 0.99,
    Scenario.OFFLINE: 0.99,
}


@dataclass(frozen=True, slots=True)
class ArrivalPlan:
    """What is asked of a dispatcher.

    scenario: how calls arrive.
    rate_per_s: calls offered, of `server`; `offline` has rate_per_s · duration_s calls in all, the other two
        ask as fast as they are answered.
    duration_s: length of the run, seconds; above 0.
    deadline_ns: each call's budget, from its scheduled instant, which of `offline` is when it is sent,
        nanoseconds.
    n: variables of the subproblems.
    seed: of the arrivals and the subproblems.
    streams: calls a query of `multi-stream`.
    window: calls under way at most in `offline`, whose sender holds back what a queue would refuse.
    batch: subproblems that travel in one request; all are due at one instant, and each is a call.
    """

    scenario: Scenario
    rate_per_s: float
    duration_s: float
    deadline_ns: int
    n: int = 12
    seed: int = 0
    streams: int = 8
    window: int = 32
    batch: int = 1

    def __post_init__(self) -> None:
        if not (self.rate_per_s > 0 and np.isfinite(self.rate_per_s)):
            raise SettingsError(f"--rate {self.rate_per_s:g}: must be above 0 calls per second")
        if not 0 < self.duration_s <= MOST_S:
            raise SettingsError(
                f"--duration {self.duration_s:g}: must be above 0 and at most {MOST_S:g} seconds"
            )
        if self.rate_per_s * self.duration_s > MOST_CALLS and self.is_counted:
            raise SettingsError(
                f"--rate {self.rate_per_s:g} for --duration {self.duration_s:g} s: "
                f"{self.rate_per_s * self.duration_s:.3g} calls a run, at most {MOST_CALLS:,}"
            )
        if self.deadline_ns <= 0:
            raise SettingsError("--deadline-ms: must be above 0 milliseconds")
        if self.batch != 1:
            self._check_batch()

    def _check_batch(self) -> None:
        if not 1 <= self.batch <= MOST_SUBPROBLEMS:
            raise SettingsError(
                f"--batch: must be 1 to {MOST_SUBPROBLEMS} subproblems a request (got {self.batch})"
            )
        fitting = MOST_COEFFICIENT_BYTES // count_coefficient_bytes(self.n)
        if self.batch > fitting:
            raise SettingsError(
                f"--batch: a request takes {fitting} subproblems of {self.n} variables (got {self.batch})"
            )

    @property
    def calls_at_once(self) -> int:
        """Calls that the streams make at one instant."""
        return self.batch * (self.streams if self.scenario is Scenario.MULTI_STREAM else 1)

    @property
    def open_loop(self) -> bool:
        """Whether calls arrive when scheduled, independently of earlier calls."""
        return self.scenario is Scenario.SERVER

    @property
    def is_counted(self) -> bool:
        """Whether the rate says how many calls there are; the streams ask as fast as they are answered."""
        return self.scenario in {Scenario.SERVER, Scenario.OFFLINE}

    @property
    def duration_ns(self) -> int:
        """Nanoseconds."""
        return round(self.duration_s * NS_PER_S)

    @property
    def quantile(self) -> float:
        """The one that speaks for the scenario."""
        return GATED[self.scenario]


def poisson(rate_per_s: float, duration_ns: int, seed: int) -> Instants:
    """Arrival instants in [0, duration_ns), shape (k,), ascending: the same for the same arguments."""
    rng = np.random.default_rng((seed, 0xA221))
    expected = rate_per_s * duration_ns / NS_PER_S
    # k is Poisson and, given k, the instants are uniform: the same process as exponential gaps
    count = int(rng.poisson(expected))
    return np.sort(rng.integers(0, duration_ns, count, dtype=np.int64))


def schedule(plan: ArrivalPlan) -> Instants:
    """Instants of the calls that are there beforehand; empty for the streams, whose calls all wait.

    Those of a request follow each other.
    """
    match plan.scenario:
        case Scenario.SERVER:
            return poisson(plan.rate_per_s / plan.batch, plan.duration_ns, plan.seed).repeat(plan.batch)
        case Scenario.OFFLINE:
            requests = max(1, round(plan.rate_per_s * plan.duration_s / plan.batch))
            return np.zeros(requests * plan.batch, dtype=np.int64)
        case Scenario.SINGLE_STREAM | Scenario.MULTI_STREAM:
            return np.zeros(0, dtype=np.int64)


def instances(
    n: int, seed: int, count: int = 256, *, couplings: Sequence[tuple[int, int]] | None = None
) -> tuple[Subproblem, ...]:
    """Subproblems with normal coefficients: what the calls ask, in turn.

    couplings: the only pairs of variables with a quadratic term; None: all.
    """
    rng = np.random.default_rng((seed, n))
    mask = np.ones((n, n))
    if couplings is not None:
        mask = np.zeros((n, n))
        mask[tuple(zip(*couplings, strict=True))] = 1.0
    subproblems = []
    for _ in range(count):
        upper = mask * np.triu(rng.normal(size=(n, n)), k=1)
        subproblems.append(Subproblem(upper + upper.T, rng.normal(size=n), kind="load", fresh=True))
    return tuple(subproblems)
