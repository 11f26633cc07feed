"""Leaves out the terms of a kernel's subproblems that lie on no coupling of a device.

What is left runs natively, in a depth that does not grow with n (`circuits.native`). With m greedy's answer
and x the bits that differ from it, the dense surrogate is

    E(x) = E(m) + Σ l_i x_i + Σ_{i<j} q_ij x_i x_j,

and the sparsified one has the q_ij on couplings alone: it is exact for every change of a single bit of m, and
of two bits that are coupled. Variables are placed one after another, next to those with which they have the
largest terms. The error is given over the x that a warm-started circuit draws, each bit 1 with probability
1/4: the standard deviation of what is left out, divided by that of E.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shotclock.domain.delta import Delta, Proposal
from shotclock.domain.ports import Kernel, Solver
from shotclock.domain.subproblem import Bits, Float64s, Subproblem
from shotclock.training.kernels.stateful import Stateful

FLIPPED = 0.25
"""The warm start's probability that a bit differs from greedy's (see `circuits.angles`)."""

Order = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class _Placed:
    """inner: the kernel's own proposal; order: its variable at each place, (n,)."""

    inner: Proposal
    order: Order


class Sparsified:
    """The same kernel with sparse subproblems; as these are not exact, answers must lower the task's loss.

    couplings: pairs of places, each i < j, that the device couples.
    greedy: the solver whose answer the surrogate is expanded about.
    """

    loss_check = True

    def __init__(self, kernel: Kernel, couplings: Iterable[tuple[int, int]], greedy: Solver) -> None:
        self.name = kernel.name
        self._kernel = kernel
        self._couplings = tuple(couplings)
        self._greedy = greedy

    def propose(self, base_version: int, budget_ns: int) -> Proposal:
        """See `Kernel.propose`."""
        inner = self._kernel.propose(base_version, budget_ns)
        order = place(np.abs(inner.subproblem.quadratic), self._couplings)
        dense = _reorder(inner.subproblem, order)
        sparse, error = self._sparsify(dense)
        return Proposal(sparse, _Placed(inner, order), dense, error)

    def rebuild(self, proposal: Proposal, version: int) -> Subproblem:
        """See `Kernel.rebuild`; expanded about greedy's present answer."""
        placed = _read_context(proposal)
        return self._sparsify(_reorder(self._kernel.rebuild(placed.inner, version), placed.order))[0]

    def delta(self, proposal: Proposal, bits: Bits, version: int) -> Delta:
        """See `Kernel.delta`."""
        placed = _read_context(proposal)
        own = np.empty_like(bits)
        own[placed.order] = bits
        return self._kernel.delta(placed.inner, own, version)

    def state_dict(self) -> dict[str, Any]:
        """See `Stateful`; the wrapped kernel's."""
        return self._kernel.state_dict() if isinstance(self._kernel, Stateful) else {}

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        """See `Stateful`."""
        if isinstance(self._kernel, Stateful):
            self._kernel.load_state_dict(state)

    def _sparsify(self, dense: Subproblem) -> tuple[Subproblem, float]:
        return sparsify(dense, self._couplings, self._greedy.solve(dense))


def sparsify(
    dense: Subproblem, couplings: Iterable[tuple[int, int]], about: Bits
) -> tuple[Subproblem, float]:
    """The subproblem with terms on these pairs alone, expanded about these bits, and its relative error."""
    is_coupled = np.zeros(dense.quadratic.shape, bool)
    for i, j in couplings:
        is_coupled[i, j] = is_coupled[j, i] = True
    left_out = np.where(is_coupled, 0.0, dense.quadratic)
    base = about.astype(np.float64)
    sparse = replace(
        dense,
        quadratic=np.where(is_coupled, dense.quadratic, 0.0),
        linear=dense.linear + 2.0 * left_out @ base,
        offset=dense.offset - float(base @ left_out @ base),
    )
    sign = 1.0 - 2.0 * base
    linear = sign * (dense.linear + 2.0 * dense.quadratic @ base)
    flips = 2.0 * sign[:, None] * sign
    whole = _deviation(linear, flips * dense.quadratic)
    return sparse, _deviation(np.zeros(dense.n), flips * left_out) / whole if whole > 0.0 else 0.0


def _deviation(linear: Float64s, pairs: Float64s) -> float:
    """Standard deviation of Σ l_i x_i + Σ_{i<j} q_ij x_i x_j over independent x; q symmetric, diagonal 0."""
    variance = FLIPPED * (1.0 - FLIPPED)
    single = linear + FLIPPED * pairs.sum(axis=1)
    both = 0.5 * float(np.square(pairs).sum())
    return float(np.sqrt(variance * float(single @ single) + variance**2 * both))


def place(strength: Float64s, couplings: Iterable[tuple[int, int]]) -> Order:
    """The variable at each place, (n,): strong terms, (n, n) of at least 0, on couplings where it can.

    Place after place along the couplings: the variable left with the largest sum of terms with those on
    coupled places.
    """
    n = len(strength)
    near: list[list[int]] = [[] for _ in range(n)]
    for i, j in couplings:
        near[i].append(j)
        near[j].append(i)
    order, is_left = np.full(n, -1, np.int64), np.ones(n, bool)
    for at in _walk(near):
        beside = [order[other] for other in near[at] if order[other] >= 0]
        score = strength[beside].sum(axis=0) if beside else strength.max(axis=1)
        order[at] = int(np.argmax(np.where(is_left, score, -1.0)))
        is_left[order[at]] = False
    return order


def _walk(near: list[list[int]]) -> list[int]:
    """Every place, breadth first along the couplings."""
    walk, visited = list[int](), set[int]()
    for start in range(len(near)):
        waiting = [start]
        while waiting:
            at = waiting.pop(0)
            if at not in visited:
                visited.add(at)
                walk.append(at)
                waiting.extend(near[at])
    return walk


def _reorder(subproblem: Subproblem, order: Order) -> Subproblem:
    return replace(
        subproblem,
        quadratic=subproblem.quadratic[np.ix_(order, order)],
        linear=subproblem.linear[order],
    )


def _read_context(proposal: Proposal) -> _Placed:
    if not isinstance(proposal.context, _Placed):
        raise TypeError(f"not a proposal of a sparsified kernel: {type(proposal.context).__name__}")
    return proposal.context
