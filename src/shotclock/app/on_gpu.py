"""The reference workloads on the first GPU that torch sees, or on the CPU without one."""

from __future__ import annotations

import torch

from shotclock.training.loops import digits_mlp as reference
from shotclock.training.loops import medium as sized
from shotclock.training.loops.classifier import Classifier


def digits_mlp(seed: int) -> Classifier:
    """`digits-mlp` on the GPU."""
    reference_loop = reference.build(seed)
    return Classifier(
        reference_loop.name, reference.digits(), lambda: reference_loop.model, seed, device=_device()
    )


def digits_quantized(seed: int) -> Classifier:
    """`digits-quantized`, elsewhere."""
    return reference.DEEP.build_quantized(seed, device=_device())


def medium(seed: int) -> Classifier:
    """`medium`, elsewhere."""
    return sized.build(seed, _device())


def _device() -> str:
    """torch says "cuda" for ROCm too."""
    return "cuda" if torch.cuda.is_available() else "cpu"
