"""The quality of samples by kernel, size, shots and noise, compared with the classical control arms."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from _instances import FAMILIES, Instance
from shotclock.circuits.angles import cold, parameters
from shotclock.circuits.quality import PoolScore, QualityReference, judge, quality
from shotclock.domain.circuit import QaoaParameters, Samples
from shotclock.domain.subproblem import Subproblem
from shotclock.emulator.device import DeviceFacts
from shotclock.emulator.statevector import execute
from shotclock.solvers.exact import Exact
from shotclock.solvers.greedy import Greedy
from shotclock.solvers.pools import PerturbedGreedy, RandomPool, descend
from shotclock.solvers.tabu import Tabu

SHOTS = (256, 1024)
# facts/workloads.md: gain and P(optimum), noisy, 1,024 shots.
LAB = {("rounding", 12): (0.99, 0.85), ("prune_mask", 16): (0.98, 0.80), ("qat_flip", 16): (1.00, 0.99)}
NOISY_WARM = "QAOA warm, noisy"

Sampler = Callable[[Subproblem, int, int], Samples]


@dataclass(frozen=True, slots=True)
class Row:
    """One arm on one family: mean and standard error of the gain, and of finding the optimum.

    raw and descended: (gain, its error, share of calls that found the optimum, its error); a solver
    without a pool has only raw. p_shot: share of shots that measured the optimum.
    """

    family: str
    n: int
    instances: int
    arm: str
    shots: int
    raw: tuple[float, float, float, float]
    descended: tuple[float, float, float, float] | None = None
    p_shot: float | None = None


def table(count: int, facts: DeviceFacts, sizes: tuple[int, ...] = (12, 16)) -> list[Row]:
    """All rows; `count` instances a family and size."""
    rows: list[Row] = []
    for family, make in FAMILIES.items():
        for n in sizes:
            rows.extend(_rows(family, n, make(n, count), facts))
    return rows


def _rows(family: str, n: int, instances: list[Instance], facts: DeviceFacts) -> Iterator[Row]:
    references = [_reference(instance) for instance in instances]
    pairs = list(zip(instances, references, strict=True))
    for solver in (Exact(), Tabu(), Greedy()):
        answers = [
            judge(instance.subproblem, solver.solve(instance.subproblem), at) for instance, at in pairs
        ]
        yield Row(family, n, len(pairs), solver.name, 0, _mean(answers))
    noise = facts.flip_probability(n, facts.rep_delay_default_s)
    for shots in SHOTS:
        for arm, sampler in _samplers(noise).items():
            measured = [
                quality(instance.subproblem, sampler(instance.subproblem, shots, seed), at, descend)
                for seed, (instance, at) in enumerate(pairs)
            ]
            yield Row(
                family,
                n,
                len(pairs),
                arm,
                shots,
                _mean([each.raw for each in measured]),
                _mean([each.with_descent for each in measured]),
                float(np.mean([each.p_optimum for each in measured])),
            )


def _samplers(noise: float) -> dict[str, Sampler]:
    def warm(subproblem: Subproblem) -> QaoaParameters:
        return parameters(subproblem, Greedy().solve(subproblem))

    return {
        "QAOA warm, ideal": lambda s, shots, seed: execute(warm(s), shots, 0.0, seed),
        NOISY_WARM: lambda s, shots, seed: execute(warm(s), shots, noise, seed),
        "QAOA cold, ideal": lambda s, shots, seed: execute(cold(s), shots, 0.0, seed),
        "QAOA cold, noisy": lambda s, shots, seed: execute(cold(s), shots, noise, seed),
        "perturbed greedy": lambda s, shots, seed: PerturbedGreedy(shots, seed).sample(s),
        "random": lambda s, shots, seed: RandomPool(shots, seed).sample(s),
    }


def _reference(instance: Instance) -> QualityReference:
    optimum = instance.subproblem.energy(Exact().solve(instance.subproblem))
    return QualityReference(instance.subproblem.energy(instance.incumbent), optimum)


def _mean(pool_scores: list[PoolScore]) -> tuple[float, float, float, float]:
    ratios = np.array([each.ratio for each in pool_scores])
    optimal = np.array([float(each.optimal) for each in pool_scores])
    error = np.sqrt(len(pool_scores))
    return (
        float(ratios.mean()),
        float(ratios.std(ddof=1) / error),
        float(optimal.mean()),
        float(optimal.std(ddof=1) / error),
    )


def metrics(rows: list[Row]) -> dict[str, float]:
    """The noisy warm start at 1,024 shots, by family and n."""
    figures = {}
    for row in rows:
        if row.arm == NOISY_WARM and row.shots == SHOTS[-1]:
            figures[f"gain_{row.family}_n{row.n}"] = row.raw[0]
            figures[f"p_optimum_{row.family}_n{row.n}"] = row.raw[2]
    return figures


def _instances(rows: list[Row]) -> str:
    """How many of each family and size: a layer holds only so many rows to round."""
    counts = {f"{row.family} n = {row.n}": row.instances for row in rows}
    return ", ".join(f"{count} ({name})" for name, count in counts.items())


def markdown(rows: list[Row]) -> list[str]:
    """The section of the page."""
    lines = [
        "### The quality of the samples (EMULATED)",
        "",
        "Gain: the share of the possible improvement over changing nothing that one call's best answer has, "
        "1 by definition where no improvement is possible. P(opt): calls that found the optimum. Mean ± "
        f"standard error over {_instances(rows)} instances. p = 1; noisy: each bit replaced at random at the "
        "rate of heron-torino. Descent is reported separately, because it hides what was sampled. Perturbed "
        "greedy has the same information as a warm start, without a QPU.",
        "",
        "| kernel | n | shots | arm | gain | P(opt) | a shot is optimal | gain, descent | P(opt), descent |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        after = _cells(row.descended) if row.descended else "– | –"
        shot = "–" if row.p_shot is None else f"{row.p_shot:.4f}"
        where = f"{row.family} | {row.n} | {row.shots or '–'} | {row.arm}"
        lines.append(f"| {where} | {_cells(row.raw)} | {shot} | {after} |")
    return [*lines, "", _against_the_lab(rows)]


def _cells(values: tuple[float, float, float, float]) -> str:
    return f"{values[0]:.3f} ± {values[1]:.3f} | {values[2]:.2f} ± {values[3]:.2f}"


def _against_the_lab(rows: list[Row]) -> str:
    comparisons = []
    for row in rows:
        if row.arm == NOISY_WARM and row.shots == SHOTS[-1] and (row.family, row.n) in LAB:
            gain, optimum = LAB[row.family, row.n]
            within = _near(row.raw[0], gain, row.raw[1]) and _near(row.raw[2], optimum, row.raw[3])
            comparisons.append(
                f"{row.family} at n = {row.n} {row.raw[0]:.2f}/{row.raw[2]:.2f} here and {gain:.2f}/"
                f"{optimum:.2f} there ({'within' if within else 'outside'} two standard errors)"
            )
    return (
        "Compared with the lab's earlier figures (gain/P(opt), warm start, noisy, 1,024 shots): "
        + "; ".join(comparisons)
        + ". The instances are generated by the same recipes, so the two are not the same sample."
    )


def _near(here: float, there: float, error: float) -> bool:
    """Within two standard errors, and the two decimals the lab gives."""
    return abs(here - there) <= 0.005 + 2.0 * error
