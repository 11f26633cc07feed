"""From shots to an answer: checks the samples, then scores them on the original objective."""

from __future__ import annotations

import numpy as np

from shotclock.domain.circuit import Samples
from shotclock.domain.errors import FaultKind, ProviderError
from shotclock.domain.jit import jit
from shotclock.domain.outcome import Answer, Winner
from shotclock.domain.subproblem import LAYOUT, Bits, Float64s, Subproblem

SOLVER = "qaoa"


def decode(subproblem: Subproblem, samples: Samples) -> Answer:
    """The best sample by E in float64, the first of equal ones; raises ProviderError, see `check`."""
    check(samples, subproblem.n)
    # Samples of the result cache are read-only: numba would compile a second time, in a call's time.
    pool = samples.pool
    if pool.dtype != np.uint8 or not pool.flags.carray:
        pool = np.require(pool, np.uint8, LAYOUT)
    best, energy = _lowest(subproblem.quadratic, subproblem.linear, pool)
    return Answer(pool[best].copy(), energy + subproblem.offset, Winner.QUANTUM, SOLVER)


@jit
def _lowest(quadratic: Float64s, linear: Float64s, pool: Bits) -> tuple[int, float]:
    """The first row of lowest energy and that energy without its offset; sums only over bits that are 1."""
    lowest, best = np.inf, 0
    ones = np.empty(linear.shape[0], np.int64)
    for row in range(pool.shape[0]):
        energy, n_ones = 0.0, 0
        for i in range(linear.shape[0]):
            if pool[row, i]:
                energy += linear[i]
                for k in range(n_ones):
                    energy += 2.0 * quadratic[i, ones[k]]
                ones[n_ones] = i
                n_ones += 1
        if energy < lowest:
            lowest, best = energy, row
    return best, lowest


def check(samples: Samples, n: int) -> None:
    """Raises ProviderError(PERMANENT) if the samples cannot be shots of an n-variable circuit."""
    pool, counts = samples.pool, samples.counts
    if pool.ndim != 2 or pool.shape[1] != n:
        raise _mismatch(f"pool of shape {pool.shape}, expected (m, {n})")
    if counts.shape != pool.shape[:1]:
        raise _mismatch(f"{counts.shape} counts for {pool.shape[0]} bit strings")
    if pool.dtype.kind not in "iu" or counts.dtype.kind not in "iu":
        raise _mismatch(f"dtypes {pool.dtype} and {counts.dtype}, expected integers")
    if pool.shape[0] == 0 or counts.min() < 1:
        raise _mismatch("no shots" if pool.shape[0] == 0 else f"a count of {counts.min()}")
    if pool.max() > 1 or (pool.dtype.kind == "i" and pool.min() < 0):
        raise _mismatch("bits other than 0 and 1")


def _mismatch(what: str) -> ProviderError:
    return ProviderError(FaultKind.PERMANENT, f"samples do not fit the circuit: {what}")
