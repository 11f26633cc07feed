"""A Workload that trains a classifier by SGD; the reference networks differ only in data and layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from shotclock.domain import plugin
from shotclock.domain.delta import Delta
from shotclock.domain.errors import SettingsError
from shotclock.domain.ports import Kernel
from shotclock.training.kernels.prune_mask import PruneMask
from shotclock.training.kernels.qat_flip import QatFlip
from shotclock.training.kernels.rounding import Rounding
from shotclock.training.kernels.task_rounding import TaskRounding
from shotclock.training.layers.activations import Activations, Calibrated, CapturedActivations
from shotclock.training.layers.parameters import add, apply_temporarily
from shotclock.training.layers.rounded import RoundedLinear, round_layers
from shotclock.training.layers.ternary import TernaryLinear
from shotclock.training.layers.unit_gate import UnitGate

CALIBRATION = 1024
"""Training samples whose activations the rounding kernels use."""
KERNEL = "kernel.name"
KERNELS = (QatFlip.name, PruneMask.name, Rounding.name, TaskRounding.name)


@dataclass(frozen=True, slots=True)
class Split:
    """A data set.

    train_x: training inputs, (N, features) float32.
    train_y: training targets, (N,) int64.
    held_x: held-out inputs, as train_x.
    held_y: held-out targets, as train_y.
    """

    train_x: Tensor
    train_y: Tensor
    held_x: Tensor
    held_y: Tensor


class Classifier:
    """See `Workload`. All randomness comes from the seed; all tensors are on `device`."""

    def __init__(
        self,
        name: str,
        split: Split,
        layers: Callable[[], nn.Module],
        seed: int,
        *,
        batch: int = 64,
        device: str = "cpu",
    ) -> None:
        self.name = name
        self.samples_per_step = batch
        self._train_x, self._train_y = split.train_x.to(device), split.train_y.to(device)
        self._held_x, self._held_y = split.held_x.to(device), split.held_y.to(device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.model = layers().to(device)
        self.optimizer: torch.optim.Optimizer = torch.optim.SGD(self.model.parameters(), lr=0.05)
        self.activations: Activations = Calibrated(self.model, self._train_x[:CALIBRATION])
        self._kernel_name: str | None = None
        self.kernel_n: int | None = None
        self.kernel_sparse: bool | None = None
        self._batches = torch.Generator().manual_seed(seed)
        self._seed = seed
        self._batch = self._next_batch()

    def step(self) -> float:
        """See `Workload.step`."""
        x, y = self._batch
        self.optimizer.zero_grad(set_to_none=True)
        loss = nn.functional.cross_entropy(self.model(x), y)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        for layer in self.model.modules():
            if isinstance(layer, TernaryLinear):
                layer.clip()
        self._batch = self._next_batch()
        return float(loss.detach())

    @torch.no_grad()
    def evaluate(self) -> float:
        """See `Workload.evaluate`: mean cross-entropy over the held-out set."""
        return float(nn.functional.cross_entropy(self.model(self._held_x), self._held_y))

    @torch.no_grad()
    def probe(self, delta: Delta) -> float:
        """See `Workload.probe`; the present batch is the one the next step trains on."""
        x, y = self._batch
        before = float(nn.functional.cross_entropy(self.model(x), y))
        with apply_temporarily(self.model, delta):
            return float(nn.functional.cross_entropy(self.model(x), y)) - before

    def apply(self, delta: Delta) -> None:
        """See `Workload.apply`."""
        add(self.model, delta)

    def kernel(self, name: str, n: int) -> Kernel:
        """See `Workload.kernel`; other names are "module:factory", or entry points `shotclock.kernels`.

        Such a kernel's factory is called with (model, inputs, targets, n, seed).
        """
        model, inputs, targets = self.model, self._train_x, self._train_y
        if name == Rounding.name:
            return Rounding(model, self.activations, n, self._seed)
        if name == PruneMask.name:
            return PruneMask(model, inputs, targets, n, self._seed)
        if name == TaskRounding.name:
            return TaskRounding(model, inputs, targets, n, self._seed)
        if name == QatFlip.name:
            return QatFlip(model, inputs, targets, n, self._seed)
        if ":" in name:
            return self._load_user_kernel(name, n)
        matches = entry_points(group="shotclock.kernels", name=name)
        if not matches:
            names = ", ".join(KERNELS)
            raise SettingsError(f"kernel.name: workload '{self.name}' has no kernel '{name}'; known: {names}")
        factory: Callable[[nn.Module, Tensor, Tensor, int, int], Kernel] = matches[name].load()
        return factory(model, inputs, targets, n, self._seed)

    def _load_user_kernel(self, name: str, n: int) -> Kernel:
        factory = plugin.load(KERNEL, name)
        parts = self.model, self._train_x, self._train_y, n, self._seed
        kernel: Any = plugin.call_plugin(KERNEL, name, lambda: factory(*parts))
        plugin.check(KERNEL, name, kernel, Kernel)
        return kernel  # type: ignore[no-any-return]

    @property
    def kernel_name(self) -> str:
        """The workload's kernel, which `bench` takes unless kernel.name is set: by default its layers'."""
        if self._kernel_name is not None:
            return self._kernel_name
        modules = list(self.model.modules())
        if any(isinstance(module, RoundedLinear) for module in modules):
            return Rounding.name
        return PruneMask.name if any(isinstance(module, UnitGate) for module in modules) else QatFlip.name

    def widen(self, n: int) -> None:
        """Asks for n variables a call, with terms on the device's couplings alone, unless settings differ."""
        self.kernel_n, self.kernel_sparse = n, True

    def pretrain(self, steps: int) -> None:
        """Trains by full-batch steps of Adam at 0.01, for networks that are used only once trained."""
        optimizer = torch.optim.Adam(self.model.parameters(), lr=0.01)
        for _ in range(steps):
            optimizer.zero_grad(set_to_none=True)
            nn.functional.cross_entropy(self.model(self._train_x), self._train_y).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    def round(self, bits: int) -> None:
        """Rounds every linear layer but the first; unrounded parameters continue to train."""
        round_layers(self.model, bits)

    def freeze_weights(self, rate: float, kernel: str) -> None:
        """Trains only biases from now on, as after quantization (BitFit, arXiv 2106.10199); makes one step.

        Weights are only moved by deltas. The activations become those of training's forward pass.
        rate: of the gradient descent. kernel: the workload's.
        """
        self._kernel_name = kernel
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(name.endswith("bias"))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        rounded = [name for name, module in self.model.named_modules() if isinstance(module, RoundedLinear)]
        self.activations = CapturedActivations(self.model, rounded, CALIBRATION)
        self.step()

    def _next_batch(self) -> tuple[Tensor, Tensor]:
        indices = torch.randint(len(self._train_y), (self.samples_per_step,), generator=self._batches)
        indices = indices.to(self._train_y.device)
        return self._train_x[indices], self._train_y[indices]


def ternary(*widths: int) -> nn.Sequential:
    """A perceptron of TernaryLinear layers, for `qat_flip`."""
    return _stack([TernaryLinear(a, b) for a, b in pairwise(widths)], gated=False)


def plain(*widths: int) -> nn.Sequential:
    """A perceptron in full precision, for `rounding`."""
    return _stack([nn.Linear(a, b) for a, b in pairwise(widths)], gated=False)


def build_gated(*widths: int) -> nn.Sequential:
    """A perceptron with a Gate on every hidden unit, for `prune_mask`."""
    return _stack([nn.Linear(a, b) for a, b in pairwise(widths)], gated=True)


def _stack(layers: list[nn.Module], gated: bool) -> nn.Sequential:
    stack: list[nn.Module] = []
    for layer in layers[:-1]:
        width = layer.bias.shape[0] if isinstance(layer.bias, Tensor) else 0
        stack += [layer, nn.ReLU(), UnitGate(width)] if gated else [layer, nn.ReLU()]
    return nn.Sequential(*stack, layers[-1])
