"""Classical search on held-out subproblems: our annealing and tabu beside dwave-samplers'.

The seeds are other ones than those on which tabu's setting was chosen; every instance has its optimum by
enumeration.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator

import dimod
import numpy as np
import torch

import _extras
from shotclock.domain.subproblem import Bits, Subproblem
from shotclock.solvers.annealing import Annealing
from shotclock.solvers.exact import Exact
from shotclock.solvers.tabu import Tabu
from shotclock.training.loops import digits_mlp

SIZES = 8, 12, 16
FAMILIES = {
    "rounding": digits_mlp.build_rounded,
    "task_rounding": digits_mlp.build_quantized,
    "prune_mask": digits_mlp.build_gated,
    "qat_flip": digits_mlp.build,
}
READS, TABU_READ_MS = 10, 2
Solve = Callable[[Subproblem], Bits]


def main() -> None:
    """Prints the section of docs/benchmarks.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under a minute: fewer seeds")
    seeds = range(200, 202 if parser.parse_args().quick else 206)
    torch.set_num_threads(1)
    families = {name: list(_propose(name, seeds)) for name in FAMILIES}
    families["dense normal"] = list(_draw(seeds))
    count = sum(map(len, families.values()))
    print("## Classical search on held-out subproblems\n")
    print(
        f"{count:,} instances, n = 8, 12 and 16, of seeds {seeds[0]} to {seeds[-1]}, each with its optimum "
        f"by enumeration. Misses: answers above the optimum. Time: mean per call on one core, with "
        f"dwave-samplers' conversion.\n"
    )
    print(f"| solver | {' | '.join(families)} | all | ms |")
    print(f"|---|{'---:|' * (len(families) + 2)}")
    for name, solve in _solvers().items():
        solve(families["rounding"][0])
        began = time.perf_counter()
        misses = [
            sum(_is_missed(solve, instance) for instance in instances) for instances in families.values()
        ]
        each_ms = (time.perf_counter() - began) / count * 1e3
        print(f"| {name} | {' | '.join(map(str, misses))} | {sum(misses)} | {each_ms:.2f} |")


def _solvers() -> dict[str, Solve]:
    from dwave.samplers import SimulatedAnnealingSampler, TabuSampler  # noqa: PLC0415 - needs the extra `benchmarks`

    annealing, tabu = SimulatedAnnealingSampler(), TabuSampler()

    def anneal(subproblem: Subproblem) -> Bits:
        return _best(annealing.sample(_convert(subproblem), num_reads=READS, num_sweeps=100, seed=0))

    def search(subproblem: Subproblem) -> Bits:
        return _best(tabu.sample(_convert(subproblem), num_reads=READS, timeout=TABU_READ_MS, seed=0))

    return {
        "tabu, 256 × 2n": Tabu().solve,
        "annealing, 10 × 100": Annealing().solve,
        "dwave-samplers annealing, 10 × 100": anneal,
        f"dwave-samplers tabu, {READS} × {TABU_READ_MS} ms": search,
    }


def _convert(subproblem: Subproblem) -> dimod.BinaryQuadraticModel:
    upper = np.triu(2.0 * subproblem.quadratic, 1)
    return dimod.BinaryQuadraticModel(subproblem.linear, upper, subproblem.offset, dimod.BINARY)


def _best(samples: dimod.SampleSet) -> Bits:
    order = np.argsort(list(samples.variables))
    bits: Bits = samples.record.sample[int(samples.record.energy.argmin())][order].astype(np.uint8)
    return bits


def _is_missed(solve: Solve, subproblem: Subproblem) -> bool:
    optimum = subproblem.energy(Exact().solve(subproblem))
    return subproblem.energy(solve(subproblem)) > optimum + subproblem.tie_tolerance()


def _propose(name: str, seeds: range) -> Iterator[Subproblem]:
    """Twelve subproblems of each size and seed, a training step between them."""
    for n in SIZES:
        for seed in seeds:
            workload = FAMILIES[name](seed)
            kernel = workload.kernel(name, n)
            for version in range(12):
                yield kernel.propose(version, 0).subproblem
                workload.step()


def _draw(seeds: range) -> Iterator[Subproblem]:
    """As many with normal coefficients and every coupling."""
    for n in SIZES:
        rng = np.random.default_rng((n, seeds[0]))
        for _ in range(12 * len(seeds)):
            upper = np.triu(rng.normal(size=(n, n)), 1)
            yield Subproblem(upper + upper.T, rng.normal(size=n))


if __name__ == "__main__":
    _extras.run(main)
