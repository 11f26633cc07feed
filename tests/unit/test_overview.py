"""The first screen's charts: classical iterations beside what calls add, with no percentile of too few."""

from __future__ import annotations

import re

import synthetic
from sample_report import run
from shotclock.bench.numbers import number
from shotclock.bench.report.kit.arm_styles import looks
from shotclock.bench.report.kit.render import svg
from shotclock.bench.report.run.overview import (
    REFERENCE_MS,
    draw_latency,
    find_latency_rows,
    tabulate_latency,
)
from shotclock.bench.report.run.overview_narrow import draw_narrow_latency, draw_narrow_training
from shotclock.bench.report.run.training_chart import find_speeds, tabulate_training
from shotclock.bench.schema import Meeting


def test_classical_iterations_come_first_and_every_hybrid_arm_has_a_row() -> None:
    _, summary = run()
    names = [row.name for row in find_latency_rows(summary)]
    assert names[:3] == [
        "reference iteration (specification)",
        "classical iteration, medium",
        "classical iteration, digits-mlp",
    ]
    assert names[3:] == [f"{arm}, added" for arm in summary.arms if arm.startswith("hybrid-")]


def test_a_percentile_of_too_few_calls_is_neither_marked_nor_written() -> None:
    _, summary = run(synthetic.QUICK)
    rows = {row.name: row for row in find_latency_rows(summary)}
    colocated = rows["hybrid-colocated, added"]
    assert colocated.marks.keys() == {"p50"}
    assert colocated.note.endswith("p95/p99 too few (n=90)")
    cloud = rows["hybrid-public-cloud, added"]
    assert cloud.marks.keys() == {"mean"}
    assert cloud.note.endswith("p50/p95/p99 too few (n=5)")


def test_the_ranges_of_the_specification_are_shaded_where_the_profile_has_them() -> None:
    _, summary = run()
    rows = {row.name: row for row in find_latency_rows(summary)}
    assert rows["hybrid-colocated, added"].ranges == ((20.0, 50.0), (60.0, 120.0), (150.0, 300.0))
    assert rows["hybrid-colocated-protected, added"].ranges == ()
    assert rows["reference iteration (specification)"].marks == REFERENCE_MS
    drawn = svg(draw_latency(list(rows.values()), ["EMULATED: a run"]))
    assert "200 ms limit" in drawn
    assert "EMULATED" in drawn


def test_the_narrow_charts_name_every_row_and_write_its_figures() -> None:
    _, summary = run(synthetic.QUICK)
    rows = find_latency_rows(summary)
    drawn = svg(draw_narrow_latency(rows, ["EMULATED: a run"]))
    for row in rows:
        assert f">{row.name}<" in drawn
        assert f">{row.note}<" in drawn
    assert "vertical line: 200 ms limit" in " ".join(re.findall(r">([^<>]+)<", drawn))
    drawn = svg(draw_narrow_training(summary, looks(summary.arms), ["EMULATED: a run"]))
    for name, arm in summary.arms.items():
        assert f">{name}<" in drawn
        assert f">{number(arm.loss.mean)}<" in drawn
        assert (
            f">{number(arm.samples_per_s)}/s, {number(summary.throughput[name].iterations_per_s)} iter"
            in drawn
        )


def test_a_speed_says_device_and_whether_training_waited_and_hangs_on_the_baseline() -> None:
    _, summary = run(synthetic.SMALL)
    met = {
        "hybrid-colocated": Meeting(inline=30, overlapped=10),
        "quantum-raw": Meeting(inline=0, overlapped=9),
    }
    arms = {
        name: arm.model_copy(update={"device": "heron-fez", "meeting": met[name]}) if name in met else arm
        for name, arm in summary.arms.items()
    }
    rows = {row["arm"]: row for row in find_speeds(summary.model_copy(update={"arms": arms})).rows}
    assert str(rows["hybrid-colocated"]["words"]).endswith("; heron-fez, 25.0 % overlapped")
    assert str(rows["quantum-raw"]["words"]).endswith("; heron-fez, overlapped")
    assert str(rows["classical-control"]["words"]).endswith("iterations/s; inline")
    assert str(rows["classical-only"]["words"]).endswith("iterations/s")
    assert {row["high"] for row in rows.values()} == {rows["classical-only"]["x"]}


def test_a_run_without_hybrid_calls_has_no_latency_chart() -> None:
    _, summary = run(synthetic.SMALL, "classical-only", "classical-control")
    assert find_latency_rows(summary) == []


def test_the_figures_in_print_are_the_marks() -> None:
    _, summary = run()
    rows = find_latency_rows(summary)
    grid = tabulate_latency(rows)
    assert [row[0].text for group in grid.groups for row in group.rows] == [row.name for row in rows]
    training = [row for group in tabulate_training(summary).groups for row in group.rows]
    assert [row[0].text for row in training] == list(summary.arms)
