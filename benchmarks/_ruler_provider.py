"""The soak's provider: waits of a known distribution, with an injected delay.

The waits are real sleeps. None of their time is counted as emulated, so that the gate's default metrics, the
software part, include them.
"""

from __future__ import annotations

import math
import os
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Self

import numpy as np

from shotclock.domain.ports import Clock
from shotclock.providers.scripted import Reply, ScriptedProvider

VARIABLE = "RULER_PLANTED"
MEDIAN_S, SIGMA = 0.020, 0.25
"""Of a log-normal wait a job."""
JOBS = 20_000
"""More than a run has; the waits are drawn beforehand."""


@dataclass(frozen=True, slots=True)
class Planted:
    """added_s: on every wait; tail_s: on a wait at its p99, in proportion on those between p90 and it and

    beyond. seed: of the waits; both runs of a pair have the same.
    """

    added_s: float = 0.0
    tail_s: float = 0.0
    seed: int = 0

    def waits(self) -> list[float]:
        """One a job, seconds."""
        drawn = np.random.default_rng(self.seed).lognormal(math.log(MEDIAN_S), SIGMA, JOBS)
        p90, p99 = (MEDIAN_S * math.exp(SIGMA * NormalDist().inv_cdf(p)) for p in (0.90, 0.99))
        longer = self.tail_s * np.maximum(0.0, drawn - p90) / (p99 - p90)
        waits: list[float] = (drawn + self.added_s + longer).tolist()
        return waits

    def environment(self) -> dict[str, str]:
        """The environment variable that configures a process; see `make`."""
        return {VARIABLE: " ".join(f"{name}={value!r}" for name, value in asdict(self).items())}

    @classmethod
    def from_environment(cls) -> Self:
        """The configuration of this process."""
        words = dict(word.split("=") for word in os.environ[VARIABLE].split())
        return cls(float(words["added_s"]), float(words["tail_s"]), int(words["seed"]))


def make(clock: Clock) -> ScriptedProvider:
    """The provider of the settings: `_ruler_provider:make`."""
    return ScriptedProvider(clock, [Reply(wait_s) for wait_s in Planted.from_environment().waits()])
