"""From shots to an answer: checked, then scored on the objective as it was asked."""

from __future__ import annotations

import numpy as np

from shotclock.domain.circuit import Samples
from shotclock.domain.errors import FaultKind, ProviderError
from shotclock.domain.outcome import Answer, Winner
from shotclock.domain.subproblem import Subproblem

SOLVER = "qaoa"


def decode(subproblem: Subproblem, samples: Samples) -> Answer:
    """The best sample by E in float64, the first of equal ones; raises ProviderError, see `check`."""
    check(samples, subproblem.n)
    energies = subproblem.energies(samples.pool)
    best = int(np.argmin(energies))
    return Answer(samples.pool[best].copy(), float(energies[best]), Winner.QUANTUM, SOLVER)


def check(samples: Samples, n: int) -> None:
    """Raises ProviderError(PERMANENT) where samples cannot be shots of an n-variable circuit."""
    pool, counts = samples.pool, samples.counts
    if pool.ndim != 2 or pool.shape[1] != n:
        raise _unfit(f"pool of shape {pool.shape}, wants (m, {n})")
    if counts.shape != pool.shape[:1]:
        raise _unfit(f"{counts.shape} counts for {pool.shape[0]} bit strings")
    if not np.issubdtype(pool.dtype, np.integer) or not np.issubdtype(counts.dtype, np.integer):
        raise _unfit(f"dtypes {pool.dtype} and {counts.dtype}, wants integers")
    if pool.shape[0] == 0 or counts.min() < 1:
        raise _unfit("no shots" if pool.shape[0] == 0 else f"a count of {counts.min()}")
    if pool.min() < 0 or pool.max() > 1:
        raise _unfit("bits other than 0 and 1")


def _unfit(what: str) -> ProviderError:
    return ProviderError(FaultKind.PERMANENT, f"samples do not fit the circuit: {what}")
