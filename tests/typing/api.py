"""The public surface as a user's code sees it: mypy checks that these classes are what the ports ask for.

Nothing here runs; a change that breaks a user's types breaks this file.
"""

from __future__ import annotations

from typing import assert_never, assert_type

import numpy as np

import shotclock
from shotclock.app.solution import CircuitResult, Solution
from shotclock.domain.circuit import Samples
from shotclock.domain.delta import Delta, Proposal
from shotclock.domain.outcome import Answer, Degraded, Done, Failed, Late, Outcome, Provenance, Shed
from shotclock.domain.ports import (
    Accepted,
    Clock,
    Dispatcher,
    Execution,
    Job,
    Kernel,
    Provider,
    ProviderLimits,
    Solver,
    Workload,
)
from shotclock.domain.subproblem import Bits, Subproblem
from shotclock.providers.scripted import ScriptedProvider


class MySolver:
    name = "mine"

    def solve(self, subproblem: Subproblem) -> Bits:
        return np.zeros(subproblem.n, dtype=np.uint8)


class MyProvider:
    name = "mine"
    limits = ProviderLimits(
        lanes=1, max_shots=1, max_qubits=1, submissions_per_minute=None, paid=True, emulated=False
    )

    def predict_s(self, job: Job) -> float:
        return float(job.shots)

    async def submit(self, job: Job) -> Accepted:
        return Accepted(job.tag)

    async def collect(self, accepted: Accepted) -> Execution:
        return Execution((), 0, 0, 0)

    async def cancel(self, accepted: Accepted) -> None:
        return None

    async def find(self, tag: str) -> tuple[Accepted, ...]:
        return (Accepted(tag),)

    async def ping(self) -> None:
        return None

    async def close(self) -> None:
        return None


class MyKernel:
    name = "mine"
    loss_check = True

    def propose(self, base_version: int, budget_ns: int) -> Proposal:
        zero = Subproblem(np.zeros((2, 2)), np.zeros(2), base_version=base_version, budget_ns=budget_ns)
        return Proposal(zero, context=None)

    def rebuild(self, proposal: Proposal, version: int) -> Subproblem:
        return proposal.subproblem

    def delta(self, proposal: Proposal, bits: Bits, version: int) -> Delta:
        return Delta(version, "weight", np.flatnonzero(bits), np.zeros(int(bits.sum()), np.float32))


class MyWorkload:
    name = "mine"
    samples_per_step = 1

    def step(self) -> float:
        return 0.0

    def evaluate(self) -> float:
        return 0.0

    def probe(self, delta: Delta) -> float:
        return 0.0

    def apply(self, delta: Delta) -> None:
        return None

    def kernel(self, name: str, n: int) -> Kernel:
        return MyKernel()


def ports(clock: Clock) -> tuple[Solver, Provider, Provider, Workload]:
    return MySolver(), MyProvider(), ScriptedProvider(clock), MyWorkload()


def use_a_notebook(subproblem: Subproblem) -> str:
    solution = shotclock.solve(subproblem, budget="200ms")
    assert_type(solution, Solution)
    assert_type(solution.outcome, Done | Degraded)
    result = shotclock.run("OPENQASM 3.0; qubit q; bit c; c = measure q;", shots=10, budget=2.0)
    assert_type(result, CircuitResult)
    assert_type(result.counts, dict[str, int])
    return solution.summary() + result.summary()


async def ask(dispatcher: Dispatcher, subproblem: Subproblem) -> Answer | None:
    outcome = await dispatcher.solve(subproblem)
    assert_type(outcome, Outcome)
    assert_type(outcome.provenance, Provenance)
    match outcome:
        case Done(samples=samples):
            assert_type(samples, Samples)
            return outcome.answer
        case Degraded(answer=answer):
            return answer
        case Shed() | Late() | Failed():
            return None
        case _:
            assert_never(outcome)
