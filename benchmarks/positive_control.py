"""Positive control: does solving the subproblem help a training run, and does solving it better help more?

A trained network is rounded to 2 bits; then its biases train on, with rounding calls between the steps. Every
row spends the same process time: the row without calls spends the calls' time on extra steps.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

import _extras
from shotclock.bench.stats.statistics import estimate_paired_interval
from shotclock.domain.ports import Kernel
from shotclock.domain.subproblem import Bits, Subproblem
from shotclock.solvers.exact import Exact
from shotclock.solvers.greedy import Greedy
from shotclock.solvers.magnitude import Magnitude
from shotclock.solvers.pools import PerturbedGreedy, RandomPool
from shotclock.training.loops import digits_mlp
from shotclock.training.loops.classifier import Classifier

N, SHOTS = 12, 1024
Solve = Callable[[Subproblem, int], Bits]


@dataclass(frozen=True, slots=True)
class Control:
    """A workload and how long it trains: so many steps at so many seeds, a call every so many steps."""

    name: str
    build: Callable[[int], Classifier]
    steps: int
    seeds: int
    every: int = 1


@dataclass(frozen=True, slots=True)
class Trained:
    """A run's end: held-out loss, steps made, process seconds of steps and calls."""

    loss: float
    steps: int
    seconds: float


def main() -> None:
    """Prints the section of docs/benchmarks.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under a minute: fewer seeds")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    _warm_solvers()
    print("## Positive control: rounding inside a training run\n")
    print(f"{_describe()}\n")
    for control in _controls(quick):
        print(_table(control))


def _controls(quick: bool) -> list[Control]:
    from shotclock.training.loops import mnist_mlp  # noqa: PLC0415 - needs the extra `mnist`

    seeds = 3 if quick else 10
    return [
        Control("mnist-quantized", mnist_mlp.build_quantized, steps=55, seeds=seeds),
        Control("mnist-quantized", mnist_mlp.build_quantized, steps=110, seeds=2 if quick else 5),
        Control("digits-quantized", digits_mlp.build_quantized, steps=85, seeds=2 if quick else 8, every=5),
    ]


def _describe() -> str:
    return (
        f"Held-out cross-entropy, mean over seeds. n = {N}; pools draw {SHOTS} candidates a call. Every row "
        f"trains until it has spent the process time of `exact` at the same "
        f"seed; `nearest` makes no call and spends it all on steps. Gain: `nearest`'s loss minus the row's, "
        f"paired by seed, with its 95 % interval (Student); above 0 the calls are worth more than the steps "
        f"they replace. Magnitude: each variable by itself. No QPU takes part."
    )


def _solvers() -> dict[str, Solve | None]:
    """The rows; None makes no call."""
    exact, greedy = Exact(), Greedy()
    return {
        "nearest": None,
        "magnitude": lambda subproblem, _: Magnitude().solve(subproblem),
        "random": lambda subproblem, seed: RandomPool(SHOTS, seed).solve(subproblem),
        "perturbed greedy": lambda subproblem, seed: PerturbedGreedy(SHOTS, seed).solve(subproblem),
        "greedy": lambda subproblem, _: greedy.solve(subproblem),
        "exact": lambda subproblem, _: exact.solve(subproblem),
    }


def _warm_solvers() -> None:
    square = np.triu(np.ones((N, N)), 1)
    subproblem = Subproblem(square + square.T, -np.ones(N))
    for solve in _solvers().values():
        if solve is not None:
            solve(subproblem, 0)


def _train(control: Control, seed: int, solve: Solve | None, until_s: float | None) -> Trained:
    """Trains for the control's steps, or until it has spent so many process seconds."""
    workload = control.build(seed)
    kernel = workload.kernel(workload.kernel_name, N)
    spent, steps_done = 0.0, 0
    while steps_done < control.steps if until_s is None else spent < until_s:
        began = time.process_time()
        if solve is not None and steps_done % control.every == 0:
            _call(workload, kernel, solve, steps_done)
        workload.step()
        spent += time.process_time() - began
        steps_done += 1
    return Trained(workload.evaluate(), steps_done, spent)


def _call(workload: Classifier, kernel: Kernel, solve: Solve, version: int) -> None:
    proposal = kernel.propose(version, 0)
    subproblem = proposal.subproblem
    bits = solve(subproblem, version)
    if subproblem.energy(bits) < subproblem.energy(np.zeros_like(bits)):
        delta = kernel.delta(proposal, bits, version)
        if not kernel.loss_check or workload.probe(delta) < 0:
            workload.apply(delta)


def _table(control: Control) -> str:
    solvers = _solvers()
    # The first step and the first proposal of a process include caches of torch.
    _train(replace(control, steps=1), 0, solvers["exact"], None)
    exact = [_train(control, seed, solvers["exact"], None) for seed in range(control.seeds)]
    before = float(np.mean([control.build(seed).evaluate() for seed in range(control.seeds)]))
    runs = {
        name: exact
        if name == "exact"
        else [_train(control, seed, solve, exact[seed].seconds) for seed in range(control.seeds)]
        for name, solve in solvers.items()
    }
    nearest = np.array([run.loss for run in runs["nearest"]])
    lines = [
        f"`{control.name}`, {control.steps} steps of `exact` with a call every {control.every}, "
        f"{control.seeds} seeds; rounded and not yet trained on: {before:.3f}.\n",
        "| answers | steps | held-out loss | gain | 95 % interval |",
        "|---|---:|---:|---:|---|",
    ]
    for name, trained in runs.items():
        losses = np.array([run.loss for run in trained])
        steps = float(np.mean([run.steps for run in trained]))
        lines.append(f"| {name} | {steps:.0f} | {losses.mean():.3f} | {_gain(name, nearest - losses)} |")
    return "\n".join(lines) + "\n"


def _gain(name: str, gains: NDArray[np.float64]) -> str:
    if name == "nearest":
        return "– | –"
    interval = estimate_paired_interval(gains.tolist())
    bounds = "none" if interval is None else f"{interval[0]:+.3f} to {interval[1]:+.3f}"
    return f"{gains.mean():+.3f} | {bounds}"


if __name__ == "__main__":
    _extras.run(main)
