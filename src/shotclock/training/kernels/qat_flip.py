"""K3 `qat_flip`: move several ternary weights by one level at once, accounting for the loss's curvature.

Candidates are n weights sampled from the 8n of largest |g|·s in one layer, layers in turn. With step
D_i = −sign(g_i)·s along each and H the Gauss–Newton curvature of the loss (see `curvature`),

    ΔL(b) ≈ Σ g_i D_i b_i + ½ Σ_ij D_i H_ij D_j b_i b_j,

so Q = ½·DHD off the diagonal and q = ½·diag(DHD) + g∘D.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from shotclock.domain.delta import Delta, Proposal
from shotclock.domain.subproblem import Bits, Subproblem
from shotclock.training.kernels.surrogate import Quadratic
from shotclock.training.kernels.task_loss import TaskLoss
from shotclock.training.kernels.to_host import to_host
from shotclock.training.layers.ternary import TernaryLinear

POOL_FACTOR = 8


@dataclass(frozen=True, slots=True, eq=False)
class _Flips:
    """Weights that may move.

    layer: the layer's name.
    indices: the weights, (n,).
    levels: their levels when proposed, (n,).
    directions: of the move, (n,) of ±1.
    batch: the samples to take gradient and curvature on.
    """

    layer: str
    indices: NDArray[np.int64]
    levels: Tensor
    directions: Tensor
    batch: Tensor


class QatFlip(TaskLoss[TernaryLinear]):
    """The kernel over every TernaryLinear of a model.

    inputs, targets: the training set, shapes (N, features) and (N,); each proposal takes gradient and
        curvature on 512 of its samples.
    n: weights per subproblem.
    seed: of the sampling.
    Raises SettingsError on a model without a TernaryLinear, or with one of fewer than n weights.
    """

    name = "qat_flip"
    parameter = "latent"
    fitting = (
        "call `round_layers(model, bits=2)` and set kernel.name to 'task_rounding', or build it with them"
    )

    def __init__(self, model: nn.Module, inputs: Tensor, targets: Tensor, n: int, seed: int) -> None:
        super().__init__(model, TernaryLinear, inputs, targets, n, seed)

    def propose(self, base_version: int, budget_ns: int) -> Proposal:
        """See `Kernel.propose`."""
        name, batch = self._begin_turn()
        gradient = self._gradient(name, batch)
        flips = self._choose(name, gradient, batch)
        change = self._change(flips, gradient)
        request_id = f"{self.name}-{self._turn}"
        return Proposal(change.subproblem(self.name, request_id, base_version, budget_ns), flips)

    def rebuild(self, proposal: Proposal, version: int) -> Subproblem:
        """See `Kernel.rebuild`: the same weights and directions with the present gradient and curvature."""
        flips = _flips(proposal)
        gradient = self._gradient(flips.layer, flips.batch)
        return self._change(flips, gradient).rebuild_subproblem(proposal.subproblem, version)

    def delta(self, proposal: Proposal, bits: Bits, version: int) -> Delta:
        """See `Kernel.delta`: moves each chosen weight to the centre of its new level."""
        flips = _flips(proposal)
        layer = self._layers[flips.layer]
        at = torch.from_numpy(flips.indices).to(layer.latent.device)
        moves = self._moves(flips)
        goal = (layer.levels().flatten()[at] + moves) * layer.cell
        values, movable = to_host(goal - layer.latent.detach().flatten()[at], moves)
        chosen = bits.astype(bool) & (movable != 0.0)
        return Delta(
            version, f"{flips.layer}.latent", flips.indices[chosen], values[chosen].astype(np.float32)
        )

    def _choose(self, name: str, gradient: Tensor, batch: Tensor) -> _Flips:
        layer = self._layers[name]
        moved = layer.levels() - gradient.sign()
        weight = torch.where((moved.abs() <= 1) & (gradient != 0), gradient.abs(), -1.0).flatten()
        count = min(POOL_FACTOR * self._n, weight.numel())
        pool = torch.topk(weight, count).indices.cpu().numpy()
        indices = np.sort(self._rng.choice(pool, size=self._n, replace=False)).astype(np.int64)
        at = torch.from_numpy(indices).to(gradient.device)
        directions = -gradient.flatten()[at].sign()
        return _Flips(name, indices, layer.levels().flatten()[at], directions, batch)

    def _moves(self, flips: _Flips) -> Tensor:
        """The directions, 0 for a weight that has changed its level since the proposal; shape (n,)."""
        levels = self._layers[flips.layer].levels().flatten()
        current = levels[torch.from_numpy(flips.indices).to(levels.device)]
        return torch.where(current == flips.levels, flips.directions, 0.0)

    def _change(self, flips: _Flips, gradient: Tensor) -> Quadratic:
        """ΔL(b) of the present model."""
        steps = self._moves(flips) * self._layers[flips.layer].scale.detach()
        return self._quadratic(flips.layer, flips.indices, steps, gradient, flips.batch)


def _flips(proposal: Proposal) -> _Flips:
    if not isinstance(proposal.context, _Flips):
        raise TypeError(f"not a proposal of qat_flip: {type(proposal.context).__name__}")
    return proposal.context
