"""What kernels share that take the task's loss to second order, layer after layer."""

from __future__ import annotations

from typing import ClassVar, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from shotclock.domain.errors import SettingsError
from shotclock.training.kernels.curvature import gauss_newton, slope
from shotclock.training.kernels.stateful import Turns
from shotclock.training.kernels.surrogate import Quadratic
from shotclock.training.kernels.to_host import to_host
from shotclock.training.layers.parameters import check_model

CURVATURE_BATCH = 512

L = TypeVar("L", bound=nn.Module)


class TaskLoss(Turns, Generic[L]):
    """Layers of one type in turn; gradient and Gauss–Newton curvature on 512 samples of the training set.

    inputs, targets: the training set, shapes (N, features) and (N,).
    n: weights per subproblem.
    seed: of the sampling.
    Raises SettingsError on a model without such a layer, or with one of fewer than n weights.
    """

    name: str
    loss_check = True
    parameter: ClassVar[str]
    """The layers' parameter that calls change."""
    fitting: ClassVar[str]
    """What to do about a model without such a layer."""

    def __init__(
        self, model: nn.Module, layer: type[L], inputs: Tensor, targets: Tensor, n: int, seed: int
    ) -> None:
        super().__init__(seed)
        check_model(model)
        self._model = model
        self._inputs = inputs
        self._targets = targets
        self._n = n
        self._layers = {name: module for name, module in model.named_modules() if isinstance(module, layer)}
        if not self._layers:
            raise SettingsError(
                f"kernel.name: '{self.name}' needs a model with {layer.__name__} layers, and it has none; "
                f"{self.fitting}"
            )
        smallest = min(module.get_parameter(self.parameter).numel() for module in self._layers.values())
        if smallest < n:
            raise SettingsError(
                f"kernel.n: must be at most the smallest layer's {smallest} weights (got {n})"
            )

    def _begin_turn(self) -> tuple[str, Tensor]:
        """The next layer's name, and the samples to take gradient and curvature on."""
        name = list(self._layers)[self._turn % len(self._layers)]
        self._turn += 1
        samples = self._rng.permutation(len(self._targets))[:CURVATURE_BATCH]
        return name, torch.from_numpy(samples).to(self._targets.device)

    def _gradient(self, name: str, batch: Tensor) -> Tensor:
        return slope(self._model, f"{name}.{self.parameter}", self._inputs[batch], self._targets[batch])

    def _quadratic(
        self, name: str, indices: NDArray[np.int64], steps: Tensor, gradient: Tensor, batch: Tensor
    ) -> Quadratic:
        """ΔL(b) of the present model for steps (n,) of the layer's weights at these indices."""
        at = torch.from_numpy(indices).to(steps.device)
        curvature = gauss_newton(self._model, f"{name}.{self.parameter}", at, steps, self._inputs[batch])
        square, linear = to_host(0.5 * curvature, gradient.flatten()[at] * steps)
        return Quadratic(square, linear)
