"""A run folder as the main job leaves it, of synthetic rows."""

from __future__ import annotations

from pathlib import Path

import synthetic
from shotclock.bench.columns import mark_origin
from shotclock.bench.judge.metrics import Prices
from shotclock.bench.judge.summarise import ArmFacts, RunFacts, summarise
from shotclock.bench.record.arm_runs import Arm
from shotclock.bench.record.folder import RunFolder, environment
from shotclock.bench.record.hdr import write_hdr
from shotclock.bench.record.rows import StepRow
from shotclock.bench.record.trace import write_trace
from shotclock.bench.schema import Summary

LOCK = f"""schema = 1
[bench]
workload = "digits-mlp"
arms = {[arm.name for arm in synthetic.ARMS]}
[kernel]
name = "qat_flip"
n = 12
[quantum]
shots = 256
[cost]
currency = "USD"
gpu_hour = 2.1
qpu_second = 1.6
"""


def facts(behaviours: tuple[synthetic.Arm, ...] = synthetic.ARMS) -> RunFacts:
    arms = tuple(
        ArmFacts(
            Arm(
                behaviour.name,
                behaviour.every is not None,
                behaviour.quantum,
                True,
                behaviour.name.endswith("-protected"),
                behaviour.profile,
            ),
            behaviour.profile,
            "emulated" if behaviour.quantum else None,
            "inline" if behaviour.every else None,
            behaviour.quantum,
            behaviour.deadline_ms if behaviour.every else None,
            behaviour.every,
            Prices("USD", 1.6, 2.1),
        )
        for behaviour in behaviours
    )
    return RunFacts(
        run_id="20261122-0900",
        shotclock="0.1.0",
        clock="wall",
        quick=True,
        workload="digits-mlp",
        samples_per_step=64,
        kernel="qat_flip",
        n=12,
        shots=256,
        started_at="2026-11-22T09:00:00+00:00",
        duration_s=60.0,
        interrupted=False,
        failure="",
        environment=environment(),
        arms=arms,
        profiles=synthetic.summary([]).profiles,
        thresholds=(),
    )


def write_run(path: Path, rows: list[StepRow]) -> Summary:
    """Every file of the folder but the report, whose charts take seconds."""
    behaviours = tuple(arm for arm in synthetic.ARMS if arm.name in {row.arm for row in rows})
    run = facts(behaviours)
    folder = RunFolder.create(path)
    summary = summarise(rows, run)
    all_arms, arms = ([arm.name for arm in each] for each in (synthetic.ARMS, behaviours))
    folder.write_settings(LOCK.replace(str(all_arms), str(arms)))
    folder.write_machine(run.environment)
    folder.write_steps(rows, mark_origin(run.run_id, emulated=summary.emulated))
    folder.write_summary(summary)
    write_hdr(rows, path / "latency.hlog")
    write_trace(rows, path / "trace.pftrace")
    return summary
