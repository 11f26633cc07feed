"""Figures as words: the one place that decides how a number, a missing one or a bound is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from shotclock.bench.analysis import SanityFigure, SanityResult
from shotclock.bench.numbers import NOTHING, money, ms, number, percent, percent_range, span
from shotclock.bench.record.arm_runs import CLASSES
from shotclock.bench.schema import (
    TOO_FEW,
    ArmSummary,
    GateResult,
    Latency,
    Metric,
    Percentile,
    Ratio,
    Result,
    State,
    Summary,
)
from shotclock.bench.stats.statistics import QUANTILES as GATED_QUANTILES
from shotclock.bench.stats.statistics import fewest
from shotclock.domain.plural import count

MOST_CAUSES = 4
"""Causes named beside an arm."""

Quantile = Literal["p50", "p95", "p99"]
QUANTILES: tuple[Quantile, ...] = ("p50", "p95", "p99")
SYMBOLS = {Result.PASS: "✓", Result.FAIL: "✗", Result.INCONCLUSIVE: "?"}
STYLES = {Result.PASS: "bold green", Result.FAIL: "bold red", Result.INCONCLUSIVE: "bold yellow"}
"""Of a result on a terminal."""
STATES = {State.MET: "✓", State.NOT_MET: "✗", State.NOT_MEASURED: "?"}
SANITY = {
    SanityResult.MET: "✓",
    SanityResult.EXPLAINED: "○",
    SanityResult.NOT_MET: "✗",
    SanityResult.TOO_FEW: "?",
    SanityResult.NO_FIGURE: "–",
}


def quantile(latency: Latency, name: Quantile) -> tuple[str, str]:
    """A percentile and its upper bound; too few samples give no number, a miss gives the limit it passed."""
    percentile = latency.percentiles.get(name, TOO_FEW)
    if not isinstance(percentile, Percentile):
        return f"too few samples (n={latency.n:,})", ""
    above = f"> {ms(latency.censored_above)}" if latency.censored_above is not None else "missed"
    if percentile.value is None:
        return above, ""
    bound = f"≤ {ms(percentile.upper_bound)}" if percentile.upper_bound is not None else f"bound {above}"
    return ms(percentile.value), bound


def ratio(metric: Ratio) -> str:
    """A share with its interval."""
    if metric.value is None or metric.lower_bound is None or metric.upper_bound is None:
        return NOTHING
    return f"{percent(metric.value)} ({percent_range(metric.lower_bound, metric.upper_bound)})"


def metric(measured: Metric) -> str:
    """A whole metric in a line: a ratio, or a latency's percentiles."""
    if isinstance(measured, Ratio):
        return ratio(measured)
    pairs = [(name, *quantile(measured, name)) for name in QUANTILES]
    parts = [
        f"{name} {value} ms ({bound})" if bound else f"{name} {value.partition(' (')[0]}"
        for name, value, bound in pairs
    ]
    return f"{', '.join(parts)}; n={measured.n:,}"


def format_expected(figure: SanityFigure) -> str:
    """The reference range in milliseconds: one number, two, or none."""
    if figure.expected_ms is None:
        return NOTHING
    low, high = (f"{end:,.0f}" for end in figure.expected_ms)
    return low if low == high else f"{low}–{high}"


def tags(counted: Mapping[str, int]) -> str:
    """How many numbers are published, measured and assumed."""
    return ", ".join(f"{count} {tag}" for tag, count in counted.items()) or NOTHING


def classes(summary: Summary, arm: str) -> list[tuple[str, Latency]]:
    """added_latency by who answered (`CLASSES`), where there is more than one kind."""
    by_class = [(name, summary.metrics.get(f"{arm}.added_latency.{name}")) for name in CLASSES]
    latencies = [(name, latency) for name, latency in by_class if isinstance(latency, Latency) and latency.n]
    return latencies if len(latencies) > 1 else []


def figure(summary: Summary, name: str) -> str:
    """The run's value of a figure cited by the verdict: `arm.figure` or `arm.figure.p95_ms`."""
    if name in summary.metrics:
        return metric(summary.metrics[name])
    stem, _, last = name.rpartition(".")
    if stem in summary.arms:
        return _of_arm(summary.arms[stem], last)
    measured = summary.metrics.get(stem)
    if isinstance(measured, Latency):
        if last == "mean_ms":
            return f"{ms(measured.mean)} ms"
        for each in QUANTILES:
            if last in (each, f"{each}_ms"):
                value, bound = quantile(measured, each)
                return f"{value} ms ({bound})" if bound else value
    return percent(measured.value) if isinstance(measured, Ratio) and last == "value" else ""


def why(gate: GateResult) -> str:
    """The count behind a gate and, if it is inconclusive, the calls that would decide it."""
    if gate.needed is None:
        return gate.why
    calls = f"about {count(gate.needed, 'call')} would decide it"
    return f"{gate.why}; {calls if gate.needed else 'too near the limit to decide'}"


def gate_value(summary: Summary, gate: GateResult) -> str:
    """This run's value of a gate's figure; a gate needs fewer calls than its percentile."""
    now = figure(summary, gate.metric)
    name = gate.metric.rpartition(".")[2].removesuffix("_ms")
    if not now.startswith("too few") or name not in GATED_QUANTILES:
        return now
    return f"no {name} is printed below {fewest(GATED_QUANTILES[name])} calls"


def causes_words(causes: Mapping[str, int]) -> str:
    """Why calls brought no samples, the most frequent first; "" where all did or rows did not say."""
    shown = list(causes.items())[:MOST_CAUSES]
    parts = [f"{cause} ({count(calls, 'call')})" for cause, calls in shown]
    if others := len(causes) - len(shown):
        parts.append(count(others, "other cause"))
    return "; ".join(parts)


def _of_arm(arm: ArmSummary, field: str) -> str:
    match field:
        case "loss":
            return f"{number(arm.loss.mean)}, {count(len(arm.loss.per_seed), 'seed')}"
        case "cost":
            idle = f", {number(arm.cost.qpu_idle_s)} s of it idle" if arm.cost.qpu_idle_s is not None else ""
            return f"{money(arm.cost.money, arm.cost.currency)}, {number(arm.cost.qpu_s)} QPU s{idle}"
        case "winners":
            return ", ".join(f"{name} {count:,}" for name, count in arm.winners.items())
        case _:
            return _of_calls(arm, field)


def _of_calls(arm: ArmSummary, field: str) -> str:
    match field:
        case "ladder" if arm.ladder is not None:
            return f"{count(arm.ladder.calls, 'call')} with samples"
        case "pre_evaluated" if arm.pre_evaluated is not None:
            return f"{count(arm.pre_evaluated.calls, 'call')} pre-evaluated"
        case "meeting" if arm.meeting is not None:
            return f"{arm.meeting.inline:,} inline, {arm.meeting.overlapped:,} overlapped"
        case _:
            return ""


def took(summary: Summary) -> str:
    """How long the run took; under the virtual clock also the emulated time, which nobody waited for."""
    if summary.clock == "wall":
        return span(summary.duration_s)
    emulated = f"{span(summary.duration_s)} of emulated time"
    return emulated if summary.wall_s is None else f"{span(summary.wall_s)}, {emulated}"


def mark_emulated(emulated: bool, clock: str) -> str:
    """The mark that goes wherever a QPU's figure does: EMULATED, and the clock if it was virtual."""
    return _with_clock("EMULATED" if emulated else "hardware", clock)


def mark_arm(summary: Summary, arm: ArmSummary) -> str:
    """The mark of an arm's figures; "" of an arm without a QPU."""
    return mark_emulated(arm.emulated, arm.clock or summary.clock) if arm.calls_quantum else ""


def note_virtual_arms(summary: Summary) -> str:
    """Which arms of a run on the wall clock ran on the virtual one; "" without any."""
    names = [name for name, arm in summary.arms.items() if arm.clock == "virtual"]
    if summary.clock == "virtual" or not names:
        return ""
    return f"VIRTUAL CLOCK: {', '.join(names)} (emulated waits counted, not slept through)"


def mark_of(summary: Summary) -> str:
    """The mark of a whole run; a run without a quantum arm has no QPU to mark."""
    has_quantum = any(arm.calls_quantum for arm in summary.arms.values())
    return (
        mark_emulated(summary.emulated, summary.clock)
        if has_quantum
        else _with_clock("no QPU", summary.clock)
    )


def _with_clock(mark: str, clock: str) -> str:
    return f"{mark}, VIRTUAL CLOCK" if clock == "virtual" else mark
