"""Subproblems as the reference kernels make them, for the table of quality (facts: AdaRound's surrogate,
gates' Gauss–Newton curvature, ternary flips). Every one comes from a network trained on the digits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from torch import nn

from shotclock.domain.subproblem import Bits, Float64s, Subproblem
from shotclock.solvers.exact import Exact
from shotclock.training.loops.digits_mlp import DigitsMlp

LOW, HIGH = -2, 1  # the levels of two signed bits
STEPS_TRAINED, STEPS_BETWEEN = 200, 20
PROPOSALS = 5
TRAINED_ON = 900  # digits; enough for curvature that is not random, and quick


@dataclass(frozen=True, slots=True)
class Instance:
    """A subproblem and the bits that change nothing, shape (n,)."""

    subproblem: Subproblem
    incumbent: Bits


@dataclass(frozen=True, slots=True)
class _Trained:
    """Inputs of the last hidden layer (N, 32), of the output layer (N, hidden), weights, and labels."""

    before: Float64s
    hidden: Float64s
    middle: Float64s
    last: Float64s
    bias: Float64s
    targets: NDArray[np.int64]


def rounding(n: int, count: int) -> list[Instance]:
    """K1: AdaRound's surrogate (arXiv 2004.10568) for n weights of a row, the rest rounded to nearest.

    E(b) = (e⁰ + s·b)ᵀ H (e⁰ + s·b), H = XᵀX/N; the incumbent is the nearest rounding.
    """
    trained = _train(32, seed=0)
    curvature = trained.before.T @ trained.before / len(trained.before)
    curvature += 1e-6 * np.diagonal(curvature).mean() * np.eye(len(curvature))
    rng = np.random.default_rng(n)
    rows = trained.middle[rng.permutation(len(trained.middle))[:count]]
    return [_rounded_row(row, curvature, np.sort(rng.permutation(len(row))[:n])) for row in rows]


def _rounded_row(row: Float64s, curvature: Float64s, block: NDArray[np.int64]) -> Instance:
    scale = min(np.linspace(0.2, 1.0, 80) * np.abs(row).max(), key=lambda s: _rounding_error(row, s))
    floor = np.clip(np.floor(row / scale), LOW, HIGH - 1)
    nearest = (row - floor * scale > 0.5 * scale).astype(np.uint8)
    up = nearest.astype(np.float64)
    up[block] = 0.0
    error = (floor + up) * scale - row
    square = scale**2 * curvature[np.ix_(block, block)]
    linear = np.diagonal(square) + 2.0 * scale * (curvature[block] @ error)
    return Instance(_subproblem(square, linear, float(error @ curvature @ error)), nearest[block])


def _rounding_error(row: Float64s, scale: float) -> float:
    return float(((np.clip(np.round(row / scale), LOW, HIGH) * scale - row) ** 2).sum())


def prune_mask(n: int, count: int) -> list[Instance]:
    """K2: which of n hidden units to remove; d_i = 1 removes, the incumbent keeps all.

    E(d) = −g·d + ½dᵀH_GN d − λΣd, gradient and Gauss–Newton curvature of the cross-entropy to the
    units' gates; λ by bisection until the optimum removes half. A network each.
    """
    instances = []
    for seed in range(count):
        made = _halving(*_gates(_train(n, seed)))
        instances.append(Instance(made, np.zeros(n, np.uint8)))
    return instances


def _halving(gradient: Float64s, curvature: Float64s) -> Subproblem:
    """The pruning problem at the first λ of a bisection whose optimum removes half, or nearly."""
    n = len(gradient)
    high = float(np.abs(curvature).sum() + np.abs(gradient).sum())
    low = -high
    for _ in range(30):
        penalty = 0.5 * (low + high)
        made = _pruning(gradient, curvature, penalty)
        removed = int(Exact().solve(made).sum())
        # At the transition itself two optima would tie, so the first fit is taken.
        if removed == n // 2:
            break
        low, high = (penalty, high) if removed < n // 2 else (low, penalty)
    return made


def _pruning(gradient: Float64s, curvature: Float64s, penalty: float) -> Subproblem:
    return _subproblem(0.5 * curvature, 0.5 * np.diagonal(curvature) - gradient - penalty)


def _gates(trained: _Trained) -> tuple[Float64s, Float64s]:
    """(g, H_GN) of the mean cross-entropy to the gates at 1, shapes (h,) and (h, h).

    The logits are W(c ∘ a) + b, so J_ki = W_ki a_i; H_GN = E[Jᵀ(diag p − ppᵀ)J].
    """
    logits = trained.hidden @ trained.last.T + trained.bias
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    jacobian = trained.last[None] * trained.hidden[:, None, :]
    residual = p - np.eye(p.shape[1])[trained.targets]
    gradient = (residual[:, :, None] * jacobian).sum(axis=(0, 1)) / len(p)
    mean = (p[:, :, None] * jacobian).sum(axis=1)
    rooted = (np.sqrt(p)[:, :, None] * jacobian).reshape(-1, jacobian.shape[2])
    curvature: Float64s = (rooted.T @ rooted - mean.T @ mean) / len(p)
    return gradient, curvature


def qat_flip(n: int, count: int) -> list[Instance]:
    """K3: the product's own kernel on the product's own workload; the incumbent flips nothing."""
    instances: list[Instance] = []
    for seed in range(-(-count // PROPOSALS)):
        workload = DigitsMlp(seed)
        kernel = workload.kernel("qat_flip", n)
        for _ in range(STEPS_TRAINED):
            workload.step()
        for _ in range(PROPOSALS):
            for _ in range(STEPS_BETWEEN):
                workload.step()
            instances.append(Instance(kernel.propose(0, 0).subproblem, np.zeros(n, np.uint8)))
    return instances[:count]


FAMILIES: dict[str, Callable[[int, int], list[Instance]]] = {
    "rounding": rounding,
    "prune_mask": prune_mask,
    "qat_flip": qat_flip,
}


def _subproblem(square: Float64s, linear: Float64s, offset: float = 0.0) -> Subproblem:
    quadratic = 0.5 * (square + square.T)
    np.fill_diagonal(quadratic, 0.0)
    return Subproblem(quadratic, linear, offset)


def _train(hidden: int, seed: int) -> _Trained:
    """A 64-32-hidden-10 perceptron after 150 full-batch steps of Adam."""
    images, labels = (part[:TRAINED_ON] for part in load_digits(return_X_y=True))
    x, y = torch.from_numpy((images / 16.0).astype(np.float32)), torch.from_numpy(labels)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        first, middle, last = nn.Linear(64, 32), nn.Linear(32, hidden), nn.Linear(hidden, 10)
    model = nn.Sequential(first, nn.ReLU(), middle, nn.ReLU(), last)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(150):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    with torch.no_grad():
        before = model[:2](x)
        return _Trained(
            before=_float64(before),
            hidden=_float64(model[2:4](before)),
            middle=_float64(middle.weight),
            last=_float64(last.weight),
            bias=_float64(last.bias),
            targets=labels.astype(np.int64),
        )


def _float64(tensor: torch.Tensor) -> Float64s:
    array: Float64s = tensor.detach().numpy().astype(np.float64)
    return array
