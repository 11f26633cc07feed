"""`[kernel]`: which subproblems, how large, how often."""

from __future__ import annotations

from pydantic import (
    Field,
)

from shotclock.domain.subproblem import MAX_VARIABLES
from shotclock.settings.branch import Branch


class KernelSettings(Branch):
    """What training asks for.

    name: of a kernel, or "module:factory"; where it is not set, it follows the workload.
    every: steps between two calls.
    n: variables of a subproblem, at most the device's qubits.
    """

    name: str = "task_rounding"
    every: int = Field(default=5, ge=1)
    n: int = Field(default=12, ge=2, le=MAX_VARIABLES)
