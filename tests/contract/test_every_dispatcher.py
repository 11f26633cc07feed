"""The Dispatcher contract, one suite for all: in process on virtual time, and over gRPC with mutual TLS.

What differs is who waits where, not what comes back. The QPU's time is short, because over gRPC it passes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest

from certificates import SERVER, TRAINER, Site
from harness import LoopClock, run_virtual
from mtls_loopback import POLICY
from shotclock.domain.budget import NS_PER_MS, NS_PER_S
from shotclock.domain.circuit import CircuitSpec, Samples
from shotclock.domain.circuit_batch import CircuitBatch, CircuitPoints
from shotclock.domain.errors import CircuitError, FaultKind, ProviderError
from shotclock.domain.ledger import LedgerState
from shotclock.domain.outcome import (
    CircuitOutcome,
    DeadlinePassed,
    Decision,
    Degraded,
    Done,
    Executed,
    Failed,
    Late,
    Outcome,
    ProviderFault,
    Rejection,
    Shed,
    Winner,
)
from shotclock.domain.ports import Dispatcher
from shotclock.domain.subproblem_batch import SubproblemBatch
from shotclock.orchestrator.answers import Fallback
from shotclock.orchestrator.ledger.memory import MemoryLedger
from shotclock.orchestrator.planning import ShotLimits
from shotclock.providers.scripted import UNLIMITED, Fail, Never, Reply, ScriptedProvider, Step
from shotclock.solvers.fallback import Classical
from shotclock.wire.call_limits import CallLimits
from shotclock.wire.channels import connect
from shotclock.wire.client import GrpcDispatcher
from shotclock.wire.server import serve
from shotclock.wire.tls import ClientTls, ServerTls
from virtual_orchestrator import N, System, make_subproblem

QUICK = Reply(0.005)
PATIENT_MS = 60_000
"""Of a call whose deadline is not the matter."""
DEADLINE_MS = 3_000
"""Of one that ends by it; over gRPC a tenth of it is kept for the way back, however busy the machine."""


@dataclass
class Subject:
    """A dispatcher as its caller sees it, what lies behind, and by which name that counts the caller."""

    dispatcher: Dispatcher
    behind: System
    caller: str = "test"

    async def wait_until(self, what: Callable[[], bool]) -> None:
        """Until what another task or process does has happened; a failing test hangs for a minute."""
        async with asyncio.timeout(60):
            while not what():  # noqa: ASYNC110 - polled from outside
                await asyncio.sleep(0.005)


class Way(Protocol):
    """How a dispatcher is reached."""

    def __call__(
        self, make: Callable[[], System], work: Callable[[Subject], Awaitable[None]], folder: Path
    ) -> None: ...


async def _start(make: Callable[[], System]) -> System:
    system = make()
    await system.orchestrator.start(make_subproblem())
    return system


def in_process(make: Callable[[], System], work: Callable[[Subject], Awaitable[None]], folder: Path) -> None:
    async def main() -> None:
        system = await _start(make)
        await work(Subject(system.orchestrator, system))
        await system.orchestrator.stop()

    run_virtual(main())


def over_grpc(make: Callable[[], System], work: Callable[[Subject], Awaitable[None]], folder: Path) -> None:
    site = Site.at(folder)

    @asynccontextmanager
    async def serve_system(system: System) -> AsyncIterator[Dispatcher]:
        tls = ServerTls(site.issue(SERVER), POLICY)
        server = await serve(system.orchestrator, system.orchestrator, "127.0.0.1:0", tls)
        channels = connect(f"127.0.0.1:{server.port}", ClientTls(site.issue(TRAINER), SERVER))
        client = GrpcDispatcher(channels, CallLimits(return_s=DEADLINE_MS * 1e-3))
        try:
            yield client
        finally:
            await client.close()
            await server.stop(0)

    async def main() -> None:
        system = await _start(make)
        async with serve_system(system) as client:
            await work(Subject(client, system, TRAINER))
        await system.orchestrator.stop()

    asyncio.run(main())


pytestmark = pytest.mark.parametrize("reach", [in_process, over_grpc])


def behind(*steps: Step, **words: Any) -> Callable[[], System]:
    """An orchestrator over a scripted provider. limits: the provider's."""
    afterwards = words.pop("afterwards", QUICK)
    limits = words.pop("limits", UNLIMITED)
    return lambda: System(
        ScriptedProvider(LoopClock(), steps, afterwards=afterwards, limits=limits, predicted_s=0.005), **words
    )


def circuit(budget_ns: int = 60 * NS_PER_S) -> CircuitSpec:
    return CircuitSpec("OPENQASM 3.0; qubit[2] q;", 64, request_id="own", budget_ns=budget_ns)


def test_an_answer_is_never_worse_than_doing_nothing_or_the_optimum(reach: Way, tmp_path: Path) -> None:
    async def work(reached: Subject) -> None:
        for seed in range(6):
            subproblem = make_subproblem(seed, PATIENT_MS)
            outcome = await reached.dispatcher.solve(subproblem)
            assert isinstance(outcome, Done)
            assert outcome.provenance.base_version == 7
            assert outcome.answer.energy == pytest.approx(subproblem.energy(outcome.answer.bits))
            exact = subproblem.energy(Classical().solve(subproblem))
            assert outcome.answer.energy <= min(exact, subproblem.offset) + 1e-9

    reach(behind(), work, tmp_path)


def test_the_whole_pool_comes_back_with_its_provenance(reach: Way, tmp_path: Path) -> None:
    pool = np.eye(N, dtype=np.uint8)
    samples = Samples(pool, np.arange(1, N + 1, dtype=np.int64) * 2)
    shots = samples.shots

    async def work(reached: Subject) -> None:
        asked_ns = round(asyncio.get_running_loop().time() * NS_PER_S)
        outcome = await reached.dispatcher.solve(make_subproblem(0, PATIENT_MS))
        assert isinstance(outcome, Done)
        assert np.array_equal(outcome.samples.pool, pool)
        assert np.array_equal(outcome.samples.counts, samples.counts)
        assert outcome.provenance.job_id == "scripted-0"
        assert outcome.provenance.emulated
        assert outcome.provenance.attempts == 1
        assert outcome.answer.winner in Winner
        now = round(asyncio.get_running_loop().time() * NS_PER_S)
        assert asked_ns <= outcome.provenance.began_ns <= outcome.provenance.samples_at_ns <= now

    reach(behind(Reply(0.005, (samples,)), shots=ShotLimits(shots, shots)), work, tmp_path)


@pytest.mark.parametrize(
    ("fallback", "kind"), [(Fallback.RACE, Degraded), (Fallback.STANDBY, Degraded), (Fallback.NONE, Late)]
)
def test_a_qpu_that_never_answers_ends_the_call_by_its_deadline(
    reach: Way, tmp_path: Path, fallback: Fallback, kind: type
) -> None:
    async def work(reached: Subject) -> None:
        outcome = await reached.dispatcher.solve(make_subproblem(0, DEADLINE_MS))
        assert isinstance(outcome, kind)
        assert isinstance(outcome, Degraded | Late)
        assert isinstance(outcome.cause, DeadlinePassed)
        assert 0 < outcome.cause.budget_ns <= DEADLINE_MS * NS_PER_MS
        await reached.wait_until(lambda: reached.behind.provider.cancels == 1)

    reach(behind(afterwards=Never(), fallback=fallback), work, tmp_path)


def test_a_full_queue_refuses_with_the_limit_and_when_to_retry(reach: Way, tmp_path: Path) -> None:
    async def work(reached: Subject) -> None:
        ask = [
            asyncio.create_task(reached.dispatcher.solve(make_subproblem(seed, PATIENT_MS)))
            for seed in range(6)
        ]
        outcomes = await asyncio.gather(*ask)
        shed = [outcome for outcome in outcomes if isinstance(outcome, Shed)]
        assert shed
        assert sum(isinstance(outcome, Done) for outcome in outcomes) == 6 - len(shed)
        for outcome in shed:
            rejection = outcome.rejection
            assert (rejection.limit, rejection.allowed, rejection.unit) == ("queue_limit", 2, "calls waiting")

    one_lane = replace(UNLIMITED, lanes=1)
    make = behind(afterwards=Reply(0.6), limits=one_lane, queue_limit=2, fallback=Fallback.NONE)
    reach(make, work, tmp_path)


@pytest.mark.parametrize(("kind", "submits"), [(FaultKind.TRANSIENT, 2), (FaultKind.PERMANENT, 1)])
def test_only_a_transient_fault_is_tried_again(
    reach: Way, tmp_path: Path, kind: FaultKind, submits: int
) -> None:
    async def work(reached: Subject) -> None:
        outcome = await reached.dispatcher.solve(make_subproblem(0, PATIENT_MS))
        assert reached.behind.provider.submits == submits
        if kind is FaultKind.TRANSIENT:
            assert isinstance(outcome, Done)
        else:
            assert isinstance(outcome, Failed)
            assert outcome.cause == ProviderFault("the door is shut")

    fault = Fail(ProviderError(kind, "the door is shut"))
    reach(behind(fault, fallback=Fallback.NONE), work, tmp_path)


def test_a_caller_that_goes_away_cancels_its_job_and_is_counted(reach: Way, tmp_path: Path) -> None:
    async def work(reached: Subject) -> None:
        call = asyncio.create_task(reached.dispatcher.solve(make_subproblem(0, 60_000)))
        await reached.wait_until(lambda: reached.behind.provider.submits == 1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await reached.wait_until(lambda: reached.behind.provider.cancels == 1)
        labels = {"client": reached.caller, "outcome": "cancelled"}
        assert reached.behind.value("shotclock_calls_total", **labels) == 1
        assert reached.behind.value("shotclock_call_duration_seconds_count", **labels) == 1

    reach(behind(afterwards=Never()), work, tmp_path)


def test_a_circuit_of_the_callers_own_is_executed(reach: Way, tmp_path: Path) -> None:
    async def work(reached: Subject) -> None:
        outcome = await reached.dispatcher.execute(circuit())
        assert isinstance(outcome, Executed)
        assert outcome.samples.pool.shape[1] == 2
        assert outcome.samples.shots == 64

    reach(behind(), work, tmp_path)


def test_a_circuit_that_cannot_run_is_the_callers_to_mend(reach: Way, tmp_path: Path) -> None:
    async def work(reached: Subject) -> None:
        with pytest.raises(CircuitError, match="source"):
            await reached.dispatcher.execute(replace(circuit(), source="nonsense"))

    reach(behind(), work, tmp_path)


def test_a_circuit_without_an_answer_is_late(reach: Way, tmp_path: Path) -> None:
    async def work(reached: Subject) -> None:
        assert isinstance(await reached.dispatcher.execute(circuit(150 * NS_PER_MS)), Late)

    reach(behind(afterwards=Never()), work, tmp_path)


def test_a_drained_orchestrator_refuses_and_says_so(reach: Way, tmp_path: Path) -> None:
    async def work(reached: Subject) -> None:
        await reached.behind.orchestrator.drain(NS_PER_S)
        outcome = await reached.dispatcher.solve(make_subproblem(0, PATIENT_MS))
        # in process it is refused by a limit; over the wire the server is unavailable
        assert isinstance(outcome, Shed | Failed)
        reached.behind.orchestrator.resume()
        assert isinstance(await reached.dispatcher.solve(make_subproblem(1, PATIENT_MS)), Done)

    reach(behind(fallback=Fallback.NONE), work, tmp_path)


def test_every_decision_is_counted_and_a_stale_one_moves_the_stale_count(reach: Way, tmp_path: Path) -> None:
    async def work(reached: Subject) -> None:
        behind, caller = reached.behind, reached.caller
        before = behind.value("stale_parameter_count", client=caller)
        for decision in Decision:
            for stale in (False, True):
                await reached.dispatcher.record_decision("r1", decision, stale=stale)
        for decision in Decision:
            is_always_stale = decision in {Decision.REVALIDATED, Decision.DROPPED, Decision.CONFLICT}
            labels = {"client": caller, "decision": decision.value}
            assert behind.value("shotclock_decisions_total", **labels) == 2
            assert behind.value("shotclock_stale_decisions_total", **labels) == 1 + is_always_stale
        assert (before, behind.value("stale_parameter_count", client=caller)) == (0, 9)

    reach(behind(), work, tmp_path)


def test_a_decision_closes_the_record_of_a_paid_call(reach: Way, tmp_path: Path) -> None:
    ledger = MemoryLedger(lambda: 0.0)

    async def work(reached: Subject) -> None:
        assert isinstance(await reached.dispatcher.solve(make_subproblem(3, PATIENT_MS)), Done)
        await reached.dispatcher.record_decision("r3", Decision.APPLIED)
        await reached.wait_until(lambda: ledger.history[-1].after is LedgerState.APPLIED)

    reach(behind(limits=replace(UNLIMITED, paid=True), ledger=ledger), work, tmp_path)


def test_what_predictably_cannot_finish_is_refused_on_arrival(reach: Way, tmp_path: Path) -> None:
    async def work(reached: Subject) -> None:
        outcome = await reached.dispatcher.solve(make_subproblem(0, 2_500))
        assert isinstance(outcome, Degraded)
        assert isinstance(outcome.cause, Rejection)
        assert outcome.cause.limit == "remaining_budget"
        assert outcome.cause.present == pytest.approx(3.0, rel=0.01)
        assert reached.behind.provider.submits == 0

    def slow() -> System:
        return System(ScriptedProvider(LoopClock(), afterwards=QUICK, predicted_s=3.0), protected=True)

    reach(slow, work, tmp_path)


def test_a_batch_has_an_outcome_at_every_point_in_its_place(reach: Way, tmp_path: Path) -> None:
    points = np.arange(6.0).reshape(3, 2)
    circuits = (
        CircuitPoints("OPENQASM 3.0;", 64, ("a", "b"), points),
        CircuitPoints("OPENQASM 3.0; // no parameters", 32, (), np.zeros((1, 0))),
    )

    async def work(subject: Subject) -> None:
        outcomes: dict[int, CircuitOutcome] = {}
        batch = CircuitBatch(circuits, "b1", PATIENT_MS * NS_PER_MS)
        await subject.dispatcher.execute_batch(batch, outcomes.__setitem__)
        assert sorted(outcomes) == [0, 1, 2, 3]
        assert [outcomes[index].provenance.shots for index in range(4)] == [64, 64, 64, 32]
        assert all(isinstance(outcome, Executed) for outcome in outcomes.values())
        assert len(subject.behind.provider.jobs) == 2

    reach(lambda: System(ScriptedProvider(LoopClock(), afterwards=QUICK)), work, tmp_path)


def test_a_batch_of_subproblems_has_an_outcome_of_each_in_its_place(reach: Way, tmp_path: Path) -> None:
    subproblems = tuple(make_subproblem(seed, PATIENT_MS) for seed in range(12))

    async def work(reached: Subject) -> None:
        outcomes: dict[int, Outcome] = {}
        await reached.dispatcher.solve_batch(SubproblemBatch(subproblems), outcomes.__setitem__)
        assert sorted(outcomes) == list(range(12))
        for index, subproblem in enumerate(subproblems):
            outcome = outcomes[index]
            assert isinstance(outcome, Done)
            exact = subproblem.energy(Classical().solve(subproblem))
            assert outcome.answer.energy <= min(exact, subproblem.offset) + 1e-9
        assert reached.behind.value("shotclock_calls_total", outcome="done", client=reached.caller) == 12

    reach(behind(queue_limit=64), work, tmp_path)


def test_a_subproblem_of_a_batch_is_refused_by_itself(reach: Way, tmp_path: Path) -> None:
    subproblems = tuple(make_subproblem(seed, PATIENT_MS) for seed in range(12))

    async def work(reached: Subject) -> None:
        outcomes: dict[int, Outcome] = {}
        await reached.dispatcher.solve_batch(SubproblemBatch(subproblems), outcomes.__setitem__)
        shed = [outcome for outcome in outcomes.values() if isinstance(outcome, Shed)]
        assert 0 < len(shed) < len(outcomes) == 12
        assert {outcome.rejection.limit for outcome in shed} == {"queue_limit"}

    one_lane = replace(UNLIMITED, lanes=1)
    reach(behind(limits=one_lane, queue_limit=2, fallback=Fallback.NONE), work, tmp_path)


def test_a_batch_of_subproblems_ends_by_each_deadline(reach: Way, tmp_path: Path) -> None:
    short, long = make_subproblem(0, 500), make_subproblem(1, 1_000)

    async def work(reached: Subject) -> None:
        order: list[int] = []

        def note(index: int, outcome: Outcome) -> None:
            assert isinstance(outcome, Late)
            order.append(index)

        await reached.dispatcher.solve_batch(SubproblemBatch((long, short)), note)
        assert order == [1, 0]
        await reached.wait_until(lambda: reached.behind.provider.cancels == 2)

    reach(behind(afterwards=Never(), fallback=Fallback.NONE), work, tmp_path)


def test_a_batch_that_is_given_up_ends_its_jobs(reach: Way, tmp_path: Path) -> None:
    circuits = (CircuitPoints("OPENQASM 3.0;", 64, (), np.zeros((1, 0))),)

    async def work(subject: Subject) -> None:
        batch = CircuitBatch(circuits, "b1", PATIENT_MS * NS_PER_MS)
        call = asyncio.create_task(subject.dispatcher.execute_batch(batch, lambda index, outcome: None))
        await subject.wait_until(lambda: subject.behind.provider.collects == 1)
        call.cancel()
        await asyncio.wait((call,))
        await subject.wait_until(lambda: subject.behind.provider.cancels == 1)

    reach(lambda: System(ScriptedProvider(LoopClock(), [Never()])), work, tmp_path)


def test_a_circuit_of_a_batch_that_cannot_run_is_named(reach: Way, tmp_path: Path) -> None:
    good, bad = (CircuitPoints(source, 64, (), np.zeros((1, 0))) for source in ("OPENQASM 3.0;", "nonsense"))

    async def work(subject: Subject) -> None:
        batch = CircuitBatch((good, bad), "b1", PATIENT_MS * NS_PER_MS)
        with pytest.raises(CircuitError, match=r"batch\[1\]\.source"):
            await subject.dispatcher.execute_batch(batch, lambda index, outcome: None)
        assert not subject.behind.provider.jobs

    reach(lambda: System(ScriptedProvider(LoopClock(), afterwards=QUICK)), work, tmp_path)
