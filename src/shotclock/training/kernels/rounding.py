"""K1 `rounding`: which of its two levels each of n weights of a row takes (AdaRound, arXiv 2004.10568).

A row of a RoundedLinear has the error e = ŵ − w against its full-precision weights and the loss eᵀHe with
H = XᵀX/N + 10⁻⁶·mean(diag XᵀX/N)·I, X the layer's inputs. Moving weight i of a block to its other level
is a step D_i = ±s, hence for the chosen steps b

    E(b) = (e + D∘b)ᵀ H (e + D∘b) = bᵀ(D H D)b + 2(D∘He)·b + eᵀHe,

which is the row's exact loss, not an approximation. Rows of a layer do not interact, so a sweep goes through
all rows with one block of columns: their subproblems are independent, share DHD up to s², and may be solved
at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from shotclock.domain.delta import Delta, Proposal
from shotclock.domain.errors import SettingsError
from shotclock.domain.subproblem import Bits, Subproblem
from shotclock.training.kernels.surrogate import Quadratic
from shotclock.training.kernels.to_host import to_host
from shotclock.training.layers.activations import Activations
from shotclock.training.layers.parameters import check_model
from shotclock.training.layers.rounded import RoundedLinear

DAMPING = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Weights of one row.

    layer: the layer's name.
    row: the row.
    columns: the weights, (n,).
    target: each weight's level when chosen, 0 or 1 above its floor, (n,).
    """

    layer: str
    row: int
    columns: NDArray[np.int64]
    target: Tensor

    def steps(self, layer: RoundedLinear) -> Tensor:
        """The remaining step of each weight to its target, (n,): ±s or 0."""
        columns = torch.from_numpy(self.columns).to(layer.weight.device)
        return (self.target - layer.above_floor(self.row, columns)) * layer.scale[self.row]


class Rounding:
    """The kernel over every RoundedLinear of a model; `seed` orders the columns.

    Raises SettingsError on a model without a RoundedLinear, or with rows shorter than n.
    """

    name = "rounding"
    loss_check = False

    def __init__(self, model: nn.Module, activations: Activations, n: int, seed: int) -> None:
        check_model(model)
        self._activations = activations
        self._n = n
        self._rng = np.random.default_rng(seed)
        self.layers = {
            name: module for name, module in model.named_modules() if isinstance(module, RoundedLinear)
        }
        if not self.layers:
            raise SettingsError(
                "kernel.name: 'rounding' needs a model with RoundedLinear layers, and it has none; "
                "call `round_layers(model, bits=2)`, or set kernel.name"
            )
        shortest = min(layer.weight.shape[1] for layer in self.layers.values())
        if shortest < n:
            raise SettingsError(f"kernel.n: must be at most the shortest row's {shortest} weights (got {n})")
        self._proposals = 0
        self._sweep: list[tuple[str, int, NDArray[np.int64]]] = []
        self._begin_sweep()

    def propose(self, base_version: int, budget_ns: int) -> Proposal:
        """See `Kernel.propose`: the next row, with the present block of columns."""
        if not self._sweep:
            self._begin_sweep()
        name, row, columns = self._sweep.pop()
        layer = self.layers[name]
        current = layer.above_floor(row, torch.from_numpy(columns).to(layer.weight.device))
        block = Block(name, row, columns, 1.0 - current)
        self._proposals += 1
        request_id = f"{self.name}-{self._proposals}"
        return Proposal(
            self._row_loss(block).subproblem(self.name, request_id, base_version, budget_ns), block
        )

    def rebuild(self, proposal: Proposal, version: int) -> Subproblem:
        """See `Kernel.rebuild`: a weight that has reached its target meanwhile has no step left."""
        return self._row_loss(_block(proposal)).rebuild_subproblem(proposal.subproblem, version)

    def delta(self, proposal: Proposal, bits: Bits, version: int) -> Delta:
        """See `Kernel.delta`."""
        block = _block(proposal)
        (steps,) = to_host(block.steps(self.layers[block.layer]))
        chosen = bits.astype(bool) & (steps != 0.0)
        width = self.layers[block.layer].weight.shape[1]
        return Delta(
            version,
            f"{block.layer}.weight",
            block.row * width + block.columns[chosen],
            steps[chosen].astype(np.float32),
        )

    def state_dict(self) -> dict[str, Any]:
        """See `Stateful`: the random state at the sweep's start, and how many of its blocks are left."""
        return {"random": self._swept_from, "left": len(self._sweep), "asked": self._proposals}

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        """See `Stateful`."""
        blocks_left, proposals = int(state["left"]), int(state["asked"])
        self._rng.bit_generator.state = state["random"]
        self._begin_sweep()
        if not 0 <= blocks_left <= len(self._sweep):
            raise ValueError(f"left: must be from 0 to {len(self._sweep)} blocks (got {blocks_left})")
        self._sweep, self._proposals = self._sweep[:blocks_left], proposals

    @torch.no_grad()
    def layer_loss(self, name: str) -> float:
        """Σ eᵀHe over the rows of a layer of the present model."""
        layer = self.layers[name]
        inputs = self._activations.inputs(name).to(torch.float64)
        error = layer.weight.to(torch.float64) - layer.reference.to(torch.float64)
        return float(
            (inputs @ error.T).square().sum() / len(inputs) + _damping(inputs) * error.square().sum()
        )

    def _begin_sweep(self) -> None:
        """Lists every block of every row once, in reverse: by layer, then by block, then by row."""
        self._swept_from = self._rng.bit_generator.state
        sweep: list[tuple[str, int, NDArray[np.int64]]] = []
        for name, layer in self.layers.items():
            order = self._rng.permutation(layer.weight.shape[1])
            # The last block is padded from the first, so that every block has n columns.
            padded = np.concatenate([order, order[: -len(order) % self._n]])
            for columns in padded.reshape(-1, self._n):
                sweep.extend((name, row, np.sort(columns)) for row in range(layer.weight.shape[0]))
        self._sweep = sweep[::-1]

    @torch.no_grad()
    def _row_loss(self, block: Block) -> Quadratic:
        """E(b) of the present model."""
        layer = self.layers[block.layer]
        inputs = self._activations.inputs(block.layer).to(torch.float64)
        columns = torch.from_numpy(block.columns).to(inputs.device)
        error = (layer.weight[block.row] - layer.reference[block.row]).to(torch.float64)
        steps = block.steps(layer).to(torch.float64)
        damping = _damping(inputs)
        shown = inputs @ error
        part = inputs[:, columns]
        curvature = part.T @ part / len(inputs)
        curvature.diagonal().add_(damping)
        pull = part.T @ shown / len(inputs) + damping * error[columns]
        loss = shown @ shown / len(inputs) + damping * (error @ error)
        square, linear, offset = to_host(steps[:, None] * curvature * steps, 2.0 * steps * pull, loss)
        return Quadratic(square, linear, float(offset))


def _damping(inputs: Tensor) -> Tensor:
    return DAMPING * inputs.square().mean()


def _block(proposal: Proposal) -> Block:
    if not isinstance(proposal.context, Block):
        raise TypeError(f"not a proposal of rounding: {type(proposal.context).__name__}")
    return proposal.context
