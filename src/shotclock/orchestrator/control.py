"""The control arm's dispatcher: the same calls, answered classically."""

from __future__ import annotations

from shotclock.domain.circuit import CircuitSpec, Samples
from shotclock.domain.circuit_batch import CircuitBatch, Deliver
from shotclock.domain.outcome import (
    ALWAYS_STALE,
    CircuitOutcome,
    Decision,
    Done,
    Outcome,
    Provenance,
    Rejection,
    Shed,
    incumbent,
)
from shotclock.domain.ports import Clock, Solver
from shotclock.domain.recorders import Recorder
from shotclock.domain.stages import Stage, StageTiming
from shotclock.domain.subproblem import Subproblem
from shotclock.domain.subproblem_batch import DeliverOutcome, SubproblemBatch, solve_each
from shotclock.orchestrator.race import best, classical


class ClassicalDispatcher:
    """A Dispatcher without a QPU."""

    def __init__(self, solver: Solver, clock: Clock, recorder: Recorder) -> None:
        self._solver = solver
        self._clock = clock
        self._recorder = recorder

    async def solve(self, subproblem: Subproblem) -> Outcome:
        """See `Dispatcher.solve`."""
        began = self._clock.now_ns()
        solution = classical(subproblem, self._solver)
        answer = best(subproblem, (incumbent(subproblem), solution))
        outcome = Done(
            answer,
            Samples.none(subproblem.n),
            solution,
            Provenance(
                provider=self._solver.name,
                emulated=False,
                base_version=subproblem.base_version,
                stages=(StageTiming(Stage.POSTPROC_TIME, began, self._clock.now_ns() - began),),
                classical_gain=subproblem.offset - solution.energy,
            ),
        )
        duration = self._clock.now_ns() - began
        self._recorder.record_outcome(outcome, duration, subproblem.budget_ns, subproblem.caller)
        return outcome

    async def solve_batch(self, batch: SubproblemBatch, deliver: DeliverOutcome) -> None:
        """See `Dispatcher.solve_batch`."""
        await solve_each(self.solve, batch, deliver)

    async def execute(self, spec: CircuitSpec) -> CircuitOutcome:
        """See `Dispatcher.execute`: without a QPU, every circuit is refused."""
        del spec
        return self._refuse_circuits()

    async def execute_batch(self, batch: CircuitBatch, deliver: Deliver) -> None:
        """See `Dispatcher.execute_batch`: every point is refused."""
        outcome, deliver = self._refuse_circuits(), batch.deliver_unanswered(deliver)
        for index in range(batch.points):
            deliver(index, outcome)

    def _refuse_circuits(self) -> Shed:
        rejection = Rejection("lanes", 0, 1, "jobs requested without a QPU", 0.0)
        return Shed(rejection, Provenance(provider=self._solver.name, emulated=False, base_version=0))

    async def record_decision(
        self, request_id: str, decision: Decision, *, stale: bool = False, caller: str = ""
    ) -> None:
        """See `Dispatcher.record_decision`; no job here is paid, so the decision is only counted."""
        del request_id
        self._recorder.record_decision(decision, stale or decision in ALWAYS_STALE, caller)
