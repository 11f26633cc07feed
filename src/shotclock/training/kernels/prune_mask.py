"""K2 `prune_mask`: which units of a layer to keep, at a price that keeps the target share.

With c the gates of n units (1 keeps, 0 removes), g and H the gradient and Gauss–Newton curvature of the
cross-entropy to them, and a step D_i = 1 − 2c_i to the other side of each gate,

    ΔL(b) ≈ Σ g_i D_i b_i + ½ Σ_ij D_i H_ij D_j b_i b_j,

second-order pruning (LeCun, Denker and Solla, Optimal Brain Damage, NIPS 1989; Hassibi and Stork, Optimal
Brain Surgeon, NIPS 1992) with the off-diagonal terms kept and many units at once. On an open layer D = −1
everywhere. A price on each kept unit makes the target number the optimum (see `price`).
A removed unit can return, so a network that continues to train keeps its share but may keep other units.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from shotclock.domain.delta import Delta, Proposal
from shotclock.domain.errors import SettingsError
from shotclock.domain.subproblem import Bits, Float64s, Subproblem
from shotclock.training.kernels.curvature import gauss_newton, slope
from shotclock.training.kernels.price import UnitPrice, price_of
from shotclock.training.kernels.stateful import Turns
from shotclock.training.kernels.surrogate import Quadratic
from shotclock.training.kernels.to_host import to_host
from shotclock.training.layers.parameters import check_model
from shotclock.training.layers.unit_gate import UnitGate

CURVATURE_BATCH = 512


@dataclass(frozen=True, slots=True, eq=False)
class _Units:
    """Gates of one layer.

    layer: the layer's name.
    indices: the gates, (n,).
    target: each gate's value when chosen, (n,) of 0 and 1.
    batch: the samples to take gradient and curvature on.
    """

    layer: str
    indices: NDArray[np.int64]
    target: Tensor
    batch: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class _Priced:
    """The units and the price of keeping one."""

    units: _Units
    price: UnitPrice


class PruneMask(Turns):
    """The kernel over every Gate of a model.

    inputs, targets: the training set, shapes (N, features) and (N,); each proposal takes gradient and
        curvature on 512 of its samples.
    n: units per subproblem.
    seed: of the sampling.
    keep: the share of units to keep.
    Raises SettingsError on a model without a Gate, or with a Gate of fewer than n units.
    """

    name = "prune_mask"
    loss_check = False

    def __init__(
        self, model: nn.Module, inputs: Tensor, targets: Tensor, n: int, seed: int, keep: float = 0.5
    ) -> None:
        super().__init__(seed)
        check_model(model)
        self._model = model
        self._inputs = inputs
        self._targets = targets
        self._n = n
        self._keep_count = min(n - 1, max(1, round(keep * n)))
        self._gates = {name: module for name, module in model.named_modules() if isinstance(module, UnitGate)}
        if not self._gates:
            raise SettingsError(
                "kernel.name: 'prune_mask' needs a model with UnitGate layers, and it has none; put "
                "`UnitGate(units)` after a hidden layer, or set kernel.name"
            )
        smallest = min(gate.open.numel() for gate in self._gates.values())
        if smallest < n:
            raise SettingsError(f"kernel.n: must be at most the smallest layer's {smallest} units (got {n})")

    def propose(self, base_version: int, budget_ns: int) -> Proposal:
        """See `Kernel.propose`: n units of the next layer."""
        name = list(self._gates)[self._turn % len(self._gates)]
        self._turn += 1
        gates = self._gates[name].open.detach()
        indices = np.sort(self._rng.permutation(gates.numel())[: self._n])
        batch = torch.from_numpy(self._rng.permutation(len(self._targets))[:CURVATURE_BATCH])
        current = gates[torch.from_numpy(indices).to(gates.device)]
        units = _Units(name, indices, 1.0 - current, batch.to(self._targets.device))
        change, steps = self._change(units)
        base = (steps < 0).astype(np.uint8)
        # The same function of the units kept, y = base ⊕ b.
        price = price_of(change.reflect(base), self._keep_count)
        priced = price.add_to(change, steps, int(base.sum()) - self._keep_count)
        request_id = f"{self.name}-{self._turn}"
        return Proposal(
            priced.subproblem(self.name, request_id, base_version, budget_ns), _Priced(units, price)
        )

    def rebuild(self, proposal: Proposal, version: int) -> Subproblem:
        """See `Kernel.rebuild`, at the price of the proposal."""
        priced = _read_context(proposal)
        change, steps = self._change(priced.units)
        current_count = int((to_host(self._current_gates(priced.units))[0]).sum())
        total = priced.price.add_to(change, steps, current_count - self._keep_count)
        return total.rebuild_subproblem(proposal.subproblem, version)

    def delta(self, proposal: Proposal, bits: Bits, version: int) -> Delta:
        """See `Kernel.delta`."""
        units = _read_context(proposal).units
        (steps,) = to_host(units.target - self._current_gates(units))
        chosen = bits.astype(bool) & (steps != 0.0)
        return Delta(version, f"{units.layer}.open", units.indices[chosen], steps[chosen].astype(np.float32))

    def _current_gates(self, units: _Units) -> Tensor:
        """The present values of the units' gates, (n,)."""
        gates = self._gates[units.layer].open.detach()
        return gates[torch.from_numpy(units.indices).to(gates.device)]

    def _change(self, units: _Units) -> tuple[Quadratic, Float64s]:
        """ΔL(b) of the present model, without a price, and the steps D, shape (n,)."""
        inputs, targets = self._inputs[units.batch], self._targets[units.batch]
        name = f"{units.layer}.open"
        steps = units.target - self._current_gates(units)
        at = torch.from_numpy(units.indices).to(steps.device)
        gradient = slope(self._model, name, inputs, targets)[at]
        curvature = gauss_newton(self._model, name, at, steps, inputs)
        square, linear, moves = to_host(0.5 * curvature, gradient * steps, steps)
        return Quadratic(square, linear), moves


def _read_context(proposal: Proposal) -> _Priced:
    if not isinstance(proposal.context, _Priced):
        raise TypeError(f"not a proposal of prune_mask: {type(proposal.context).__name__}")
    return proposal.context
