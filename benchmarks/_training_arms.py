"""Who finds the bits: every arm at equal shots, and one way to hand its answer to the aggregator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from shotclock.circuits.angles import parameters
from shotclock.domain.circuit import Samples
from shotclock.domain.outcome import Answer, Done, Provenance, Winner
from shotclock.domain.subproblem import Bits, Subproblem
from shotclock.emulator.device import DeviceFacts
from shotclock.emulator.statevector import execute
from shotclock.solvers.exact import Exact
from shotclock.solvers.greedy import Greedy
from shotclock.solvers.pools import PerturbedGreedy, RandomPool
from shotclock.solvers.tabu import Tabu

SHOTS = 1024

Ask = Callable[[Subproblem, int], Samples]
"""The candidates an arm offers for a subproblem; the second argument seeds what is random in it."""


def arms(facts: DeviceFacts) -> dict[str, Ask]:
    """Every arm but "nothing"; the quantum ones are EMULATED, warm-started, p = 1."""

    def quantum(noisy: bool) -> Ask:
        def sample(subproblem: Subproblem, seed: int) -> Samples:
            noise = facts.flip_probability(subproblem.n, facts.rep_delay_default_s) if noisy else 0.0
            angles = parameters(subproblem, Greedy().solve(subproblem))
            return execute(angles, SHOTS, noise, seed)

        return sample

    return {
        "exact": lambda s, _: one(Exact().solve(s)),
        "tabu": lambda s, seed: one(Tabu(seed).solve(s)),
        "greedy": lambda s, _: one(Greedy().solve(s)),
        "perturbed greedy": lambda s, seed: PerturbedGreedy(SHOTS, seed).sample(s),
        "random": lambda s, seed: RandomPool(SHOTS, seed).sample(s),
        "QAOA ideal (EMULATED)": quantum(noisy=False),
        "QAOA noisy (EMULATED)": quantum(noisy=True),
    }


def one(bits: Bits) -> Samples:
    """A pool of one candidate."""
    return Samples(bits[None], np.ones(1, np.int64))


def best(subproblem: Subproblem, samples: Samples) -> Bits:
    """The candidate of lowest energy, shape (n,)."""
    bits: Bits = samples.pool[int(np.argmin(subproblem.energies(samples.pool)))]
    return bits


def outcome(subproblem: Subproblem, samples: Samples) -> Done:
    """The whole pool as an answer, no classical one beside it: what the arm alone is worth."""
    bits = best(subproblem, samples)
    answer = Answer(bits, subproblem.energy(bits), Winner.QUANTUM, "arm")
    return Done(answer, samples, None, Provenance("arm", True, subproblem.base_version))


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over seeds with its 95 % interval (Student's t): mean ± half."""

    mean: float
    half: float

    @classmethod
    def of(cls, values: list[float]) -> Interval:
        """At least two values."""
        sample = np.asarray(values)
        width = stats.t.ppf(0.975, len(sample) - 1) * sample.std(ddof=1) / np.sqrt(len(sample))
        return cls(float(sample.mean()), float(width))

    def __str__(self) -> str:
        return f"{self.mean:.3f} ± {self.half:.3f}"
