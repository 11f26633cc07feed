"""`diverse_rerank`: which k of n candidates to show for one request, by relevance less redundancy.

With r the relevance and s_ij ≥ 0 the similarity of candidates, showing the set y costs

    E(y) = −Σ r_i y_i + μ Σ_{i<j} s_ij y_i y_j,

the objective of maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998, doi 10.1145/290941.291025)
over the whole set instead of item by item; a price on each item makes k items the optimum (see `price`). The
bits are flips of what would be shown without an answer, the k most relevant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor

from shotclock.domain.delta import Delta, Proposal
from shotclock.domain.errors import SettingsError
from shotclock.domain.subproblem import Bits, Float64s, Subproblem
from shotclock.training.kernels.price import UnitPrice, price_of, resize
from shotclock.training.kernels.surrogate import Quadratic
from shotclock.training.kernels.to_host import to_host


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """One request.

    number: its position in the stream; an answer applies only to the request of its number.
    relevance: r, (n,).
    similarity: s, (n, n), with a zero diagonal.
    shown: which candidates are shown, (n,) of 0 and 1.
    """

    number: int
    relevance: Tensor
    similarity: Tensor
    shown: Tensor


class Requests(Protocol):
    """Where requests come from."""

    def current(self) -> Request:
        """The request that is served next, with what would be shown for it now."""


@dataclass(frozen=True, slots=True, eq=False)
class _Selection:
    """What a proposal's answer refers to.

    number: the request's number.
    objective: E(y), without the price.
    base: what would be shown without an answer, (n,).
    price: the price on each item.
    """

    number: int
    objective: Quadratic
    base: Bits
    price: UnitPrice


class DiverseRerank:
    """The kernel over a stream of requests; k of n candidates are shown for each.

    redundancy: μ.
    parameter: the parameter name in its deltas.
    Raises SettingsError unless 1 ≤ k < n and μ ≥ 0.
    """

    name = "diverse_rerank"
    loss_check = True

    def __init__(self, requests: Requests, n: int, k: int, redundancy: float, parameter: str) -> None:
        if not 1 <= k < n:
            raise SettingsError(f"kernel.n: must be more than the {k} candidates shown (got {n})")
        if redundancy < 0:
            raise SettingsError(f"redundancy: must be at least 0 (got {redundancy})")
        self._requests = requests
        self._k = k
        self._redundancy = redundancy
        self._parameter = parameter

    def propose(self, base_version: int, budget_ns: int) -> Proposal:
        """See `Kernel.propose`: the request that is served next."""
        request = self._requests.current()
        relevance, similarity, shown = to_host(request.relevance, request.similarity, request.shown)
        objective = Quadratic(0.5 * self._redundancy * similarity, -relevance)
        base = shown.astype(np.uint8)
        selection = _Selection(request.number, objective, base, price_of(objective, self._k))
        request_id = f"{self.name}-{request.number}"
        flips = self._flips(selection)
        return Proposal(flips.subproblem(self.name, request_id, base_version, budget_ns), selection)

    def rebuild(self, proposal: Proposal, version: int) -> Subproblem:
        """See `Kernel.rebuild`: a request does not change; `delta` checks whether it has been served."""
        return self._flips(_read_context(proposal)).rebuild_subproblem(proposal.subproblem, version)

    def delta(self, proposal: Proposal, bits: Bits, version: int) -> Delta:
        """See `Kernel.delta`: resized to k items if necessary; empty once the request was served."""
        selection, request = _read_context(proposal), self._requests.current()
        (shown,) = to_host(request.shown)
        chosen = resize(selection.objective, selection.base ^ bits, self._k)
        change = chosen - shown if request.number == selection.number else np.zeros_like(shown)
        indices = np.flatnonzero(change)
        return Delta(version, self._parameter, indices, change[indices].astype(np.float32))

    def _flips(self, selection: _Selection) -> Quadratic:
        base = selection.base
        steps: Float64s = 1.0 - 2.0 * base.astype(np.float64)
        return selection.price.add_to(selection.objective.reflect(base), steps, float(base.sum()) - self._k)


def _read_context(proposal: Proposal) -> _Selection:
    if not isinstance(proposal.context, _Selection):
        raise TypeError(f"not a proposal of diverse_rerank: {type(proposal.context).__name__}")
    return proposal.context
