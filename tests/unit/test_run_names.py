"""A training run with a name: its calls are on one side of a share, and it reports its validation metric."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import pytest

from harness import random_subproblem
from shotclock.app.attach import Quantum, RunCaller, _report_value
from shotclock.domain.errors import SettingsError
from shotclock.domain.flags import FlagRequest
from shotclock.domain.outcome import Decision, Outcome
from shotclock.domain.ports import Pending
from shotclock.domain.subproblem import Subproblem
from shotclock.telemetry.metrics import Metrics
from shotclock.training.hook import Attached


class Unanswered:
    def done(self) -> bool:
        return False

    def result(self) -> Outcome:
        raise AssertionError("nobody waits for it")


@dataclass
class Asked:
    """A Caller that remembers the request ids it was given; nothing is answered."""

    ids: list[str] = field(default_factory=list)

    def ask(self, subproblem: Subproblem) -> Pending:
        self.ids.append(subproblem.request_id)
        return Unanswered()

    def record_decision(self, request_id: str, decision: Decision, *, stale: bool = False) -> None:
        self.ids.append(request_id)


def test_the_calls_and_decisions_of_a_run_have_its_name() -> None:
    inner = Asked()
    caller = RunCaller(inner, "run7")
    for number in range(2):
        caller.ask(replace(random_subproblem(4, 0), request_id=f"qat_flip-{number}"))
        caller.record_decision(f"qat_flip-{number}", Decision.APPLIED)
    assert inner.ids == [f"run7/qat_flip-{number}" for number in (0, 0, 1, 1)]
    assert {FlagRequest.of(request_id, "qat_flip", "trainer").key for request_id in inner.ids} == {
        FlagRequest.of("run7/", "qat_flip", "trainer").key
    }


def test_a_validation_value_is_finite_and_of_a_run_with_a_name() -> None:
    values: list[float] = []
    training = object.__new__(Attached)
    quantum = Quantum(training, Metrics(), lambda: None, values.append)
    quantum.report_validation(0.25)
    with pytest.raises(SettingsError, match="must be finite"):
        quantum.report_validation(math.nan)
    with pytest.raises(SettingsError, match=r"name it with attach\(run=…\)"):
        _report_value(NotImplemented, NotImplemented, "", "qat_flip", 0.25)
    assert values == [0.25]
