"""What accelerators and fabrics did around the calls of each arm, from the rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import pyarrow as pa
import pyarrow.compute as pc

from shotclock.bench.analysis import Accelerators, AcceleratorSummary, AroundCalls, FitSummary
from shotclock.bench.schema import Summary
from shotclock.domain.host_figures import COUNTERS, AcceleratorFacts
from shotclock.domain.memory import BlockingPoint

READ = ("hbm_used_before_bytes", "hbm_bandwidth_ratio", *COUNTERS)
"""A call with any of these was read."""


def list_accelerators(
    facts: Sequence[AcceleratorFacts], because: str, warnings: Sequence[str], point: BlockingPoint | None
) -> Accelerators:
    """Those of the run, without their arms."""
    devices = (
        AcceleratorSummary(id=each.id, name=each.name or None, hbm_total_bytes=each.hbm_total_bytes)
        for each in facts
    )
    memory = None if point is None else FitSummary(**asdict(point))
    return Accelerators(
        because=because, devices=tuple(devices), warnings=tuple(warnings), blocking_point=memory
    )


def add_arms(summary: Summary, table: pa.Table) -> Accelerators | None:
    """With what was read around each arm's calls; None of an older summary."""
    if summary.accelerators is None:
        return None
    called = table.filter(table["called"]) if "gpu_idle_ns" in table.column_names else table.slice(0, 0)
    arms = {name: _summarise(called.filter(pc.equal(called["arm"], name))) for name in summary.arms}
    known = {name: around for name, around in arms.items() if around is not None}
    return summary.accelerators.model_copy(update={"arms": known})


def _summarise(calls: pa.Table) -> AroundCalls | None:
    """None if nothing was read around them, and no accelerator waited."""
    if not len(calls):
        return None
    has_reading = [pc.is_valid(calls[name]) for name in READ]
    any_reading = has_reading[0]
    for each in has_reading[1:]:
        any_reading = pc.or_(any_reading, each)
    idle_ns = pc.sum(calls["gpu_idle_ns"]).as_py()
    around = AroundCalls(
        calls=pc.sum(any_reading).as_py() or 0,
        hbm_used_before_bytes=pc.mean(calls["hbm_used_before_bytes"]).as_py(),
        hbm_used_after_bytes=pc.mean(calls["hbm_used_after_bytes"]).as_py(),
        hbm_used_peak_bytes=pc.max(calls["hbm_used_peak_bytes"]).as_py(),
        hbm_bandwidth_ratio=pc.mean(calls["hbm_bandwidth_ratio"]).as_py(),
        hbm_bandwidth_method=_name_methods(calls),
        gpu_idle_s=None if idle_ns is None else idle_ns / 1e9,
        gpu_idle_per_call_s=None if idle_ns is None else idle_ns / 1e9 / len(calls),
        **{name: pc.sum(calls[name]).as_py() for name in COUNTERS},
    )
    return around if around.calls or idle_ns is not None else None


def _name_methods(calls: pa.Table) -> str | None:
    names = {name for name in pc.unique(calls["hbm_bandwidth_method"]).to_pylist() if name}
    return ", ".join(sorted(names)) or None
