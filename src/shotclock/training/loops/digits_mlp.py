"""scikit-learn's 8×8 digits and a 64-32-32-10 perceptron: ternary, rounded after training, or gated."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

from shotclock.training.loops.classifier import Classifier, Split, gated, plain, ternary

WIDTHS = (64, 32, 32, 10)
PRETRAINING = 150


@lru_cache(maxsize=1)
def digits() -> Split:
    """1,347 digits to train on and 450 held out; one split for all."""
    images, targets = load_digits(return_X_y=True)
    parts = train_test_split(
        (images / 16.0).astype(np.float32), targets, test_size=450, random_state=0, stratify=targets
    )
    train_x, held_x, train_y, held_y = (torch.from_numpy(part) for part in parts)
    return Split(train_x, train_y, held_x, held_y)


class DigitsMlp(Classifier):
    """`digits-mlp`: ternary, trained from scratch; for `qat_flip`."""

    def __init__(self, seed: int) -> None:
        super().__init__("digits-mlp", digits(), lambda: ternary(*WIDTHS), seed)


def build(seed: int) -> DigitsMlp:
    """The entry point: a fresh model of this seed."""
    return DigitsMlp(seed)


def build_rounded(seed: int, bits: int = 2) -> Classifier:
    """`digits-rounded`: trained, then rounded to nearest; for `rounding`. What is not rounded trains on."""
    workload = Classifier("digits-rounded", digits(), _plain, seed)
    workload.model.load_state_dict(_trained(_plain, seed))
    workload.round(bits)
    return workload


def build_gated(seed: int) -> Classifier:
    """`digits-gated`: trained, with a gate on each hidden unit; for `prune_mask`."""
    workload = Classifier("digits-gated", digits(), _gated, seed)
    workload.model.load_state_dict(_trained(_gated, seed))
    return workload


def _plain() -> nn.Module:
    return plain(*WIDTHS)


def _gated() -> nn.Module:
    return gated(*WIDTHS)


@lru_cache(maxsize=32)
def _trained(layers: Callable[[], nn.Module], seed: int) -> dict[str, Tensor]:
    """The state after pre-training, which every arm of a run shares."""
    workload = Classifier("trained", digits(), layers, seed)
    workload.pretrain(PRETRAINING)
    return workload.model.state_dict()
