"""latency.hlog: read back by HdrHistogram's own reader."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

import synthetic
from shotclock.bench.record.hdr import HIGHEST_NS, histogram, write_hdr
from shotclock.bench.record.rows import StepRow


def read(steps: list[StepRow], path: Path) -> dict[str, HdrHistogram]:
    write_hdr(steps, path)
    reader = HistogramLogReader(str(path), histogram())
    intervals = {}
    while interval := reader.get_next_interval_histogram():
        intervals[interval.get_tag()] = interval
    reader.close()
    return intervals


def test_every_arm_and_metric_comes_back(tmp_path: Path) -> None:
    steps = synthetic.rows(synthetic.SMALL)
    intervals = read(steps, tmp_path / "latency.hlog")
    calling = [arm for arm in synthetic.ARMS if arm.every]
    expected = {f"{arm.name}.added_latency" for arm in calling}
    expected |= {f"{arm.name}.quantum_latency" for arm in calling if arm.quantum}
    assert set(intervals) == expected
    for arm in calling:
        exact = sorted(s.call.added_latency_ns for s in steps if s.call and s.arm == arm.name)
        interval = intervals[f"{arm.name}.added_latency"]
        assert interval.get_total_count() == len(exact)
        assert interval.get_max_value() == pytest.approx(exact[-1], rel=1e-3)
        assert interval.get_value_at_percentile(50) == pytest.approx(exact[(len(exact) - 1) // 2], rel=1e-3)


def test_misses_stay_in_the_count_at_their_deadline(tmp_path: Path) -> None:
    steps = synthetic.rows(synthetic.SMALL, all_missed="hybrid-colocated-protected")
    path = tmp_path / "latency.hlog"
    interval = read(steps, path)["hybrid-colocated-protected.quantum_latency"]
    calls = sum(step.call is not None for step in steps if step.arm == "hybrid-colocated-protected")
    assert interval.get_total_count() == calls
    assert interval.get_value_at_percentile(1) == pytest.approx(200e6, rel=1e-3)
    assert f"{calls}]" in path.read_text(encoding="utf-8")


def test_odd_names_and_values_do_not_break_the_log(tmp_path: Path) -> None:
    step = next(step for step in synthetic.rows(synthetic.SMALL) if step.call and step.arm == "quantum-raw")
    assert step.call
    odd = replace(step, arm="a, b\n#c", call=replace(step.call, added_latency_ns=10 * HIGHEST_NS))
    intervals = read([odd], tmp_path / "latency.hlog")
    assert set(intervals) == {"a__b__c.added_latency", "a__b__c.quantum_latency"}
    assert intervals["a__b__c.added_latency"].get_total_count() == 1


def test_no_calls_make_an_empty_log(tmp_path: Path) -> None:
    assert read([], tmp_path / "latency.hlog") == {}
