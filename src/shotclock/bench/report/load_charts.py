"""The charts of a load test: load against latency, latency over time, and who answered how fast."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from shotclock.bench.load.records import CLASSES, CallRecord
from shotclock.bench.load.schema import LoadRun, LoadSummary, Quantile
from shotclock.bench.report.heat import Heat, Instant, heat_map
from shotclock.bench.report.lines import Axis, Composed, Curve, Panel, draw, dressed, rule
from shotclock.bench.report.load_words import mark_of_load
from shotclock.bench.report.looks import looks
from shotclock.bench.report.render import png, standalone, svg
from shotclock.bench.report.samples import Sample, log_ms, log_ms_axis
from shotclock.bench.report.tails import Told, distribution
from shotclock.bench.report.words import ms, number
from shotclock.bench.schema import Percentile
from shotclock.domain.budget import NS_PER_MS, NS_PER_S

_WIDTH, _HEIGHT = 560, 300
_DRAWN: tuple[Quantile, ...] = ("p50", "p90", "p99")


def write_charts(summary: LoadSummary, calls: Sequence[CallRecord], folder: Path) -> list[Path]:
    """Writes charts/*.svg and *.png under `folder`; a chart without a call behind it is left out.

    Raises OSError where the folder cannot be written.
    """
    charts = folder / "charts"
    charts.mkdir(parents=True, exist_ok=True)
    written = []
    for name, chart in drawn(summary, calls).items():
        drawing = svg(chart)
        (charts / f"{name}.svg").write_text(standalone(drawing), encoding="utf-8")
        (charts / f"{name}.png").write_bytes(png(drawing))
        written.append(charts / f"{name}.svg")
    return written


def drawn(summary: LoadSummary, calls: Sequence[CallRecord]) -> dict[str, Composed]:
    """The charts by name."""
    if not calls:
        return {}
    quoted = [call for call in calls if call.run == summary.quoted]
    found = {
        "latency_over_time": _over_time(summary, quoted),
        "latency_by_class": _by_class(summary, quoted),
    }
    if len({run.rate_per_s for run in summary.runs}) > 1:
        found["load_against_latency"] = _hockey_stick(summary)
    return found


def _subtitle(summary: LoadSummary, run: LoadRun | None = None) -> list[str]:
    state = "" if summary.status == "complete" else f", {summary.status.upper()}"
    at = "" if run is None else f" at {number(run.offered_per_s)} calls/s, {run.calls:,} calls"
    lines = [f"{mark_of_load(summary)}{state}: {summary.scenario}{at}, n = {summary.n}; {summary.run_id}"]
    if run is not None:
        lines += [f"INVALID: {fault}" for fault in run.faults]
    return lines


def _deadline(summary: LoadSummary) -> tuple[float, str]:
    return summary.deadline_ms, f"deadline: {ms(summary.deadline_ms)} ms"


def _over_time(summary: LoadSummary, calls: Sequence[CallRecord]) -> Composed:
    """Calls with any answer; calls without one in the strip of misses."""
    instants = [
        Instant(call.scheduled_ns / NS_PER_S, call.latency_ns / NS_PER_MS if call.answered else None)
        for call in calls
    ]
    measured = sorted(one.latency_ms for one in instants if one.latency_ms is not None)
    sample = Sample("", tuple(measured), len(instants) - len(measured), None)
    y = log_ms_axis([sample], "latency, ms, log scale", summary.deadline_ms)
    heat = Heat("Latency over time", "scheduled instant, s", instants, y, _deadline(summary))
    return heat_map(heat, _subtitle(summary, summary.runs[summary.quoted]))


def _by_class(summary: LoadSummary, calls: Sequence[CallRecord]) -> Composed:
    """ECDF of each class over all calls: where a line ends is the share of calls that class answered."""
    found = []
    for kind in CLASSES:
        latencies = sorted(call.latency_ns / NS_PER_MS for call in calls if call.answered_by == kind)
        if latencies and kind != "unanswered":
            found.append(Sample(kind, tuple(latencies), len(calls) - len(latencies), None))
    told = Told("Share of all calls answered, by time and by whom", "latency", _deadline(summary))
    faces = looks([sample.arm for sample in found])
    return distribution(found, faces, _subtitle(summary, summary.runs[summary.quoted]), told)


def _hockey_stick(summary: LoadSummary) -> Composed:
    """Quantiles against the offered rate, of what counts; a line leaves by the top where it is a miss."""
    curves, values = [], [summary.deadline_ms]
    points = {name: _points(summary, name) for name in _DRAWN}
    values += [value for found in points.values() for _, value in found if value is not None]
    rates = [run.rate_per_s for run in summary.runs]
    x = _rate_axis(min(rates), max(rates))
    counted = "with samples" if summary.basis == "quantum" else "of any answer"
    shown = Sample("", tuple(sorted(values)), 0, None)
    y = log_ms_axis([shown], f"latency {counted}, ms, log scale", summary.deadline_ms)
    for name, found in points.items():
        known = [(math.log10(rate), log_ms(value)) for rate, value in found if value is not None]
        missed = [math.log10(rate) for rate, value in found if value is None]
        line = [*known, (missed[0], y.high)] if missed and known else known
        if line:
            curves.append(Curve(name, tuple(line), tuple(known), name, open_end=bool(missed and known)))
    panel = Panel(tuple(curves), x, y, _WIDTH, _HEIGHT, "", stepped=False, leaders=True)
    limit_ms, words = _deadline(summary)
    rules = rule(log_ms(limit_ms), words, panel)
    if summary.knee is not None and summary.knee.met_per_s is not None:
        met = summary.knee.met_per_s
        rules += rule(math.log10(met), f"knee: {number(met)}/s", panel, vertical=True)
    chart = draw(panel, looks([curve.arm for curve in curves]), rules)
    return dressed(chart, "Load against latency", _subtitle(summary))


def _points(summary: LoadSummary, name: Quantile) -> list[tuple[float, float | None]]:
    """(rate, ms) in ascending order, the last run of a rate; None is a miss; too few samples are left out."""
    last = {run.rate_per_s: run for run in summary.runs if not run.faults}
    found: list[tuple[float, float | None]] = []
    for rate in sorted(last):
        run = last[rate]
        tail = run.quantum_latency if summary.basis == "quantum" else run.latency
        percentile = tail.percentiles[name]
        if isinstance(percentile, Percentile):
            found.append((rate, percentile.value))
    return found


def _rate_axis(low: float, high: float) -> Axis:
    start, stop = math.log10(low) - 0.05, math.log10(high) + 0.05
    decades = range(math.floor(start), math.ceil(stop) + 1)
    steps = (1, 2, 5) if stop - start > 1 else (1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9)
    ticks = tuple(t for d in decades for m in steps if start <= (t := d + math.log10(m)) <= stop)
    return Axis(
        start, stop, ticks, tuple(f"{10**t:,.6g}" for t in ticks), "offered calls per second, log scale"
    )
