"""Asks a dispatcher by a plan and keeps a record a call; on real time or on virtual.

Waits only through the running loop and reads time only from the clock it is given, so the same code is
the load generator's process and the ruler's test on virtual time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from shotclock.bench.load.arrivals import ArrivalPlan, Scenario, schedule
from shotclock.bench.load.records import CallRecord, record
from shotclock.domain.budget import NS_PER_S
from shotclock.domain.circuit import CircuitSpec
from shotclock.domain.circuit_batch import CircuitBatch
from shotclock.domain.outcome import CircuitOutcome, Executed, Outcome
from shotclock.domain.ports import Clock, Dispatcher
from shotclock.domain.subproblem import Subproblem
from shotclock.domain.subproblem_batch import SubproblemBatch

Request = Subproblem | CircuitSpec | CircuitBatch
"""What a call asks: a subproblem to solve, a user circuit to run, or its observables to measure."""
LEAD_NS = 10_000_000
"""Between the last preparation and the first scheduled instant, so that the first call is not late."""


@dataclass(slots=True)
class LoadGenerator:
    """A run under way.

    plan: how many calls to make, and when.
    dispatcher: what they are asked of.
    clock: times them.
    requests: what the calls ask, in turn.
    run: number of the run in its test, from 0.
    calls: grows as calls end, so an interrupt loses only those still out.
    """

    plan: ArrivalPlan
    dispatcher: Dispatcher
    clock: Clock
    requests: Sequence[Request]
    run: int = 0
    calls: list[CallRecord] = field(default_factory=list)
    _began_ns: int = 0
    _calls_made: int = 0

    async def generate(self) -> list[CallRecord]:
        """Makes every call and waits for it; the records in the order of their ends.

        Raises what the dispatcher raises; the calls that ended before are in `calls`.
        """
        try:
            match self.plan.scenario:
                case Scenario.SERVER:
                    await self._open()
                case Scenario.OFFLINE:
                    await self._offline()
                case Scenario.SINGLE_STREAM | Scenario.MULTI_STREAM:
                    await self._streams()
        except ExceptionGroup as raised:
            raise raised.exceptions[0] from None
        return self.calls

    async def _open(self) -> None:
        instants = schedule(self.plan)
        self._began_ns = self.clock.now_ns() + LEAD_NS
        async with asyncio.TaskGroup() as group:
            for query, at_ns in enumerate(instants[:: self.plan.batch].tolist()):
                early_ns = at_ns - self._now_ns()
                if early_ns > 0:
                    await asyncio.sleep(early_ns / NS_PER_S)
                group.create_task(self._ask(query, at_ns))

    async def _offline(self) -> None:
        count = len(schedule(self.plan)) // self.plan.batch
        self._began_ns = self.clock.now_ns()
        queries = iter(range(count))

        async def one_after_another() -> None:
            for query in queries:
                await self._ask(query, self._now_ns())

        async with asyncio.TaskGroup() as group:
            for _ in range(min(max(1, self.plan.window // self.plan.batch), count)):
                group.create_task(one_after_another())

    async def _streams(self) -> None:
        width = self.plan.calls_at_once
        self._began_ns = self.clock.now_ns()
        query = 0
        while (now_ns := self._now_ns()) < self.plan.duration_ns:
            async with asyncio.TaskGroup() as group:
                for _ in range(width // self.plan.batch):
                    group.create_task(self._ask(query, now_ns))
            query += 1
            if not any(call.is_answered for call in self.calls[-width:]):
                await self._wait_out(now_ns)

    async def _wait_out(self, asked_ns: int) -> None:
        """Until the deadline of a query that nobody answered: a target that is gone is not hammered."""
        until_ns = min(asked_ns + self.plan.deadline_ns, self.plan.duration_ns)
        await asyncio.sleep(max(0, until_ns - self._now_ns()) / NS_PER_S)

    async def _ask(self, query: int, scheduled_ns: int) -> None:
        """One request, and a record of each call in it."""
        issued_ns = self._now_ns()
        requests = [self._next_request(issued_ns - scheduled_ns) for _ in range(self.plan.batch)]

        def keep(_: int, outcome: Outcome | CircuitOutcome) -> None:
            self.calls.append(
                record(
                    outcome,
                    run=self.run,
                    query=query,
                    scheduled_ns=scheduled_ns,
                    issued_ns=issued_ns,
                    completed_ns=self._now_ns(),
                )
            )

        if len(requests) == 1:
            keep(0, await ask(self.dispatcher, requests[0]))
            return
        subproblems = tuple(request for request in requests if isinstance(request, Subproblem))
        await self.dispatcher.solve_batch(SubproblemBatch(subproblems), keep)

    def _next_request(self, lag_ns: int) -> Request:
        """lag_ns: what the load has lost of its budget."""
        request = self.requests[self._calls_made % len(self.requests)]
        self._calls_made += 1
        return replace(
            request,
            request_id=f"load-{self.plan.seed}-{self.run}-{self._calls_made}",
            budget_ns=max(0, self.plan.deadline_ns - lag_ns),
        )

    def _now_ns(self) -> int:
        return self.clock.now_ns() - self._began_ns


async def ask(dispatcher: Dispatcher, request: Request) -> Outcome | CircuitOutcome:
    """One call, by the method that is its request's."""
    match request:
        case Subproblem():
            return await dispatcher.solve(request)
        case CircuitSpec():
            return await dispatcher.execute(request)
        case CircuitBatch():
            outcomes: dict[int, CircuitOutcome] = {}
            await dispatcher.execute_batch(request, outcomes.__setitem__)
            return join_points([outcomes[index] for index in range(request.points)])


def join_points(outcomes: Sequence[CircuitOutcome]) -> CircuitOutcome:
    """One outcome of all points: the first without samples, or the last to come, with the QPU time of all."""
    missing = next((outcome for outcome in outcomes if not isinstance(outcome, Executed)), None)
    last = missing or max(outcomes, key=lambda outcome: outcome.provenance.samples_at_ns)
    jobs = {outcome.provenance.job_id: outcome.provenance.attempts for outcome in outcomes}
    provenance = replace(
        last.provenance,
        qpu_s=sum(outcome.provenance.qpu_s for outcome in outcomes),
        attempts=sum(jobs.values()),
        emulator_overrun=any(outcome.provenance.emulator_overrun for outcome in outcomes),
    )
    return replace(last, provenance=provenance)
