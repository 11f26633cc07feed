"""The exit codes of `shotclock load`, as cli.md has them, from load tests of queues on virtual time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest

from queueing import MS, Queue, run_load
from shotclock.bench.load.arrivals import ArrivalPlan, Scenario
from shotclock.bench.load.judge import judge
from shotclock.bench.load.records import CallRecord
from shotclock.bench.load.schema import Knee, LoadSummary
from shotclock.bench.load.summarise import LoadFacts, summarise
from shotclock.cli.load import exit_code

PLAN = ArrivalPlan(Scenario.SERVER, 100, 10, 200 * MS, n=4)
SHORT = replace(PLAN, duration_s=2)
QUICK = 0.001


def summary_of(
    service_s: float,
    *,
    plan: ArrivalPlan = PLAN,
    lag_ms: int = 0,
    knee: Knee | None = None,
    interrupted: bool = False,
) -> LoadSummary:
    calls: list[CallRecord] = [
        replace(call, issued_ns=call.issued_ns + lag_ms * MS)
        for call in run_load(plan, Queue(lambda _: service_s))
    ]
    facts = LoadFacts(
        "0.1", "2026-11-22T10:00:00", "x", interrupted, "q", "q", True, "virtual", {}, "quantum", knee
    )
    return summarise([judge(calls, plan, "quantum")], calls, plan, facts)


@pytest.mark.parametrize(
    ("summarise", "code", "strict"),
    [
        (partial(summary_of, QUICK), 0, 0),
        (partial(summary_of, 0.05), 99, 99),
        (partial(summary_of, QUICK, plan=SHORT), 0, 5),
        (partial(summary_of, QUICK, lag_ms=30), 4, 4),
        (partial(summary_of, 0.05, interrupted=True), 130, 130),
        (partial(summary_of, 0.05, knee=Knee(met_per_s=100, missed_per_s=110, why="")), 0, 0),
        (partial(summary_of, QUICK, knee=Knee(met_per_s=None, missed_per_s=20, why="")), 99, 99),
        (partial(summary_of, QUICK, lag_ms=30, knee=Knee(met_per_s=None, missed_per_s=20, why="")), 4, 4),
    ],
    ids=["met", "missed", "open", "invalid", "interrupted", "knee", "no knee", "no valid run"],
)
def test_each_end_has_its_code(summarise: Callable[[], LoadSummary], code: int, strict: int) -> None:
    summary = summarise()
    assert exit_code(summary, strict=False) == code
    assert exit_code(summary, strict=True) == strict
