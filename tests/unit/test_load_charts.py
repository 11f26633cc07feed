"""Amdahl's ceiling and the heat map's figures, from rows whose answer is known."""

from __future__ import annotations

import math

import pytest

import synthetic
from shotclock.bench.analysis import Ceiling
from shotclock.bench.judge.amdahl import find_ceilings, speed_up
from shotclock.bench.record.rows import table
from shotclock.bench.report.kit.heat_map import Instant
from shotclock.bench.report.kit.over_time import busiest, instants, over_time_grid
from shotclock.bench.report.run.amdahl_chart import ceiling_grid


def test_half_the_time_in_calls_doubles_the_training_at_most() -> None:
    assert speed_up(0.5, 1.0) == 1.0
    assert speed_up(0.5, 2.0) == pytest.approx(4 / 3)
    assert speed_up(0.5, math.inf) == 2.0
    assert speed_up(1.0, math.inf) == math.inf
    assert speed_up(0.0, 10.0) == 1.0
    blocked = Ceiling(total_s=1.0, blocked_s=1.0, share=1.0, at_most=None)
    assert "without bound" in str(ceiling_grid({"arm": blocked}))


def test_ceilings_are_of_the_arms_that_call_a_qpu_and_add_up() -> None:
    rows = synthetic.rows(synthetic.SMALL)
    ceilings = find_ceilings(synthetic.summary(rows), table(rows))
    assert ceilings.keys() == {arm.name for arm in synthetic.ARMS if arm.quantum}
    own = [row for row in rows if row.arm == "quantum-raw"]
    assert ceilings["quantum-raw"].total_s == pytest.approx(sum(r.total_iteration_time_ns for r in own) / 1e9)
    blocked = sum(row.call.added_latency_ns for row in own if row.call)
    assert ceilings["quantum-raw"].blocked_s == pytest.approx(blocked / 1e9)


def test_a_run_without_a_quantum_call_has_neither() -> None:
    rows = [row for row in synthetic.rows(synthetic.SMALL) if row.arm.startswith("classical")]
    summary = synthetic.summary(rows, arms=synthetic.ARMS[:2])
    assert find_ceilings(summary, table(rows)) == {}
    assert busiest(summary) is None


def test_the_map_keeps_every_call_and_its_misses() -> None:
    rows = synthetic.rows(synthetic.SMALL, all_missed="hybrid-colocated")
    arm = busiest(synthetic.summary(rows))
    assert arm is not None
    drawn = instants(table(rows), arm)
    assert len(drawn) == sum(row.call is not None for row in rows if row.arm == arm)
    cells = [[cell.text for cell in row] for group in over_time_grid(drawn).groups for row in group.rows]
    assert sum(int(calls.replace(",", "")) for _, calls, *_ in cells) == len(drawn)
    missed = sum(call.latency_ms is None for call in drawn)
    assert sum(int(row[2].replace(",", "")) for row in cells) == missed
    assert over_time_grid([Instant(0.0, None)]).groups
