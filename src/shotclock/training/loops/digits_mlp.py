"""scikit-learn's 8×8 digits and a 64-32-32-10 perceptron: ternary, rounded after training, or gated.

`digits-quantized` is a deeper one, rounded after training, of which only the biases train on.
"""

from __future__ import annotations

from functools import lru_cache

from sklearn.datasets import load_digits

from shotclock.training.loops.classifier import Classifier, Split, ternary
from shotclock.training.loops.reference import ReferenceNetwork, split_of


@lru_cache(maxsize=1)
def digits() -> Split:
    """1,347 training and 450 held-out digits; the same split for every seed."""
    images, targets = load_digits(return_X_y=True)
    return split_of(images / 16.0, targets, held_out=450)


DIGITS = ReferenceNetwork("digits", digits, (64, 32, 32, 10), pretraining=150)
build_rounded, build_gated = DIGITS.build_rounded, DIGITS.build_gated

DEEP = ReferenceNetwork("digits", digits, (64, 32, 32, 32, 32, 10), pretraining=80)
"""Rounding harms a deep network more: errors add up. Of 40 to 150 steps, 80 give the least held-out loss."""

build_quantized = DEEP.build_quantized


class DigitsMlp(Classifier):
    """`digits-mlp`: ternary, trained from scratch; for `qat_flip`."""

    def __init__(self, seed: int) -> None:
        super().__init__("digits-mlp", digits(), lambda: ternary(*DIGITS.widths), seed)


def build(seed: int) -> DigitsMlp:
    """The entry point: a fresh model of this seed."""
    return DigitsMlp(seed)
