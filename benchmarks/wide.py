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
from _ibm_endpoint import start_endpoint
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

RUNS = {
    "heron-torino": ("ibm_torino", 0.1, (32, 64, 100, 127)),
    "nighthawk-berlin": ("ibm_berlin", 0.04, (32, 64, 100, 120)),
}
"""By device: the backend's name at the endpoint, the speed of its clock, and the sizes, up to the width.

The clock is slower than real, so that computing the samples fits into the time that the endpoint emulates.
"""
SHOTS = 1_024
BUDGET_NS = 240 * 10**9

LOOPBACK = "127.0.0.1:0"
SERVE = {"listen": LOOPBACK, "metrics": LOOPBACK, "insecure": True}
INTRODUCTION = f"""\
Random normal coefficients on the couplings of the device (heavy-hex on Heron, square on Nighthawk),
{SHOTS:,} shots, p = 1, through gRPC, `serve`, IBM's own client and `shotclock emulate` (profile `colocated`,
with the noise surrogate). Job: the device model's time from submission to samples. Gain: share of the
possible gain over greedy's answer, mean of the calls; annealing and tabu with their defaults on one core. The
optimum is exact, by elimination: no problem that fits these couplings is hard for a classical computer. The
endpoint's clock runs slower than real time, so that computing the samples fits into the time it emulates;
overruns would be counted.
"""


@dataclass(frozen=True, slots=True)
class Answered:
    """One call of n variables on a device.

    outcome: as the service answered; wall_s: for the caller, seconds
    energies: of greedy's incumbent, the QPU's best sample, annealing, tabu
    times_ms: of annealing and tabu
    optimum: the lowest energy, exact
    """

    device: str
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
    parser.add_argument("--device", choices=list(RUNS), help="this one alone")
    arguments = parser.parse_args()
    calls = 1 if arguments.quick else 5
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    logging.getLogger("qiskit_ibm_runtime").setLevel(logging.ERROR)
    names = [arguments.device] if arguments.device else list(RUNS)
    answered = [call for name in names for call in _run(name, calls)]
    print("\n".join(_markdown(answered)))


def _run(name: str, calls: int) -> list[Answered]:
    backend, speed, sizes = RUNS[name]
    quantum = {"provider": "ibm", "backend": backend, "device": name, "shots": SHOTS}
    with start_endpoint("colocated", speed, on=name):
        service = Service(load(None, {"serve": SERVE | {"sizes": sizes}, "quantum": quantum}))
        port = service.start().grpc_port
        try:
            return asyncio.run(_ask_all(f"127.0.0.1:{port}", name, calls))
        finally:
            service.close()


async def _ask_all(target: str, name: str, calls: int) -> list[Answered]:
    dispatcher = GrpcDispatcher(connect(target, Insecure()))
    try:
        return [
            await _ask(dispatcher, name, subproblem)
            for n in RUNS[name][2]
            for subproblem in instances(n, 1, calls, couplings=find_couplings(name, n))
        ]
    finally:
        await dispatcher.close()


async def _ask(dispatcher: GrpcDispatcher, name: str, subproblem: Subproblem) -> Answered:
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
    optimum = subproblem.energy(Exact().solve(subproblem))
    return Answered(name, subproblem.n, outcome, wall_s, energies, times_ms, optimum)


def _markdown(answered: list[Answered]) -> list[str]:
    """The section: a row a size."""
    lines = [
        "## Beyond enumeration: sparse subproblems end to end (EMULATED)",
        "",
        INTRODUCTION,
        "| device | n | calls with samples | two-qubit depth | job, ms | QPU, s | gain of the QPU "
        "| annealing | tabu | annealing, ms | tabu, ms | overruns | samples by |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, n in dict.fromkeys((call.device, call.n) for call in answered):
        rows = [call for call in answered if (call.device, call.n) == (name, n)]
        solved = [call for call in rows if isinstance(call.outcome, Done) and call.outcome.samples.shots]
        overruns = sum(call.outcome.provenance.emulator_overrun for call in rows)
        simulation = find_worst(call.outcome.provenance.simulation for call in rows)
        job_ms = np.mean([_job_ms(call) for call in solved]) if solved else float("nan")
        qpu_s = np.mean([call.outcome.provenance.qpu_s for call in solved]) if solved else float("nan")
        gains = [_mean_gain(solved, solver) for solver in ("qpu", "annealing", "tabu")]
        times = [np.median([call.times_ms[solver] for call in rows]) for solver in ("annealing", "tabu")]
        lines.append(
            f"| {name} | {n} | {len(solved)} of {len(rows)} | {_depth(name, n)} | {job_ms:,.0f} | "
            f"{qpu_s:.2f} | "
            f"{' | '.join(f'{gain:.3f}' for gain in gains)} | {' | '.join(f'{ms:.1f}' for ms in times)} | "
            f"{overruns} | {simulation} |"
        )
    return lines


def _job_ms(call: Answered) -> float:
    """Emulated milliseconds of all stages."""
    emulated_ns = sum(stage.emulated_ns for stage in call.outcome.provenance.stages)
    return emulated_ns * 1e-6 * RUNS[call.device][1]


def _mean_gain(rows: list[Answered], name: str) -> float:
    shares = [
        (call.energies["greedy"] - call.energies[name]) / (call.energies["greedy"] - call.optimum)
        for call in rows
        if call.energies["greedy"] > call.optimum + 1e-9
    ]
    return float(np.mean([max(0.0, share) for share in shares])) if shares else float("nan")


def _depth(name: str, n: int) -> int:
    target = device.target(name)
    spec = TemplateSpec(n, line=map_device(target, n).qubits, native=True)
    return store.obtain(spec, name, device.target, None).template.two_qubit_depth


if __name__ == "__main__":
    _extras.run(main)
