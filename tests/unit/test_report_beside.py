"""Arms beside each other: seeds paired, fabrics on one axis, hidden time apart, bounds on the tails."""

from __future__ import annotations

from dataclasses import replace
from html import unescape

import pytest

import synthetic
from sample_report import draw_charts, run
from shotclock.bench.judge.paired_seeds import pair_seeds
from shotclock.bench.record.rows import StepRow, table
from shotclock.bench.report.kit.latency_samples import LatencySample
from shotclock.bench.report.kit.render import svg
from shotclock.bench.report.kit.tails import tail_curve
from shotclock.bench.report.run.chart_data import stage_means
from shotclock.bench.report.run.fabrics_chart import draw_fabrics
from shotclock.bench.report.run.fabrics_table import MEAN, fabrics
from shotclock.bench.report.run.waterfall_chart import draw_waterfalls, falls
from shotclock.bench.schema import Summary
from shotclock.bench.stats import statistics
from shotclock.domain.stages import Stage

MS = 1_000_000


def with_losses(summary: Summary, losses: dict[str, dict[int, float]]) -> Summary:
    arms = {
        name: arm.model_copy(update={"loss": arm.loss.model_copy(update={"per_seed": losses.get(name, {})})})
        for name, arm in summary.arms.items()
    }
    return summary.model_copy(update={"arms": arms})


def test_seeds_are_paired_and_the_mean_has_its_interval() -> None:
    _, summary = run()
    losses = {"classical-only": {0: 1.0, 1: 2.0, 2: 3.0}, "quantum-raw": {0: 0.9, 1: 2.0, 2: 3.1}}
    (comparison,) = pair_seeds(with_losses(summary, losses))
    assert dict(comparison.differences) == pytest.approx({0: -0.1, 1: 0.0, 2: 0.1})
    assert comparison.mean == pytest.approx(0, abs=1e-12)
    assert comparison.interval == pytest.approx((-0.2484, 0.2484), abs=1e-4)  # ± 4.303 × 0.1 / √3
    assert comparison.unpaired == 0


def test_seeds_without_a_pair_are_counted_and_a_diverged_one_is_none() -> None:
    _, summary = run()
    losses = {"classical-only": {0: 1.0, 1: 2.0}, "quantum-raw": {0: 0.5, 1: float("nan"), 2: 3.0}}
    (comparison,) = pair_seeds(with_losses(summary, losses))
    assert comparison.differences == {0: -0.5}
    assert comparison.unpaired == 2
    assert comparison.interval is None
    assert comparison.mean == -0.5


def test_one_seed_is_drawn_without_an_interval() -> None:
    chart = draw_charts(*run(replace(synthetic.SMALL, seeds=1)))["paired_seeds"]
    assert "one seed: no interval" in svg(chart.chart)


def test_without_classical_only_the_chart_is_a_sentence() -> None:
    steps, summary = run(synthetic.SMALL, "classical-control", "hybrid-colocated")
    chart = draw_charts(steps, summary)["paired_seeds"]
    assert "nothing to pair with" in svg(chart.chart)
    assert "nothing to pair with" in chart.grid.groups[0].rows[0][0].text


def test_fabrics_have_what_the_summary_says_of_them() -> None:
    steps, summary = run(replace(synthetic.SMALL, steps=400, slow_every=5))
    sanity = {"sanity_mean_ms": (20.0, 50.0), "sanity_p95_ms": (60.0, 120.0)}
    profile = summary.profiles["colocated"].model_copy(update=sanity)
    summary = summary.model_copy(update={"profiles": {**summary.profiles, "colocated": profile}})
    rows = fabrics(summary, table(steps))
    assert [each.arm for each in rows] == ["hybrid-colocated", "hybrid-onprem-today", "hybrid-public-cloud"]
    lines = {line.name: line for line in rows[0].lines}
    assert lines[MEAN].expected_ms == (20.0, 50.0)
    assert lines["added_latency p95"].expected_ms == (60.0, 120.0)
    p95 = lines["quantum_latency p95"]
    assert p95.value_ms is not None
    assert p95.bound_ms is not None
    assert p95.value_ms <= p95.bound_ms
    assert lines["quantum_latency p99"].value_ms is None
    assert "too few" in lines["quantum_latency p99"].words
    assert rows[0].gate.startswith("PASS")
    text = svg(draw_fabrics(rows, []))
    for each in ("200 ms", "too few", "PASS", "FAIL", "INCONCLUSIVE", "qpu_exec_time"):
        assert each in text


def test_a_fabric_whose_calls_all_missed_is_drawn() -> None:
    steps = synthetic.rows(replace(synthetic.SMALL, steps=300), all_missed="hybrid-colocated")
    summary = synthetic.summary(steps, synthetic.SMALL)
    (first, *_) = fabrics(summary, table(steps))
    assert all(line.value_ms is None for line in first.lines if line.name.startswith("quantum"))
    assert first.lines[0].words == "> 30,000"
    assert "> 30,000" in unescape(svg(draw_fabrics([first], [])))


def hide(steps: list[StepRow], waited_ms: float) -> list[StepRow]:
    """Calls that the training waits for so long, beside proposing and applying."""
    hidden = []
    for step in steps:
        if step.call is None or step.arm != "hybrid-colocated":
            hidden.append(step)
            continue
        own = sum(t.duration_ns for t in step.call.stages if t.stage in (Stage.PROPOSE, Stage.APPLY))
        blocked = own + int(waited_ms * MS)
        hidden.append(replace(step, call=replace(step.call, added_latency_ns=blocked)))
    return hidden


@pytest.mark.parametrize("waited_ms", [0.0, 3.0])
def test_overlapped_stages_are_hidden_from_their_beginning(waited_ms: float) -> None:
    steps, summary = run()
    waterfall = next(f for f in falls(summary, table(hide(steps, waited_ms))) if f.arm == "hybrid-colocated")
    stages = {bar.stage: bar for bar in waterfall.bars}
    assert stages["propose"].hidden_ms == stages["apply"].hidden_ms == 0
    assert stages["qpu_queue_wait"].hidden_ms == pytest.approx(stages["qpu_queue_wait"].total_ms)
    own_ms = stages["propose"].total_ms + stages["apply"].total_ms
    assert waterfall.blocking_ms == pytest.approx(own_ms + waited_ms)
    assert stages["hand-over"].total_ms == 0
    # what the training waits for is the end of the last stages
    if waited_ms:
        assert stages["postproc_time"].hidden_ms < stages["postproc_time"].total_ms
    else:
        assert stages["postproc_time"].hidden_ms == pytest.approx(stages["postproc_time"].total_ms)


def test_inline_calls_hide_nothing_and_overlapped_ones_are_drawn_apart() -> None:
    steps, summary = run()
    inline, overlapped = (falls(summary, table(each)) for each in (steps, hide(steps, 0.0)))
    assert all(fall.hidden_ms == 0 for fall in inline)
    assert "hides" not in svg(draw_waterfalls(inline, []))
    assert "hides" in svg(draw_waterfalls(overlapped, []))
    named = {cells[0].text: cells for cells in stage_means(overlapped).groups[0].rows}
    assert named["of which is hidden"][1].text == "0"
    assert named["of which is hidden"][2].text != "0"


def test_tails_carry_the_bounds_that_gates_look_at() -> None:
    values_ns = [round(1e6 * 1.01**k) for k in range(200)]
    gated = statistics.Sample.of(values_ns, missed=1)
    curve = tail_curve(
        LatencySample("hybrid-mine", tuple(value / 1e6 for value in values_ns), 1, 30_000.0), top=9.0
    )
    assert [round(1 - 10**-x, 6) for x, _, _ in curve.bounds] == [0.5, 0.95]  # 201 calls bound no p99
    for (_, low, high), p in zip(curve.bounds, (0.5, 0.95), strict=True):
        percentile = statistics.percentile(gated, p)
        assert percentile is not None
        assert (10**low, 10**high) == pytest.approx((percentile.value, percentile.upper_bound))


def test_a_bound_among_the_missed_leaves_by_the_top() -> None:
    curve = tail_curve(
        LatencySample("hybrid-mine", tuple(float(k + 1) for k in range(192)), 8, 30_000.0), top=9.0
    )
    assert [high for _, _, high in curve.bounds] == [pytest.approx(curve.bounds[0][2]), 9.0]


@pytest.mark.parametrize(
    ("names", "last"),
    [
        (("classical-only",), 59),
        (("quantum-raw",), 24),
        (("classical-only", "hybrid-public-cloud"), 0),
        (("hybrid-colocated", "hybrid-onprem-today"), 24),
    ],
)
def test_subsets_and_interrupted_runs_are_drawn(names: tuple[str, ...], last: int) -> None:
    steps, _ = run(synthetic.SMALL, *names)
    steps = [step for step in steps if step.step <= last and (step.seed == 0 or last > 24)]
    arms = tuple(arm for arm in synthetic.ARMS if arm.name in names)
    charts = draw_charts(steps, synthetic.summary(steps, synthetic.SMALL, arms=arms, status="interrupted"))
    assert all("INTERRUPTED" in svg(figure.chart) for figure in charts.values())
    assert ("break_even" in charts) == (names != ("classical-only",) and last > 0)
