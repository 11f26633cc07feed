"""A call whose orchestrator was lost is sent to another one, which pays for it no second time.

Its metadata say how often and how long ago it was sent (`origin`). An orchestrator that shares its ledger
looks for the job that was submitted for it; one with a paid provider and a ledger that it shares with nobody
refuses it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol, TypeVar

from shotclock.domain.budget import NS_PER_MS, NS_PER_S
from shotclock.domain.circuit import CircuitSpec
from shotclock.domain.circuit_batch import CircuitBatch, Deliver
from shotclock.domain.outcome import CircuitOutcome, Outcome
from shotclock.domain.subproblem import Subproblem
from shotclock.wire.refusals import Unreachable

Work = TypeVar("Work", Subproblem, CircuitSpec, CircuitBatch)

LEAST_NS = 5 * NS_PER_MS
"""With less of its budget left, a call ends where it is."""


class Elsewhere(Protocol):
    """Other orchestrators for a call; None: it ends where it is."""

    async def solve_again(self, subproblem: Subproblem, cause: object, spent_ns: int) -> Outcome | None:
        """The outcome elsewhere, after so much of its budget. cause: why it has no answer here."""

    async def execute_again(self, spec: CircuitSpec, cause: object, spent_ns: int) -> CircuitOutcome | None:
        """As `solve_again`."""

    async def execute_batch_again(
        self, batch: CircuitBatch, deliver: Deliver, cause: object, spent_ns: int
    ) -> bool:
        """Delivers the outcome of every point but the `answered` ones; False: the batch ends where it is."""


class Nowhere:
    """An Elsewhere without another orchestrator."""

    async def solve_again(self, subproblem: Subproblem, cause: object, spent_ns: int) -> None:
        """See `Elsewhere.solve_again`."""

    async def execute_again(self, spec: CircuitSpec, cause: object, spent_ns: int) -> None:
        """See `Elsewhere.execute_again`."""

    async def execute_batch_again(
        self, batch: CircuitBatch, deliver: Deliver, cause: object, spent_ns: int
    ) -> bool:
        """See `Elsewhere.execute_batch_again`."""
        del batch, deliver, cause, spent_ns
        return False


NOWHERE = Nowhere()


def repeat(work: Work, cause: object, spent_ns: int, most: int) -> Work | None:
    """The call as another orchestrator gets it; None where it is not to be repeated. most: repeats."""
    left_ns = work.budget_ns - spent_ns
    origin = work.origin
    if not isinstance(cause, Unreachable) or left_ns < LEAST_NS or origin.repeats >= most:
        return None
    age_s = origin.age_s + spent_ns / NS_PER_S
    return replace(work, budget_ns=left_ns, origin=replace(origin, repeats=origin.repeats + 1, age_s=age_s))
