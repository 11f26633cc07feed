"""Small valid run folders, whose files are replaced by hostile ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import synthetic
from queueing import MS, Queue, run_load
from run_folder import write_run
from shotclock.bench.columns import mark_origin
from shotclock.bench.load.arrivals import ArrivalPlan, Scenario
from shotclock.bench.load.folder import write_load
from shotclock.bench.load.judge import judge
from shotclock.bench.load.summarise import LoadFacts, summarise
from shotclock.bench.record.folder import environment
from shotclock.bench.record.samples import SAMPLES, CallSamples, write_samples
from shotclock.bench.verify.samples import check_samples
from shotclock.domain.circuit import Samples

TINY = synthetic.Size(12, 2, 6, quick=True, clock="wall")
ARMS = ("classical-only", "classical-control", "hybrid-colocated")


def make_run(path: Path) -> Path:
    """A small run folder, valid but for its report."""
    rows = [row for row in synthetic.rows(TINY) if row.arm in ARMS]
    summary = write_run(path, rows)
    drawn = Samples(np.array([[1, 0, 0], [0, 1, 1]], np.uint8), np.array([5, 3]))
    calls = [
        CallSamples(
            row.arm, row.seed, row.step, row.call.request_id, drawn, np.zeros(2), None, 0.0, "x", True
        )
        for row in rows
        if row.call and row.call.in_time and row.arm == "hybrid-colocated"
    ]
    origin = mark_origin(summary.run_id, emulated=True)
    write_samples(calls, {"hybrid-colocated": ("ibm_torino", "colocated")}, path / SAMPLES, origin)
    assert not list(check_samples(path, rows, summary))
    return path


def make_load(path: Path) -> Path:
    """A small load test's folder, valid but for its report."""
    plan = ArrivalPlan(Scenario.SERVER, 20.0, 3.0, 100 * MS, n=4)
    calls = run_load(plan, Queue(lambda number: 0.004))
    described = LoadFacts(
        shotclock="0.1.0",
        started_at="2026-11-22T09:00:00+00:00",
        run_id="load-1",
        interrupted=False,
        target="in process",
        provider="scripted",
        emulated=True,
        clock="virtual",
        environment=environment(),
        basis="quantum",
        knee=None,
    )
    write_load(summarise([judge(calls, plan, "quantum")], calls, plan, described), calls, path)
    return path
