"""`diverse_rerank`: which k of n candidates to show for one request, by relevance less redundancy.

With r the relevance and s_ij ≥ 0 the similarity of candidates, showing the set y costs

    E(y) = −Σ r_i y_i + μ Σ_{i<j} s_ij y_i y_j,

the objective of maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998, doi 10.1145/290941.291025)
taken over the whole set instead of item by item; a price on each item makes k of them the optimum (see
`price`). The bits are flips of what would be shown without an answer, the k most relevant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor

from shotclock.domain.delta import Delta, Proposal
from shotclock.domain.errors import SettingsError
from shotclock.domain.subproblem import Bits, Float64s, Subproblem
from shotclock.training.kernels.price import Price, price_of, resize
from shotclock.training.kernels.surrogate import Quadratic
from shotclock.training.kernels.to_host import to_host


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """One request: relevance r, (n,); similarity s, (n, n) with a zero diagonal; shown: 0 and 1, (n,).

    number: which request of the stream it is; an answer to another one is of no use.
    """

    number: int
    relevance: Tensor
    similarity: Tensor
    shown: Tensor


class Requests(Protocol):
    """Where requests come from."""

    def current(self) -> Request:
        """The one that is served next, with what would be shown for it now."""


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    number: int
    objective: Quadratic
    base: Bits
    price: Price


class DiverseRerank:
    """The kernel over a stream of requests: k of n candidates are shown for each; redundancy is μ.

    parameter: the name under which a delta reaches what is shown. SettingsError unless 1 ≤ k < n, μ ≥ 0.
    """

    name = "diverse_rerank"
    loss_check = True

    def __init__(self, requests: Requests, n: int, k: int, redundancy: float, parameter: str) -> None:
        if not 1 <= k < n:
            raise SettingsError(f"kernel.n: {n} candidates, of which {k} are shown; wants more candidates")
        if redundancy < 0:
            raise SettingsError(f"redundancy: {redundancy} is negative")
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
        asked = _Asked(request.number, objective, base, price_of(objective, self._k))
        request_id = f"{self.name}-{request.number}"
        return Proposal(self._flips(asked).subproblem(self.name, request_id, base_version, budget_ns), asked)

    def rebuild(self, proposal: Proposal, version: int) -> Subproblem:
        """See `Kernel.rebuild`: a request does not change; that it has been served is told by `delta`."""
        return self._flips(_read_context(proposal)).rebuilt(proposal.subproblem, version)

    def delta(self, proposal: Proposal, bits: Bits, version: int) -> Delta:
        """See `Kernel.delta`: brought to k items where it misses them; empty once the request was served."""
        asked, request = _read_context(proposal), self._requests.current()
        (shown,) = to_host(request.shown)
        wanted = resize(asked.objective, asked.base ^ bits, self._k)
        change = wanted - shown if request.number == asked.number else np.zeros_like(shown)
        indices = np.flatnonzero(change)
        return Delta(version, self._parameter, indices, change[indices].astype(np.float32))

    def _flips(self, asked: _Asked) -> Quadratic:
        steps: Float64s = 1.0 - 2.0 * asked.base.astype(np.float64)
        found = asked.objective.reflect(asked.base)
        return asked.price.on(found, steps, float(asked.base.sum()) - self._k)


def _read_context(proposal: Proposal) -> _Asked:
    if not isinstance(proposal.context, _Asked):
        raise TypeError(f"not a proposal of diverse_rerank: {type(proposal.context).__name__}")
    return proposal.context
