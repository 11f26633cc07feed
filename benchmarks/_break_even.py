"""Where a QPU could matter at all: classical solvers' time by n against the emulated call's latency."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np

from shotclock.circuits.templates import compile_template
from shotclock.domain.circuit import DeviceCircuit, QaoaParameters
from shotclock.domain.ports import Job, Solver
from shotclock.domain.subproblem import Subproblem
from shotclock.emulator import device, profile
from shotclock.emulator.device import DeviceFacts
from shotclock.emulator.timing import mean_by_component, quantile_s
from shotclock.solvers.exact import Exact
from shotclock.solvers.tabu import Tabu

SIZES = (8, 12, 16, 20, 24)
SHOTS = (256, 1024, 4096)
LATENCY_N = 12


@dataclass(frozen=True, slots=True)
class Classical:
    """Median and p95 of solving one dense random subproblem, ms, and how often tabu met the optimum."""

    n: int
    exact_ms: tuple[float, float]
    tabu_ms: tuple[float, float]
    tabu_optimal: float


@dataclass(frozen=True, slots=True)
class Latency:
    """Submit to samples by a profile, with nothing ahead of it: mean and p95, ms."""

    profile: str
    shots: int
    rep_delay: str
    mean_ms: float
    p95_ms: float


def classical(n: int, count: int) -> Classical:
    """Both solvers on the same instances, alternating."""
    exact, tabu = Exact(max_variables=n), Tabu()
    times: dict[str, list[float]] = {exact.name: [], tabu.name: []}
    met = 0
    tiny = Subproblem(np.zeros((2, 2)), np.zeros(2))
    for solver in (exact, tabu):
        solver.solve(tiny)  # loads the kernels
    rng = np.random.default_rng(n)
    for _ in range(count):
        upper = np.triu(rng.normal(size=(n, n)), k=1)
        subproblem = Subproblem(upper + upper.T, rng.normal(size=n))
        energies = [_time_solver(solver, subproblem, times[solver.name]) for solver in (exact, tabu)]
        met += energies[1] <= energies[0] + 1e-9
    medians = (float(np.median(values)) for values in times.values())
    tails = (float(np.quantile(values, 0.95)) for values in times.values())
    exact_ms, tabu_ms = zip(medians, tails, strict=True)
    return Classical(n, exact_ms, tabu_ms, met / count)


def _time_solver(solver: Solver, subproblem: Subproblem, times_ms: list[float]) -> float:
    began_ns = time.perf_counter_ns()
    bits = solver.solve(subproblem)
    times_ms.append((time.perf_counter_ns() - began_ns) * 1e-6)
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
        "| n | exact, median | p95 | tabu, median | p95 | tabu met the optimum |",
        "|---|---|---|---|---|---|",
    ]
    for row in solved:
        cells = " | ".join(f"{value:.3f}" for value in (*row.exact_ms, *row.tabu_ms))
        lines.append(f"| {row.n} | {cells} | {row.tabu_optimal:.0%} |")
    lines += [
        "",
        "Milliseconds, one core, dense random subproblems. Beside them one call's latency, submit to samples "
        f"with nothing ahead of it (EMULATED, heron-torino, n = {LATENCY_N}; milliseconds):",
        "",
        "| profile | shots | rep_delay | mean | p95 |",
        "|---|---|---|---|---|",
    ]
    lines.extend(
        f"| `{wait.profile}` | {wait.shots} | {wait.rep_delay} | {wait.mean_ms:.1f} | {wait.p95_ms:.1f} |"
        for wait in waits
    )
    return lines


def sentence(solved: list[Classical], waits: list[Latency]) -> str:
    """Where the fastest call and enumeration take the same time, by enumeration's doubling."""
    largest, smallest = solved[-1], min(waits, key=lambda wait: wait.mean_ms)
    default = min((wait for wait in waits if wait.rep_delay == "default"), key=lambda wait: wait.mean_ms)
    crossing = {
        wait.rep_delay: largest.n + math.log2(wait.mean_ms / largest.exact_ms[0])
        for wait in (smallest, default)
    }
    return (
        f"On time alone the fastest emulated call (`{smallest.profile}`, {smallest.shots} shots, rep_delay "
        f"{smallest.rep_delay}: {smallest.mean_ms:.0f} ms) undercuts exact enumeration only from about n = "
        f"{math.ceil(crossing[smallest.rep_delay])}, and at the device's own rep_delay "
        f"({default.mean_ms:.0f} ms) from about n = {math.ceil(crossing['default'])}; tabu answers n = "
        f"{largest.n} in {largest.tabu_ms[0]:.2f} ms and met the optimum of {largest.tabu_optimal:.0%} of "
        f"these instances, so a QPU could matter only where n is beyond enumeration, tabu misses what the "
        f"samples find, and so long a wait is affordable: no kernel on this page is such a case."
    )
