"""One warm call by every method: the same angles, the same process, in random order."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from qiskit import transpile
from qiskit_aer import AerSimulator

from _floor import Bare, plain
from _peers import PEERS
from shotclock.bench.stats.statistics import Sample, percentile
from shotclock.circuits.angles import parameters
from shotclock.circuits.qaoa import logical_circuit, parameter_values
from shotclock.circuits.synthesizer import QaoaSynthesizer
from shotclock.domain.circuit import QaoaParameters, Template
from shotclock.domain.subproblem import Subproblem
from shotclock.emulator import device
from shotclock.emulator.statevector import execute, probabilities
from shotclock.runtime.offload import InlineOffload
from shotclock.solvers.greedy import Greedy

DEVICE = "heron-torino"
SHOTS = 1024
NOISE = 0.1
# Methods that take microseconds run more often in a round: their tails need the calls, which cost nothing.
CHEAP_A_ROUND = 24
WARM, OVERHEAD, EXECUTE = "warm call", "bind + decode", "emulator execute"
BARE, PLAIN = "bare numba kernel", "plain numba state vector"
FOUNDING = "build + transpile + run on Aer"
CHEAP = {
    WARM: "bind a cached template, emulate, decode",
    OVERHEAD: "of that, everything but execution",
    EXECUTE: "the emulator's samples, noise included, alone",
    BARE: "its state vector and shots on kept memory, no noise",
    PLAIN: "the lab's floor: all 2ⁿ energies, a phase each, gate by gate",
}
DEAR = {
    **{name: what for name, (what, _) in PEERS.items()},
    FOUNDING: "the specification's example code, every call",
}
WHAT = CHEAP | DEAR

Way = Callable[[QaoaParameters], object]


@dataclass(frozen=True, slots=True)
class Timings:
    """Durations of each way at one n, nanoseconds."""

    n: int
    template: Template
    by_way: dict[str, list[int]]

    def p50_ms(self, way: str) -> float:
        """The median, milliseconds."""
        return float(np.median(self.by_way[way])) * 1e-6

    def quantile_ms(self, way: str, quantile: float) -> float | None:
        """The nearest-rank quantile, milliseconds; None with too few samples to bound it."""
        bounded = percentile(Sample.of(self.by_way[way]), quantile)
        return bounded.value if bounded else None

    @property
    def floor_ratio(self) -> float:
        """The emulator's execution ÷ the faster of the two bare kernels, medians."""
        return self.p50_ms(EXECUTE) / min(self.p50_ms(BARE), self.p50_ms(PLAIN))


def random_subproblem(n: int, rng: np.random.Generator) -> Subproblem:
    """A dense instance with normal coefficients."""
    upper = np.triu(rng.normal(size=(n, n)), k=1)
    return Subproblem(upper + upper.T, rng.normal(size=n))


async def measure(n: int, rounds: int) -> Timings:
    """All ways at one n; each round draws a subproblem and runs every way on it, in random order."""
    synthesizer = QaoaSynthesizer(
        DEVICE,
        target_source=device.target,
        offload=InlineOffload(),
        circuit_offload=InlineOffload(),
        incumbent=Greedy(),
    )
    await synthesizer.warm(n)
    rng = np.random.default_rng(n)
    subproblem = random_subproblem(n, rng)
    bound = await synthesizer.bind(subproblem)
    timings = Timings(n, bound.template, {way: [] for way in WHAT})
    ways = _ways(n)
    _check(ways, subproblem, bound.parameters)
    for _ in range(rounds):
        subproblem = random_subproblem(n, rng)
        angles = parameters(subproblem, Greedy().solve(subproblem))
        for way in rng.permutation([*DEAR, *[WARM, EXECUTE, BARE, PLAIN] * CHEAP_A_ROUND]):
            began_ns = time.perf_counter_ns()
            if way == WARM:
                await _warm_call(synthesizer, subproblem, timings)
            else:
                ways[way](angles)
            timings.by_way[way].append(time.perf_counter_ns() - began_ns)
    return timings


async def _warm_call(synthesizer: QaoaSynthesizer, subproblem: Subproblem, timings: Timings) -> None:
    began_ns = time.perf_counter_ns()
    circuit = await synthesizer.bind(subproblem)
    bound_ns = time.perf_counter_ns()
    samples = execute(circuit.parameters, SHOTS, NOISE, 1)
    executed_ns = time.perf_counter_ns()
    synthesizer.decode(subproblem, samples)
    timings.by_way[OVERHEAD].append(bound_ns - began_ns + time.perf_counter_ns() - executed_ns)


def _ways(n: int) -> dict[str, Way]:
    aer = AerSimulator(method="statevector", max_parallel_threads=1)
    return {
        EXECUTE: lambda angles: execute(angles, SHOTS, NOISE, 1),
        BARE: Bare(n, SHOTS),
        PLAIN: lambda angles: plain(angles, SHOTS),
        **{name: make(n, SHOTS) for name, (_, make) in PEERS.items()},
        FOUNDING: lambda angles: _founding_pattern(angles, aer),
    }


def _founding_pattern(angles: QaoaParameters, aer: AerSimulator) -> None:
    logical = logical_circuit(angles.n)
    circuit = logical.assign_parameters(parameter_values(logical, angles))
    aer.run(transpile(circuit, backend=aer), shots=SHOTS).result().get_counts()


def _check(ways: dict[str, Way], subproblem: Subproblem, angles: QaoaParameters) -> None:
    """Runs every way once, and refuses to time one whose samples come from another circuit."""
    n = subproblem.n
    everything = ((np.arange(1 << n)[:, None] >> np.arange(n)) & 1).astype(np.uint8)
    energies, exact = subproblem.energies(everything), probabilities(angles)
    mean = float(exact @ energies)
    error = float(np.sqrt(exact @ (energies - mean) ** 2 / SHOTS))
    for name, way in ways.items():
        drawn = way(angles)
        if name == PLAIN and isinstance(drawn, np.ndarray):
            drawn = everything[drawn]
        if name in (*PEERS, PLAIN) and isinstance(drawn, np.ndarray):
            off = abs(float(subproblem.energies(drawn).mean()) - mean)
            if drawn.shape != (SHOTS, n) or off > 5.0 * error:
                raise RuntimeError(f"{name} runs another circuit: its mean energy is {off / error:.1f} σ off")


def metrics(measured: tuple[Timings, ...]) -> dict[str, float | None]:
    """The figures others read; None where there are too few samples for a percentile."""
    n12 = measured[0]
    figures = {
        "warm_overhead_p50_ms": n12.p50_ms(OVERHEAD),
        "warm_overhead_p99_ms": n12.quantile_ms(OVERHEAD, 0.99),
        "speedup_vs_transpile_per_call": n12.p50_ms(FOUNDING) / n12.p50_ms(WARM),
    }
    for timings in measured:
        figures[f"floor_ratio_n{timings.n}"] = timings.floor_ratio
        for way in WHAT:
            key = "_".join("".join(c if c.isalnum() else " " for c in way).lower().split())
            figures[f"{key}_p50_ms_n{timings.n}"] = timings.p50_ms(way)
            figures[f"{key}_p95_ms_n{timings.n}"] = timings.quantile_ms(way, 0.95)
    return figures


def markdown(measured: tuple[Timings, ...]) -> list[str]:
    """The section of the page."""
    lines = [
        "### One call's software, compared with other simulators",
        "",
        f"One call of a QAOA subproblem, p = 1, {SHOTS} shots, software time alone, milliseconds. "
        f"Interleaved in one process on {os.cpu_count()} cores, {platform.machine()}, "
        f"Python {platform.python_version()}; every simulator on one thread, its samples checked first.",
        "",
        "| n | way | what | p50 | p95 | p99 | calls |",
        "|---|---|---|---|---|---|---|",
    ]
    for timings in measured:
        for way, what in WHAT.items():
            quantiles = (timings.p50_ms(way), timings.quantile_ms(way, 0.95), timings.quantile_ms(way, 0.99))
            cells = " | ".join("too few" if value is None else f"{value:.3f}" for value in quantiles)
            lines.append(f"| {timings.n} | {way} | {what} | {cells} | {len(timings.by_way[way])} |")
    speedups, floors = (
        " and ".join(f"{value(timings):.{digits}f} at n = {timings.n}" for timings in measured)
        for value, digits in ((_speedup, 0), (lambda timings: timings.floor_ratio, 2))
    )
    return [
        *lines,
        "",
        "A warm call takes less software time than building, transpiling and running on Aer for every call "
        f"by a factor of {speedups}. Most of that is Aer's transpiling and set-up, which a cached template "
        "leaves out; the rest is a simulator made for this one circuit, as the peers' rows show. The "
        f"emulator's execution takes {floors} times the faster of the two bare kernels.",
    ]


def _speedup(timings: Timings) -> float:
    return timings.p50_ms(FOUNDING) / timings.p50_ms(WARM)
