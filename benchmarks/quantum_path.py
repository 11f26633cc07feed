"""The quantum path's software, side by side with the founding document's own pattern.

A warm call (bind a cached template, emulate, decode) against build + `transpile` + `run` on Aer for
every call, the same subproblems in the same process, interleaved in random order. Software time
alone: what an emulated QPU would make the caller wait is stated apart.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
import time
from dataclasses import dataclass, field

import numpy as np
from qiskit import transpile
from qiskit.transpiler import Target, generate_preset_pass_manager
from qiskit_aer import AerSimulator

from shotclock.bench.statistics import Sample, percentile
from shotclock.circuits.angles import parameters
from shotclock.circuits.qaoa import logical_circuit, parameter_values
from shotclock.circuits.synthesizer import QaoaSynthesizer
from shotclock.domain.circuit import DeviceCircuit, QaoaParameters, Template
from shotclock.domain.ports import Job
from shotclock.domain.subproblem import Subproblem
from shotclock.emulator import device, profile
from shotclock.emulator.statevector import evolve, execute, sample
from shotclock.emulator.timing import mean_by_component
from shotclock.orchestrator.offload import InlineOffload
from shotclock.solvers.greedy import Greedy

DEVICE = "heron-torino"
SHOTS = 1024
SIZES = (12, 16)
WARM_PER_ROUND = 12
WARM, OVERHEAD, EXECUTE, FLOOR = "warm call", "bind + decode", "emulator execute", "bare numba kernel"
TEMPLATE_ON_AER, FOUNDING = "template bound, run on Aer", "build + transpile + run on Aer"
WHAT = {
    WARM: "bind a cached template, emulate, decode",
    OVERHEAD: "of that, everything but execution",
    EXECUTE: "of that, execution",
    FLOOR: "state vector and shots, nothing around them",
    TEMPLATE_ON_AER: "the logical circuit kept and bound, no transpiling",
    FOUNDING: "the founding document's pattern, every call",
}


@dataclass
class Timings:
    """Durations of each way at one n, nanoseconds."""

    n: int
    template: Template
    by_way: dict[str, list[int]] = field(default_factory=lambda: {way: [] for way in WHAT})

    def p50_ms(self, way: str) -> float:
        """The median, milliseconds."""
        return float(np.median(self.by_way[way])) * 1e-6

    def quantile_ms(self, way: str, quantile: float) -> float | None:
        """The nearest-rank quantile, milliseconds; None with too few samples to bound it."""
        found = percentile(Sample.of(self.by_way[way]), quantile)
        return found.value if found else None


def random_subproblem(n: int, rng: np.random.Generator) -> Subproblem:
    """A dense instance with normal coefficients."""
    upper = np.triu(rng.normal(size=(n, n)), k=1)
    return Subproblem(upper + upper.T, rng.normal(size=n))


async def measure(n: int, rounds: int) -> Timings:
    """All ways at one n; each round draws a subproblem and runs every way on it, in random order."""
    synthesizer = QaoaSynthesizer(
        DEVICE, target_source=device.target, offload=InlineOffload(), incumbent=Greedy()
    )
    await synthesizer.warm(n)
    aer = AerSimulator(method="statevector", max_parallel_threads=1)
    logical = logical_circuit(n)
    rng = np.random.default_rng(n)
    bound = await synthesizer.bind(random_subproblem(n, rng))
    timings = Timings(n, bound.template)
    _floor(bound.parameters)
    execute(bound.parameters, SHOTS, 0.1, 0)
    for _ in range(rounds):
        subproblem = random_subproblem(n, rng)
        angles = parameters(subproblem, Greedy().solve(subproblem))
        ways = [FOUNDING, TEMPLATE_ON_AER] + [WARM, FLOOR] * WARM_PER_ROUND
        for way in rng.permutation(ways):
            began_ns = time.perf_counter_ns()
            if way == WARM:
                await _warm_call(synthesizer, subproblem, timings)
            elif way == FLOOR:
                _floor(angles)
            elif way == TEMPLATE_ON_AER:
                circuit = logical.assign_parameters(parameter_values(logical, angles))
                aer.run(circuit, shots=SHOTS).result().get_counts()
            else:
                _founding_pattern(angles, aer)
            timings.by_way[str(way)].append(time.perf_counter_ns() - began_ns)
    return timings


async def _warm_call(synthesizer: QaoaSynthesizer, subproblem: Subproblem, timings: Timings) -> None:
    began_ns = time.perf_counter_ns()
    circuit = await synthesizer.bind(subproblem)
    bound_ns = time.perf_counter_ns()
    samples = execute(circuit.parameters, SHOTS, 0.1, 1)
    executed_ns = time.perf_counter_ns()
    synthesizer.decode(subproblem, samples)
    ended_ns = time.perf_counter_ns()
    timings.by_way[OVERHEAD].append(bound_ns - began_ns + ended_ns - executed_ns)
    timings.by_way[EXECUTE].append(executed_ns - bound_ns)


def _floor(angles: QaoaParameters) -> None:
    real, imaginary = evolve(angles.warm, angles.field, angles.coupling, angles.mixer)
    sample(real, imaginary, SHOTS, 0.0, np.uint64(1))


def _founding_pattern(angles: QaoaParameters, aer: AerSimulator) -> None:
    logical = logical_circuit(angles.n)
    circuit = logical.assign_parameters(parameter_values(logical, angles))
    aer.run(transpile(circuit, backend=aer), shots=SHOTS).result().get_counts()


def against_general_transpiler(timings: Timings, target: Target) -> tuple[float, float]:
    """(two-qubit depth, duration) of the general transpiler's circuit ÷ the template's; level 2, one seed."""
    circuit = generate_preset_pass_manager(2, target=target, seed_transpiler=7).run(
        logical_circuit(timings.n)
    )
    depth = circuit.depth(lambda instruction: len(instruction.qubits) == 2)
    duration_s = circuit.estimate_duration(target, unit="s")
    return depth / timings.template.two_qubit_depth, duration_s / timings.template.duration_s


def metrics(measured: tuple[Timings, ...], target: Target) -> dict[str, float]:
    """The figures others read; a percentile with too few samples is left out."""
    n12 = measured[0]
    found = {
        "warm_overhead_p50_ms": n12.p50_ms(OVERHEAD),
        "warm_overhead_p99_ms": n12.quantile_ms(OVERHEAD, 0.99),
        "speedup_vs_transpile_per_call": n12.p50_ms(FOUNDING) / n12.p50_ms(WARM),
    }
    for timings in measured:
        suffix = f"n{timings.n}"
        depth, duration = against_general_transpiler(timings, target)
        found[f"floor_ratio_{suffix}"] = timings.p50_ms(WARM) / timings.p50_ms(FLOOR)
        found[f"depth_ratio_{suffix}"] = depth
        found[f"duration_ratio_{suffix}"] = duration
        found[f"warm_call_p50_ms_{suffix}"] = timings.p50_ms(WARM)
        found[f"transpile_per_call_p50_ms_{suffix}"] = timings.p50_ms(FOUNDING)
    return {key: round(value, 4) for key, value in found.items() if value is not None}


def markdown(measured: tuple[Timings, ...], found: dict[str, float]) -> str:
    """The section of docs/benchmarks.md."""
    lines = [
        "## The quantum path's software",
        "",
        f"One call of a QAOA subproblem, p = 1, {SHOTS} shots, software time alone, milliseconds. "
        f"Interleaved in one process on {os.cpu_count()} cores, {platform.machine()}, "
        f"Python {platform.python_version()}; Aer on one thread.",
        "",
        "| n | way | what | p50 | p95 | p99 | calls |",
        "|---|---|---|---|---|---|---|",
    ]
    for timings in measured:
        for way, what in WHAT.items():
            quantiles = (timings.p50_ms(way), timings.quantile_ms(way, 0.95), timings.quantile_ms(way, 0.99))
            cells = " | ".join("too few" if value is None else f"{value:.3f}" for value in quantiles)
            lines.append(f"| {timings.n} | {way} | {what} | {cells} | {len(timings.by_way[way])} |")
    lines += ["", *_sentences(measured, found)]
    return "\n".join(lines)


def _sentences(measured: tuple[Timings, ...], found: dict[str, float]) -> list[str]:
    lines = [
        f"At n = 12 a warm call takes {found['speedup_vs_transpile_per_call']:.0f} times less software time "
        "than transpiling and running on Aer for every call. Most of that is Aer's transpiling and set-up, "
        "which a cached template leaves out; the rest is a simulator made for this one circuit.",
        "",
        "Against Qiskit's general transpiler (level 2, one seed), the swap-network template's circuit is "
        + " and ".join(
            f"{found[f'duration_ratio_n{timings.n}']:.1f} times shorter in duration at n = {timings.n}"
            for timings in measured
        )
        + ".",
        "",
        "With the QPU's time added (EMULATED: the profile's mean wait for 1,024 shots at n = 12), a whole "
        "call takes, in milliseconds:",
        "",
        "| profile | rep_delay | QPU wait | warm call, total | founding pattern, total | ratio |",
        "|---|---|---|---|---|---|",
    ]
    warm_ms, founding_ms = measured[0].p50_ms(WARM), measured[0].p50_ms(FOUNDING)
    for name, delay, wait_ms in _waits(measured[0].template):
        totals = wait_ms + warm_ms, wait_ms + founding_ms
        lines.append(
            f"| `{name}` | {delay} | {wait_ms:.1f} | {totals[0]:.1f} | {totals[1]:.1f} | "
            f"{totals[1] / totals[0]:.2f} |"
        )
    return lines


def _waits(template: Template) -> list[tuple[str, str, float]]:
    """Each profile with the device's rep_delay and with none, and its mean wait, ms."""
    facts = device.describe(DEVICE)
    idle = QaoaParameters.idle(12)
    found = []
    for name in profile.known():
        for delay, rep_delay_s in (("default", None), ("0", 0.0)):
            job = Job.of((DeviceCircuit(template, idle),), SHOTS, "benchmark", rep_delay_s)
            parts = mean_by_component(job, facts, profile.load(name))
            found.append((name, delay, sum(part.mean_ms for part in parts)))
    return found


def main() -> None:
    """Measures, then prints JSON or markdown on stdout."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under a minute")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one object, metric → number")
    form.add_argument("--markdown", action="store_true", help="the section of docs/benchmarks.md (default)")
    arguments = parser.parse_args()
    rounds = 60 if arguments.quick else 200
    measured = []
    for n in SIZES:
        print(f"n = {n}: {rounds} rounds", file=sys.stderr)
        measured.append(asyncio.run(measure(n, rounds)))
    found = metrics(tuple(measured), device.target(DEVICE))
    if arguments.json:
        print(json.dumps(found, indent=2))
    else:
        print(markdown(tuple(measured), found))


if __name__ == "__main__":
    main()
