"""K3 `qat_flip`: move a few ternary weights by one level at once, where the loss's curvature agrees.

Candidates are n weights sampled from the 8n of largest |g|·s in one layer, a layer in turn. With step
D_i = −sign(g_i)·s along each and H the Gauss–Newton curvature of the loss,

    ΔL(b) ≈ Σ g_i D_i b_i + ½ Σ_ij D_i H_ij D_j b_i b_j,

so Q = ½·DHD off the diagonal and q = ½·diag(DHD) + g∘D. DHD comes from n Jacobian–vector products
t_i = J·(D_i e_i) of the logits: DHD_ij = E[t_iᵀ (diag p − p pᵀ) t_j], p the softmax
(Schraudolph 2002, doi 10.1162/08997660260028683).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call, jvp, vmap

from shotclock.domain.delta import Delta, Proposal
from shotclock.domain.errors import SettingsError
from shotclock.domain.subproblem import Bits, Subproblem
from shotclock.training.ternary import TernaryLinear

POOL_FACTOR = 8
CURVATURE_BATCH = 512


@dataclass(frozen=True, slots=True, eq=False)
class _Flips:
    """Which weights may move and which way: flat indices (n,), directions (n,) of ±1; on which samples."""

    layer: str
    indices: NDArray[np.int64]
    directions: NDArray[np.int64]
    batch: Tensor


class QatFlip:
    """The kernel over every TernaryLinear of a model.

    inputs, targets: the training set, shapes (N, features) and (N,); each proposal's gradient and
    curvature are taken on 512 samples of it. seed: of the sampling.
    """

    name = "qat_flip"

    def __init__(self, model: nn.Module, inputs: Tensor, targets: Tensor, n: int, seed: int) -> None:
        self._model = model
        self._inputs = inputs
        self._targets = targets
        self._n = n
        self._rng = np.random.default_rng(seed)
        self._layers = {
            name: module for name, module in model.named_modules() if isinstance(module, TernaryLinear)
        }
        self._turn = 0
        self._asked = 0
        if not self._layers:
            raise SettingsError(
                "kernel.name: 'qat_flip' needs a model with TernaryLinear layers; it has none"
            )
        smallest = min(layer.latent.numel() for layer in self._layers.values())
        if smallest < n:
            raise SettingsError(f"kernel.n: {n} is more than the smallest layer's {smallest} weights")

    def propose(self, base_version: int, budget_ns: int) -> Proposal:
        """See `Kernel.propose`."""
        name = list(self._layers)[self._turn % len(self._layers)]
        self._turn += 1
        samples = self._rng.permutation(len(self._targets))[:CURVATURE_BATCH]
        batch = torch.from_numpy(samples)
        gradient = self._gradient(name, batch)
        flips = self._choose(name, gradient, batch)
        self._asked += 1
        return Proposal(self._surrogate(flips, gradient, base_version, budget_ns), flips)

    def rebuild(self, proposal: Proposal, version: int) -> Subproblem:
        """See `Kernel.rebuild`: the same weights and directions, gradient and curvature of now."""
        flips = _flips(proposal)
        return self._surrogate(
            flips, self._gradient(flips.layer, flips.batch), version, proposal.subproblem.budget_ns
        )

    def delta(self, proposal: Proposal, bits: Bits, version: int) -> Delta:
        """See `Kernel.delta`: each chosen weight goes to the centre of its new level."""
        flips = _flips(proposal)
        layer = self._layers[flips.layer]
        chosen = bits.astype(bool) & self._movable(flips)
        indices = flips.indices[chosen]
        latent = layer.latent.detach().flatten()[torch.from_numpy(indices)]
        levels = layer.levels().flatten()[torch.from_numpy(indices)]
        goal = (levels + torch.from_numpy(flips.directions[chosen])) * layer.cell
        values: NDArray[np.float32] = (goal - latent).to(torch.float32).cpu().numpy()
        return Delta(version, f"{flips.layer}.latent", indices, values)

    def _choose(self, name: str, gradient: Tensor, batch: Tensor) -> _Flips:
        layer = self._layers[name]
        moved = layer.levels() - gradient.sign()
        weight = torch.where((moved.abs() <= 1) & (gradient != 0), gradient.abs(), -1.0).flatten()
        count = min(POOL_FACTOR * self._n, weight.numel())
        pool = torch.topk(weight, count).indices.cpu().numpy()
        indices = np.sort(self._rng.choice(pool, size=self._n, replace=False))
        directions = -gradient.flatten()[torch.from_numpy(indices)].sign().to(torch.int64).cpu().numpy()
        return _Flips(name, indices.astype(np.int64), directions, batch)

    def _movable(self, flips: _Flips) -> NDArray[np.bool_]:
        """Which directions still lead to a level that exists."""
        levels = self._layers[flips.layer].levels().flatten()[torch.from_numpy(flips.indices)].cpu().numpy()
        movable: NDArray[np.bool_] = (np.abs(levels + flips.directions) <= 1) & (flips.directions != 0)
        return movable

    def _surrogate(self, flips: _Flips, gradient: Tensor, version: int, budget_ns: int) -> Subproblem:
        scale = float(self._layers[flips.layer].scale.detach())
        steps: NDArray[np.float64] = (flips.directions * self._movable(flips)).astype(np.float64) * scale
        curvature = self._curvature(flips, steps)
        slope = gradient.flatten()[torch.from_numpy(flips.indices)].to(torch.float64).cpu().numpy()
        quadratic = (curvature + curvature.T) / 4.0
        np.fill_diagonal(quadratic, 0.0)
        linear = 0.5 * np.diagonal(curvature) + slope * steps
        return Subproblem(
            quadratic,
            linear,
            kind=self.name,
            request_id=f"{self.name}-{self._asked}",
            base_version=version,
            budget_ns=budget_ns,
        )

    def _gradient(self, name: str, batch: Tensor) -> Tensor:
        loss = nn.functional.cross_entropy(self._model(self._inputs[batch]), self._targets[batch])
        (gradient,) = torch.autograd.grad(loss, self._layers[name].latent)
        return gradient

    @torch.no_grad()
    def _curvature(self, flips: _Flips, steps: NDArray[np.float64]) -> NDArray[np.float64]:
        latent = self._layers[flips.layer].latent
        tangents = torch.zeros((len(steps), latent.numel()), dtype=latent.dtype, device=latent.device)
        rows = torch.arange(len(steps), device=latent.device)
        columns = torch.from_numpy(flips.indices).to(latent.device)
        tangents[rows, columns] = torch.from_numpy(steps).to(latent)

        inputs = self._inputs[flips.batch]

        def logits(weight: Tensor) -> Tensor:
            out: Tensor = functional_call(self._model, {f"{flips.layer}.latent": weight}, (inputs,))
            return out

        def push(tangent: Tensor) -> Tensor:
            pushed: Tensor = jvp(logits, (latent.detach(),), (tangent.view_as(latent),))[1]
            return pushed

        pushed = vmap(push)(tangents)
        p = self._model(inputs).softmax(dim=1)
        weighted = pushed * p
        mean = weighted.sum(dim=2)
        flat = len(steps), -1
        curvature = weighted.reshape(flat) @ pushed.reshape(flat).T - mean @ mean.T
        found: NDArray[np.float64] = (curvature / p.shape[0]).to(torch.float64).cpu().numpy()
        return found


def _flips(proposal: Proposal) -> _Flips:
    if not isinstance(proposal.context, _Flips):
        raise TypeError(f"not a proposal of qat_flip: {type(proposal.context).__name__}")
    return proposal.context
