"""Callers for synchronous tests: answers at once, later, or as the test says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from shotclock.domain.circuit import Samples
from shotclock.domain.outcome import (
    Answer,
    DeadlinePassed,
    Decision,
    Degraded,
    Done,
    Late,
    Outcome,
    Provenance,
    Rejection,
    Shed,
    Winner,
)
from shotclock.domain.subproblem import Subproblem
from shotclock.solvers.exact import Exact


class StepClock:
    """A clock that the test moves; every look at it takes a nanosecond."""

    def __init__(self) -> None:
        self.ns = 0

    def now_ns(self) -> int:
        self.ns += 1
        return self.ns


def provenance(subproblem: Subproblem) -> Provenance:
    return Provenance("scripted", emulated=True, base_version=subproblem.base_version)


def answer_optimum(subproblem: Subproblem) -> Outcome:
    """The optimum, as the only sample and as the classical answer."""
    bits = Exact().solve(subproblem)
    answer = Answer(bits, subproblem.energy(bits), Winner.CLASSICAL, "exact")
    return Done(answer, Samples(bits[None], np.ones(1, np.int64)), answer, provenance(subproblem))


def answer_rejected(subproblem: Subproblem) -> Outcome:
    """Refused: the queue is full, try again in two seconds."""
    return Shed(Rejection("queue_limit", 8, 8, "calls", 2.0), provenance(subproblem))


def answer_degraded(subproblem: Subproblem) -> Outcome:
    bits = Exact().solve(subproblem)
    answer = Answer(bits, subproblem.energy(bits), Winner.CLASSICAL, "exact")
    return Degraded(answer, Rejection("queue_limit", 8, 8, "calls", 2.0), provenance(subproblem))


def late(subproblem: Subproblem) -> Outcome:
    return Late(DeadlinePassed(subproblem.budget_ns), provenance(subproblem))


@dataclass
class Call:
    """A Pending: `arrived` is the test's."""

    subproblem: Subproblem
    answer: Callable[[Subproblem], Outcome]
    arrived: bool
    waited_for: bool = False

    def done(self) -> bool:
        return self.arrived

    def result(self) -> Outcome:
        self.waited_for = not self.arrived
        return self.answer(self.subproblem)


@dataclass
class FakeCaller:
    """A Caller; calls: those asked for, in order. at_once: whether they have arrived as soon as asked."""

    answer: Callable[[Subproblem], Outcome] = answer_optimum
    at_once: bool = True
    calls: list[Call] = field(default_factory=list)
    decisions: list[tuple[str, Decision]] = field(default_factory=list)
    stale: list[bool] = field(default_factory=list)

    def record_decision(self, request_id: str, decision: Decision, *, stale: bool = False) -> None:
        self.decisions.append((request_id, decision))
        self.stale.append(stale)

    def list_decisions(self) -> list[tuple[Decision, bool]]:
        """Each decision, and whether the answer was stale, in order."""
        return [(decision, stale) for (_, decision), stale in zip(self.decisions, self.stale, strict=True)]

    def ask(self, subproblem: Subproblem) -> Call:
        call = Call(subproblem, self.answer, self.at_once)
        self.calls.append(call)
        return call
