"""Where a QPU could matter at all: classical solvers' time by n against the emulated call's latency."""

from __future__ import annotations

import math
import time
from collections import Counter
from dataclasses import dataclass

import numpy as np

from shotclock.app.sizes import find_native_pairs
from shotclock.bench.load.arrivals import instances
from shotclock.circuits.templates import compile_template
from shotclock.domain.circuit import DeviceCircuit, QaoaParameters
from shotclock.domain.ports import Job, Solver
from shotclock.domain.subproblem import Subproblem
from shotclock.emulator import device, profile
from shotclock.emulator.device import DeviceFacts
from shotclock.emulator.timing import mean_by_component, quantile_s
from shotclock.solvers.annealing import Annealing
from shotclock.solvers.exact import Exact
from shotclock.solvers.tabu import Tabu

SIZES = (8, 12, 16, 20, 24, 32, 64, 100, 127)
MOST_ENUMERATED = 24
SHOTS = (256, 1024, 4096)
LATENCY_N = 12
DEVICE = "heron-torino"


@dataclass(frozen=True, slots=True)
class Classical:
    """Solving dense random subproblems of n variables.

    times_ms: by solver, median and p95, milliseconds; `exact` up to `MOST_ENUMERATED`
    met: by solver, the share that it solved as well as the best answer known: the optimum, or beyond
        enumeration the best of annealing and tabu with ten times their effort
    elimination_ms: median time of the exact answer where terms lie on the device's couplings alone
    """

    n: int
    times_ms: dict[str, tuple[float, float]]
    met: dict[str, float]
    elimination_ms: float


@dataclass(frozen=True, slots=True)
class Latency:
    """Submit to samples by a profile, with nothing ahead of it: mean and p95, ms."""

    profile: str
    shots: int
    rep_delay: str
    mean_ms: float
    p95_ms: float


def classical(n: int, count: int) -> Classical:
    """All solvers on the same instances, alternating."""
    solvers: list[Solver] = [Annealing(), Tabu()]
    if n <= MOST_ENUMERATED:
        solvers.insert(0, Exact(max_variables=n))
    times: dict[str, list[float]] = {solver.name: [] for solver in solvers}
    met = Counter[str]()
    tiny = Subproblem(np.zeros((2, 2)), np.zeros(2))
    for solver in solvers:
        solver.solve(tiny)  # loads the kernels
    rng = np.random.default_rng(n)
    for _ in range(count):
        upper = np.triu(rng.normal(size=(n, n)), k=1)
        subproblem = Subproblem(upper + upper.T, rng.normal(size=n))
        energies = {solver.name: _time_solver(solver, subproblem, times[solver.name]) for solver in solvers}
        if n > MOST_ENUMERATED:
            longer: tuple[Solver, ...] = (Annealing(1, reads=100), Tabu(1, starts=2560))
            best = min(subproblem.energy(solver.solve(subproblem)) for solver in longer)
        best = min(best, *energies.values()) if n > MOST_ENUMERATED else energies["exact"]
        met.update(name for name, energy in energies.items() if energy <= best + 1e-9)
    native: list[float] = []
    pairs = find_native_pairs(DEVICE, n)
    for subproblem in instances(n, n, count, couplings=pairs):
        _time_solver(Exact(max_variables=0), subproblem, native)
    return Classical(
        n,
        {name: (float(np.median(spent)), float(np.quantile(spent, 0.95))) for name, spent in times.items()},
        {name: met[name] / count for name in times},
        float(np.median(native)),
    )


def _time_solver(solver: Solver, subproblem: Subproblem, times_ms: list[float]) -> float:
    began_ns = time.thread_time_ns()
    bits = solver.solve(subproblem)
    times_ms.append((time.thread_time_ns() - began_ns) * 1e-6)
    return subproblem.energy(bits)


def latencies(facts: DeviceFacts) -> list[Latency]:
    """Every profile, shots and both ends of rep_delay; the template is n = 12's, and hardly matters."""
    circuit = DeviceCircuit(
        compile_template(LATENCY_N, facts.name, device.target), QaoaParameters.idle(LATENCY_N)
    )
    rows = []
    for name in profile.list_profiles():
        for shots in SHOTS:
            for delay, rep_delay_s in (("default", None), ("0", 0.0)):
                job = Job.of((circuit,), shots, "benchmark", rep_delay_s)
                loaded = profile.load(name)
                mean_ms = sum(part.mean_ms for part in mean_by_component(job, facts, loaded))
                rows.append(Latency(name, shots, delay, mean_ms, quantile_s(job, facts, loaded, 0.95) * 1e3))
    return rows


def markdown(solved: list[Classical], waits: list[Latency]) -> list[str]:
    """The first section of the page: the sentence, then both tables."""
    lines = [
        "## Break-even: where a QPU could matter at all",
        "",
        sentence(solved, waits),
        "",
        "| n | enumeration, median | p95 | annealing, median | p95 | met the best known | tabu, median | p95 "
        "| met the best known | couplings alone, exact, median |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in solved:
        exact, annealing, tabu = (_cells(row, name) for name in ("exact", "annealing", "tabu"))
        lines.append(
            f"| {row.n} | {exact} | {annealing} | {row.met['annealing']:.0%} | {tabu} | "
            f"{row.met['tabu']:.0%} | {row.elimination_ms:.3f} |"
        )
    lines += [
        "",
        "Milliseconds of processor time, one core, dense random subproblems; the best known is the optimum "
        f"up to n = {MOST_ENUMERATED}, and beyond it the best of annealing and tabu with ten times their "
        "effort, an upper bound of the optimum. Last column: random subproblems with terms on heron-torino's "
        "couplings alone, whose optimum is found by elimination. Beside them one call's latency, submit to "
        f"samples with nothing ahead of it (EMULATED, heron-torino, n = {LATENCY_N}; milliseconds):",
        "",
        "| profile | shots | rep_delay | mean | p95 |",
        "|---|---|---|---|---|",
    ]
    lines.extend(
        f"| `{wait.profile}` | {wait.shots} | {wait.rep_delay} | {wait.mean_ms:.1f} | {wait.p95_ms:.1f} |"
        for wait in waits
    )
    return lines


def _cells(row: Classical, solver: str) -> str:
    """Median and p95."""
    if solver not in row.times_ms:
        return "– | –"
    return " | ".join(f"{value:.3f}" for value in row.times_ms[solver])


def sentence(solved: list[Classical], waits: list[Latency]) -> str:
    """Where the fastest call and enumeration take the same time, by enumeration's doubling."""
    enumerated = next(row for row in reversed(solved) if "exact" in row.times_ms)
    largest, smallest = solved[-1], min(waits, key=lambda wait: wait.mean_ms)
    default = min((wait for wait in waits if wait.rep_delay == "default"), key=lambda wait: wait.mean_ms)
    crossing = {
        wait.rep_delay: enumerated.n + math.log2(wait.mean_ms / enumerated.times_ms["exact"][0])
        for wait in (smallest, default)
    }
    return (
        f"On time alone the fastest emulated call (`{smallest.profile}`, {smallest.shots} shots, rep_delay "
        f"{smallest.rep_delay}: {smallest.mean_ms:.0f} ms) undercuts exact enumeration only from about n = "
        f"{math.ceil(crossing[smallest.rep_delay])}, and at the device's own rep_delay "
        f"({default.mean_ms:.0f} ms) from about n = {math.ceil(crossing['default'])}. Other classical "
        f"methods do not double: at n = {largest.n} annealing answers in "
        f"{largest.times_ms['annealing'][0]:.1f} ms and meets the best known of "
        f"{largest.met['annealing']:.0%} of dense subproblems, tabu in "
        f"{largest.times_ms['tabu'][0]:.0f} ms and of {largest.met['tabu']:.0%}, and what fits the device's "
        f"couplings is solved exactly in {largest.elimination_ms:.0f} ms. Dense subproblems of that size fit "
        f"no device. So a QPU could matter only where annealing and tabu miss what the samples find, and so "
        f"long a wait is affordable: no kernel on this page is such a case."
    )
