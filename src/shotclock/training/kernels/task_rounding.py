"""K1 by the task's loss, `task_rounding`: which weights of a rounded layer take their other level.

AdaRound (arXiv 2004.10568) derives `rounding` from the task's loss: with D_i the step of weight i to the
other of its two levels, and g and H the gradient and Gauss–Newton curvature of the cross-entropy (see
`curvature`),

    ΔL(b) ≈ Σ g_i D_i b_i + ½ Σ_ij D_i H_ij D_j b_i b_j.

At the end of training g is 0, and `rounding` replaces H by a layer's own loss. After rounding, and while
biases train on, g is not 0, and a layer's own loss would undo what the biases have learnt.
Candidates are the n weights of a layer with the lowest g_i·D_i, layers in turn.
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
from shotclock.training.layers.rounded import RoundedLinear


@dataclass(frozen=True, slots=True, eq=False)
class _Weights:
    """Weights of one layer that may move.

    layer: the layer's name.
    indices: the weights, (n,).
    target: each weight's value when chosen, (n,).
    batch: the samples to take gradient and curvature on.
    """

    layer: str
    indices: NDArray[np.int64]
    target: Tensor
    batch: Tensor


class TaskRounding(TaskLoss[RoundedLinear]):
    """The kernel over every RoundedLinear of a model.

    inputs, targets: the training set, shapes (N, features) and (N,); each proposal takes gradient and
        curvature on 512 of its samples.
    n: weights per subproblem.
    seed: of the sampling.
    Raises SettingsError on a model without a RoundedLinear, or with one of fewer than n weights.
    """

    name = "task_rounding"
    parameter = "weight"
    fitting = "call `round_layers(model, bits=2)`, or set kernel.name"

    def __init__(self, model: nn.Module, inputs: Tensor, targets: Tensor, n: int, seed: int) -> None:
        super().__init__(model, RoundedLinear, inputs, targets, n, seed)

    def propose(self, base_version: int, budget_ns: int) -> Proposal:
        """See `Kernel.propose`: n weights of the next layer."""
        name, batch = self._begin_turn()
        layer = self._layers[name]
        steps, gradient = layer.steps_to_other_level(), self._gradient(name, batch)
        lowest = torch.topk(-(gradient * steps).flatten(), self._n).indices.sort().values
        target = (layer.weight.detach() + steps).flatten()[lowest]
        weights = _Weights(name, lowest.cpu().numpy(), target, batch)
        request_id = f"{self.name}-{self._turn}"
        change = self._change(weights, gradient)
        return Proposal(change.subproblem(self.name, request_id, base_version, budget_ns), weights)

    def rebuild(self, proposal: Proposal, version: int) -> Subproblem:
        """See `Kernel.rebuild`: a weight that has reached its target meanwhile has no step left."""
        weights = _read_context(proposal)
        gradient = self._gradient(weights.layer, weights.batch)
        return self._change(weights, gradient).rebuild_subproblem(proposal.subproblem, version)

    def delta(self, proposal: Proposal, bits: Bits, version: int) -> Delta:
        """See `Kernel.delta`."""
        weights = _read_context(proposal)
        (steps,) = to_host(self._find_steps(weights))
        chosen = bits.astype(bool) & (steps != 0.0)
        return Delta(
            version, f"{weights.layer}.weight", weights.indices[chosen], steps[chosen].astype(np.float32)
        )

    def _find_steps(self, weights: _Weights) -> Tensor:
        """What is left of each weight's step, (n,); exactly 0 at the target, whatever the rounding error."""
        layer = self._layers[weights.layer]
        at = torch.from_numpy(weights.indices).to(layer.weight.device)
        steps = weights.target - layer.weight.detach().flatten()[at]
        row_scale = layer.scale[at // layer.weight.shape[1]]
        return torch.where(steps.abs() < 0.5 * row_scale, 0.0, steps)

    def _change(self, weights: _Weights, gradient: Tensor) -> Quadratic:
        """ΔL(b) of the present model."""
        steps = self._find_steps(weights)
        return self._quadratic(weights.layer, weights.indices, steps, gradient, weights.batch)


def _read_context(proposal: Proposal) -> _Weights:
    if not isinstance(proposal.context, _Weights):
        raise TypeError(f"not a proposal of task_rounding: {type(proposal.context).__name__}")
    return proposal.context
