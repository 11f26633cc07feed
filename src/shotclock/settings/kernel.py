"""`[kernel]`: which subproblems, how large, how often."""

from __future__ import annotations

from pydantic import (
    Field,
)

from shotclock.domain.subproblem import MAX_VARIABLES
from shotclock.settings.branch import Branch


class KernelSettings(Branch):
    """What training asks for.

    Where name, n or sparse is not set, it follows the workload.

    name: of a kernel, or "module:factory".
    every: steps between two calls.
    n: variables of a subproblem, at most the device's qubits.
    sparse: whether terms that lie on none of the device's couplings are left out, so that subproblems run
        natively at any n.
    """

    name: str = "task_rounding"
    every: int = Field(default=5, ge=1)
    n: int = Field(default=12, ge=2, le=MAX_VARIABLES)
    sparse: bool = False
