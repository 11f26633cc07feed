"""Changes to a model, tied to the version they were computed on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shotclock.domain.subproblem import Subproblem


@dataclass(frozen=True, slots=True, eq=False)
class Delta:
    """Add `values` at flat `indices` of one named parameter; both of shape (k,)."""

    base_version: int
    parameter: str
    indices: NDArray[np.int64]
    values: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Proposal:
    """A subproblem and what its kernel needs to turn bits into a delta; `context` is the kernel's own."""

    subproblem: Subproblem
    context: object
