"""The reference networks of a data set: one perceptron, ternary, rounded after training, or gated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial

from torch import Tensor, nn

from shotclock.training.kernels.task_rounding import TaskRounding
from shotclock.training.loops.classifier import Classifier, Split, build_gated, plain, ternary

Layers = Callable[..., nn.Module]

BIAS_RATE = 1.0
"""Of 0.05, 0.1, 0.2, 0.5 and 1, the rate at which biases train best without any call."""


@dataclass(frozen=True, slots=True)
class ReferenceNetwork:
    """The reference networks of a data set.

    name: prefix of the workloads' names.
    split: loads the data.
    widths: the perceptron's layer widths.
    pretraining: training steps before rounding or gating.
    """

    name: str
    split: Callable[[], Split]
    widths: tuple[int, ...]
    pretraining: int

    def ternary(self, seed: int) -> Classifier:
        """`…-mlp`: trained from scratch; for `qat_flip`."""
        return Classifier(f"{self.name}-mlp", self.split(), partial(ternary, *self.widths), seed)

    def build_rounded(self, seed: int, bits: int = 2) -> Classifier:
        """`…-rounded`: trained, then rounded to nearest; for `rounding`. The rest continues to train."""
        workload = self._train("rounded", plain, seed)
        workload.round(bits)
        return workload

    def build_quantized(
        self,
        seed: int,
        bits: int = 2,
        batch: int = 1024,
        kernel: str = TaskRounding.name,
        device: str = "cpu",
    ) -> Classifier:
        """`…-quantized`: trained, then rounded to nearest; then only biases train; for that kernel."""
        workload = self._train("quantized", plain, seed, batch, device)
        workload.round(bits)
        workload.freeze_weights(BIAS_RATE, kernel)
        return workload

    def build_gated(self, seed: int) -> Classifier:
        """`…-gated`: trained, with a gate on each hidden unit; for `prune_mask`."""
        return self._train("gated", build_gated, seed)

    def _train(
        self, kind: str, layers: Layers, seed: int, batch: int = 64, device: str = "cpu"
    ) -> Classifier:
        name, layers_of_widths = f"{self.name}-{kind}", partial(layers, *self.widths)
        workload = Classifier(name, self.split(), layers_of_widths, seed, batch=batch, device=device)
        workload.model.load_state_dict(_state(self, layers, seed))
        return workload


@lru_cache(maxsize=64)
def _state(reference: ReferenceNetwork, layers: Layers, seed: int) -> dict[str, Tensor]:
    """The trained parameters, which every arm of a run shares."""
    workload = Classifier("trained", reference.split(), partial(layers, *reference.widths), seed)
    workload.pretrain(reference.pretraining)
    return workload.model.state_dict()
