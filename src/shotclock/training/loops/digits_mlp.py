"""The 8×8 digits and a 64-32-32-10 perceptron: ternary, rounded after training, or gated.

`digits-quantized` is a deeper one, rounded after training, of which only the biases train on.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import resources

import numpy as np
import torch

from shotclock.training.loops.classifier import Classifier, Split, ternary
from shotclock.training.loops.reference import ReferenceNetwork


@lru_cache(maxsize=1)
def digits() -> Split:
    """1,347 training and 450 held-out digits; the same split for every seed.

    Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
    Repository, 1998 (CC BY 4.0): the 1,797 images of scikit-learn's `load_digits`, split by class with its
    `train_test_split`, random_state 0. Importing scikit-learn for them would take two seconds of each run.
    """
    with resources.files(__package__).joinpath("digits.npz").open("rb") as file, np.load(file) as parts:
        train_x, held_x = (torch.from_numpy(parts[name] / np.float32(16)) for name in ("train_x", "held_x"))
        train_y, held_y = (torch.from_numpy(parts[name].astype(np.int64)) for name in ("train_y", "held_y"))
    return Split(train_x, train_y, held_x, held_y)


DIGITS = ReferenceNetwork("digits", digits, (64, 32, 32, 10), pretraining=150)
build_rounded, build_gated = DIGITS.build_rounded, DIGITS.build_gated

DEEP = ReferenceNetwork("digits", digits, (64, 32, 32, 32, 32, 10), pretraining=80)
"""Rounding harms a deep network more: errors add up. Of 40 to 150 steps, 80 give the least held-out loss."""

build_quantized = DEEP.build_quantized

WIDE = 64
"""Weights of a layer that a call of `digits-rounding-wide` rounds together."""


def build_wide(seed: int) -> Classifier:
    """`digits-rounding-wide`: `digits-quantized` with 64 weights a call, beyond enumeration."""
    workload = build_quantized(seed)
    workload.widen(WIDE)
    return workload


class DigitsMlp(Classifier):
    """`digits-mlp`: ternary, trained from scratch; for `qat_flip`."""

    def __init__(self, seed: int) -> None:
        super().__init__("digits-mlp", digits(), lambda: ternary(*DIGITS.widths), seed)


def build(seed: int) -> DigitsMlp:
    """The entry point: a fresh model of this seed."""
    return DigitsMlp(seed)
