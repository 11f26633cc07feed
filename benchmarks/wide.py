"""Subproblems beyond enumeration, end to end: gRPC client, `serve`, IBM's own client, `shotclock emulate`.

Sparse subproblems on the device's couplings, which run natively. Each row: the model's time of the job, the
samples' best energy against annealing's, tabu's and the optimum, and how the samples were computed.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
import time
from dataclasses import dataclass, replace

import numpy as np

import _extras
from _ibm_endpoint import BACKEND, DEVICE, start_endpoint
from shotclock.app.service import Service
from shotclock.app.sizes import find_couplings
from shotclock.bench.load.arrivals import instances
from shotclock.circuits import store
from shotclock.circuits.cache import TemplateSpec
from shotclock.circuits.native import map_device
from shotclock.domain.circuit import find_worst
from shotclock.domain.outcome import Degraded, Done, Outcome
from shotclock.domain.subproblem import Subproblem
from shotclock.emulator import device
from shotclock.settings.sources import load
from shotclock.solvers.annealing import Annealing
from shotclock.solvers.exact import Exact
from shotclock.solvers.greedy import Greedy
from shotclock.solvers.tabu import Tabu
from shotclock.wire.channels import connect
from shotclock.wire.client import GrpcDispatcher
from shotclock.wire.tls import Insecure

SIZES = (32, 64, 100, 127)
SHOTS = 1_024
BUDGET_NS = 120 * 10**9
SPEED = 0.1
"""Slower than real, so that computing the samples fits into the time that the endpoint emulates."""

LOOPBACK = "127.0.0.1:0"
SERVE = {"listen": LOOPBACK, "metrics": LOOPBACK, "insecure": True, "sizes": SIZES}
QUANTUM = {"provider": "ibm", "backend": BACKEND, "device": DEVICE, "shots": SHOTS}
INTRODUCTION = f"""\
Random normal coefficients on the couplings of {DEVICE}, {SHOTS:,} shots, p = 1, through gRPC, `serve`,
IBM's own client and `shotclock emulate` (profile `colocated`, with the noise surrogate). Job: the device
model's time from submission to samples. Gain: share of the possible gain over greedy's answer, mean of the
calls; annealing and tabu with their defaults on one core. The optimum is exact, by elimination along the
lattice (2^6 states): no problem that fits these couplings is hard for a classical computer. The endpoint's
clock runs at {SPEED:g} of real time, so that computing the samples fits into the time it emulates; overruns
would be counted.
"""


@dataclass(frozen=True, slots=True)
class Answered:
    """One call of n variables.

    outcome: as the service answered; wall_s: for the caller, seconds
    energies: of greedy's incumbent, the QPU's best sample, annealing, tabu
    times_ms: of annealing and tabu
    optimum: the lowest energy, exact
    """

    n: int
    outcome: Outcome
    wall_s: float
    energies: dict[str, float]
    times_ms: dict[str, float]
    optimum: float


def main() -> None:
    """Prints the section of docs/benchmarks.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one call a size")
    calls = 1 if parser.parse_args().quick else 5
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    logging.getLogger("qiskit_ibm_runtime").setLevel(logging.ERROR)
    with start_endpoint("colocated", SPEED):
        service = Service(load(None, {"serve": SERVE, "quantum": QUANTUM}))
        port = service.start().grpc_port
        try:
            answered = asyncio.run(_ask_all(f"127.0.0.1:{port}", calls))
        finally:
            service.close()
    print("\n".join(_markdown(answered)))


async def _ask_all(target: str, calls: int) -> list[Answered]:
    dispatcher = GrpcDispatcher(connect(target, Insecure()))
    try:
        return [await _ask(dispatcher, subproblem) for n in SIZES for subproblem in _subproblems(n, calls)]
    finally:
        await dispatcher.close()


def _subproblems(n: int, calls: int) -> tuple[Subproblem, ...]:
    return instances(n, 1, calls, couplings=find_couplings(DEVICE, n))


async def _ask(dispatcher: GrpcDispatcher, subproblem: Subproblem) -> Answered:
    began = time.perf_counter()
    outcome = await dispatcher.solve(replace(subproblem, budget_ns=BUDGET_NS))
    wall_s = time.perf_counter() - began
    print(f"n = {subproblem.n}: {type(outcome).__name__}, {wall_s:.1f} s", file=sys.stderr)
    energies = {"greedy": subproblem.energy(Greedy().solve(subproblem))}
    if isinstance(outcome, Done):
        energies["qpu"] = float(subproblem.energies(outcome.samples.pool).min())
    elif isinstance(outcome, Degraded):
        print(outcome.cause, file=sys.stderr)
    times_ms = {}
    for solver in (Annealing(), Tabu()):
        solver.solve(Subproblem(np.zeros((2, 2)), np.zeros(2)))
        began_ns = time.perf_counter_ns()
        energies[solver.name] = subproblem.energy(solver.solve(subproblem))
        times_ms[solver.name] = (time.perf_counter_ns() - began_ns) * 1e-6
    return Answered(
        subproblem.n, outcome, wall_s, energies, times_ms, subproblem.energy(Exact().solve(subproblem))
    )


def _markdown(answered: list[Answered]) -> list[str]:
    """The section: a row a size."""
    lines = [
        "## Beyond enumeration: sparse subproblems end to end (EMULATED)",
        "",
        INTRODUCTION,
        "| n | calls with samples | two-qubit depth | job, ms | QPU, s | gain of the QPU | annealing | tabu "
        "| annealing, ms | tabu, ms | overruns | samples by |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for n in dict.fromkeys(call.n for call in answered):
        rows = [call for call in answered if call.n == n]
        solved = [call for call in rows if isinstance(call.outcome, Done) and call.outcome.samples.shots]
        overruns = sum(call.outcome.provenance.emulator_overrun for call in rows)
        simulation = find_worst(call.outcome.provenance.simulation for call in rows)
        job_ms = np.mean([_job_ms(call.outcome) for call in solved]) if solved else float("nan")
        qpu_s = np.mean([call.outcome.provenance.qpu_s for call in solved]) if solved else float("nan")
        gains = [_mean_gain(solved, name) for name in ("qpu", "annealing", "tabu")]
        times = [np.median([call.times_ms[name] for call in rows]) for name in ("annealing", "tabu")]
        lines.append(
            f"| {n} | {len(solved)} of {len(rows)} | {_depth(n)} | {job_ms:,.0f} | {qpu_s:.2f} | "
            f"{' | '.join(f'{gain:.3f}' for gain in gains)} | {' | '.join(f'{ms:.1f}' for ms in times)} | "
            f"{overruns} | {simulation} |"
        )
    return lines


def _job_ms(outcome: Outcome) -> float:
    """Emulated milliseconds of all stages."""
    return sum(stage.emulated_ns for stage in outcome.provenance.stages) * 1e-6 * SPEED


def _mean_gain(rows: list[Answered], name: str) -> float:
    shares = [
        (call.energies["greedy"] - call.energies[name]) / (call.energies["greedy"] - call.optimum)
        for call in rows
        if call.energies["greedy"] > call.optimum + 1e-9
    ]
    return float(np.mean([max(0.0, share) for share in shares])) if shares else float("nan")


def _depth(n: int) -> int:
    target = device.target(DEVICE)
    spec = TemplateSpec(n, line=map_device(target, n).qubits, native=True)
    return store.obtain(spec, DEVICE, device.target, None).template.two_qubit_depth


if __name__ == "__main__":
    _extras.run(main)
