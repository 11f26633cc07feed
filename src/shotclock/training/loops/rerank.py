"""`digits-rerank`, an inference workload: for a query image, k diverse images of its n nearest.

A step serves one request: it scores the images shown and moves to the next request. Without an answer by its
budget (`BUDGET_MS`) a request shows its k most relevant candidates; a later answer is discarded.
"""

from __future__ import annotations

import torch
from torch import Tensor

from shotclock.domain.delta import Delta
from shotclock.domain.errors import SettingsError
from shotclock.domain.ports import Kernel
from shotclock.training.kernels.diverse_rerank import DiverseRerank, Request
from shotclock.training.loops.digits_mlp import digits

BUDGET_MS = 50.0
"""How long one request may wait, assumed: half of the 100 ms within which a response feels instant."""

SHOWN = "shown"
CANDIDATES, PICKED, REDUNDANCY = 16, 5, 0.5


class DigitsRerank:
    """See `Workload`; the stream of queries comes from the seed.

    The loss of a request is −(Σ relevance − μ Σ similarity) ÷ k over the items shown, both cosines of
    centred images, negative similarities counted as none.
    """

    name = "digits-rerank"
    kernel_name = DiverseRerank.name
    kernel_every = 1
    request_budget_ms = BUDGET_MS
    samples_per_step = 1

    def __init__(self, seed: int, candidates: int = CANDIDATES, device: str = "cpu") -> None:
        split = digits()
        centre = split.train_x.mean(dim=0)
        self._images = torch.nn.functional.normalize(split.train_x - centre, dim=1).to(device)
        self._queries = torch.nn.functional.normalize(split.held_x - centre, dim=1).to(device)
        self._order = torch.Generator().manual_seed(seed)
        self._candidates = candidates
        self._losses: list[float] = []
        self._request = self._next_request(0)

    def current(self) -> Request:
        """See `Requests.current`."""
        return self._request

    def step(self) -> float:
        """See `Workload.step`: serves the request and returns its loss."""
        loss = self._loss(self._request.shown)
        self._losses.append(loss)
        self._request = self._next_request(self._request.number + 1)
        return loss

    def evaluate(self) -> float:
        """See `Workload.evaluate`: mean loss of the requests served, or the loss of the first before any."""
        served = self._losses or [self._loss(self._request.shown)]
        return sum(served) / len(served)

    def probe(self, delta: Delta) -> float:
        """See `Workload.probe`, on the present request."""
        return self._loss(self._apply_delta(delta)) - self._loss(self._request.shown)

    def apply(self, delta: Delta) -> None:
        """See `Workload.apply`."""
        self._request.shown.copy_(self._apply_delta(delta))

    def kernel(self, name: str, n: int) -> Kernel:
        """See `Workload.kernel`; requests have n candidates from now on."""
        if name != DiverseRerank.name:
            raise SettingsError(
                f"kernel.name: workload '{self.name}' has no kernel '{name}'; known: {DiverseRerank.name}"
            )
        kernel = DiverseRerank(self, n, min(PICKED, n - 1), REDUNDANCY, SHOWN)
        if n != self._candidates:
            self._candidates = n
            self._request = self._next_request(self._request.number)
        return kernel

    def _next_request(self, number: int) -> Request:
        query = self._queries[int(torch.randint(len(self._queries), (1,), generator=self._order))]
        relevance, at = torch.topk(self._images @ query, self._candidates)
        similarity = (self._images[at] @ self._images[at].T).clamp(min=0.0)
        similarity.fill_diagonal_(0.0)
        shown = torch.zeros_like(relevance)
        shown[: min(PICKED, self._candidates - 1)] = 1.0
        return Request(number, relevance, similarity, shown)

    def _apply_delta(self, delta: Delta) -> Tensor:
        shown = self._request.shown.clone()
        shown[torch.from_numpy(delta.indices).to(shown.device)] += torch.from_numpy(delta.values).to(shown)
        return shown

    def _loss(self, shown: Tensor) -> float:
        request = self._request
        redundancy = 0.5 * shown @ request.similarity @ shown
        return -float((request.relevance @ shown - REDUNDANCY * redundancy) / shown.sum())


def build(seed: int) -> DigitsRerank:
    """The entry point: a fresh stream of this seed."""
    return DigitsRerank(seed)
