"""Subproblems of the reference kernels for the table of quality, from networks trained on the digits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from shotclock.domain.ports import Workload
from shotclock.domain.subproblem import Bits, Subproblem
from shotclock.training.loops.digits_mlp import build, build_gated, build_rounded

STEPS_BETWEEN = 20
PROPOSALS = 5


@dataclass(frozen=True, slots=True)
class Instance:
    """A subproblem and the bits that change nothing, shape (n,)."""

    subproblem: Subproblem
    incumbent: Bits


def rounding(n: int, count: int) -> list[Instance]:
    """K1: n weights of a row, the rest rounded to nearest; five rows a network."""
    return _propose("rounding", build_rounded, n, count)


def prune_mask(n: int, count: int) -> list[Instance]:
    """K2: n of 32 hidden units, half to be kept; five draws a network."""
    return _propose("prune_mask", build_gated, n, count)


def qat_flip(n: int, count: int) -> list[Instance]:
    """K3: n ternary weights after 200 steps of training."""
    return _propose("qat_flip", _train, n, count)


FAMILIES: dict[str, Callable[[int, int], list[Instance]]] = {
    "rounding": rounding,
    "prune_mask": prune_mask,
    "qat_flip": qat_flip,
}


def _propose(kernel: str, make: Callable[[int], Workload], n: int, count: int) -> list[Instance]:
    instances: list[Instance] = []
    for seed in range(-(-count // PROPOSALS)):
        workload = make(seed)
        proposing = workload.kernel(kernel, n)
        for _ in range(PROPOSALS):
            instances.append(Instance(proposing.propose(0, 0).subproblem, np.zeros(n, np.uint8)))
            for _ in range(STEPS_BETWEEN):
                workload.step()
    return instances[:count]


def _train(seed: int) -> Workload:
    workload = build(seed)
    for _ in range(200 + STEPS_BETWEEN):
        workload.step()
    return workload
