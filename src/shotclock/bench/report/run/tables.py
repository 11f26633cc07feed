"""The page's tables, from the summary: gates, latency, time, counts, cost and profiles."""

from __future__ import annotations

from collections.abc import Iterable

from shotclock.bench.judge.price import explain_no_price
from shotclock.bench.judge.shares import Share, shares
from shotclock.bench.numbers import NOTHING, limit, ms, number, percent
from shotclock.bench.record.rows import CALL_STAGES
from shotclock.bench.report.kit.grid import Cell, Grid, Group, plain, row
from shotclock.bench.report.kit.wording import (
    QUANTILES,
    SYMBOLS,
    classes,
    gate_value,
    mark_arm,
    quantile,
    ratio,
    why,
)
from shotclock.bench.schema import ArmSummary, Cost, GateResult, Latency, ProfileSummary, Ratio, Summary
from shotclock.domain.plural import count

_PARTS = (("", ""), (".emulated_wait", "of which emulated wait"), (".software", "of which software"))
_LATENCY_HEAD = ("ms", "n", "missed", "mean", *QUANTILES)


def badge(summary: Summary, arm: ArmSummary) -> str:
    """What an arm's figures are: EMULATED or hardware where it has a QPU, nothing where it has none."""
    return mark_arm(summary, arm)


def gates(summary: Summary, results: Iterable[GateResult], caption: str) -> Grid:
    """Thresholds with their results, the present figure and the count behind it."""
    rows = [
        (
            Cell(f"{SYMBOLS[gate.result]} {gate.result}", look=gate.result.lower()),
            Cell(gate.metric, look="code"),
            f"{'≤' if gate.direction == 'max' else '≥'}\u00a0{limit(gate.limit)}",
            gate_value(summary, gate) or NOTHING,
            why(gate),
        )
        for gate in results
    ]
    return plain(caption, ("result", "metric", "limit", "this run", "why"), rows, words=5)


def _quantile_cell(latency: Latency, name: str) -> Cell:
    value, bound = next(quantile(latency, each) for each in QUANTILES if each == name)
    return Cell(value, bound, look="bounded" if bound else "quiet")


def _latency_rows(summary: Summary, metric: str, name: str) -> list[tuple[Cell, ...]]:
    """The figure and its two parts; a figure whose emulated wait is known to be none says so in one row."""
    rows = []
    emulated = summary.metrics.get(f"{metric}.emulated_wait")
    split = isinstance(emulated, Latency) and bool(emulated.mean)
    note = "all software" if isinstance(emulated, Latency) and not split else ""
    for part, words in _PARTS if split else _PARTS[:1]:
        latency = summary.metrics.get(f"{metric}{part}")
        if isinstance(latency, Latency) and latency.n:
            title = Cell(words, look="part") if part else Cell(name, note, "code")
            values = [_quantile_cell(latency, each) for each in QUANTILES]
            rows.append(row((title, f"{latency.n:,}", f"{latency.missed:,}", ms(latency.mean), *values)))
    return rows


def _class_rows(summary: Summary, arm: str) -> list[tuple[Cell, ...]]:
    """Calls by who answered them, where an arm has more than one kind: they are never one distribution."""
    rows = []
    for name, latency in classes(summary, arm):
        values = [_quantile_cell(latency, each) for each in QUANTILES]
        title = Cell(f"of which {name}", look="part")
        rows.append(row((title, f"{latency.n:,}", f"{latency.missed:,}", ms(latency.mean), *values)))
    return rows


def latency(summary: Summary) -> Grid:
    """added_latency and quantum_latency of every arm that calls, emulated wait and software apart."""
    groups = []
    for name, arm in summary.arms.items():
        rows = [
            *_latency_rows(summary, f"{name}.added_latency", "added_latency"),
            *_class_rows(summary, name),
            *_latency_rows(summary, f"{name}.quantum_latency", "quantum_latency"),
        ]
        if rows:
            groups.append(Group(tuple(rows), name, badge(summary, arm)))
    return Grid("Latency of a call by arm, ms", _LATENCY_HEAD, tuple(groups))


def stages(summary: Summary) -> list[Grid]:
    """One grid an arm: every stage, then the whole training iteration."""
    grids = []
    for name, arm in summary.arms.items():
        rows = [
            each
            for stage in (*CALL_STAGES, "total_iteration_time")
            for each in _latency_rows(summary, f"{name}.{stage}", str(stage))
        ]
        if rows:
            mark = badge(summary, arm)
            grids.append(Grid(f"{name}{f' ({mark})' if mark else ''}", _LATENCY_HEAD, (Group(tuple(rows)),)))
    return grids


def _small_percent(share: float) -> str:
    if share == 0:
        return NOTHING
    return percent(share) if share >= 0.0005 else "< 0.1 %"


def note_emulated_share(part: Share) -> str:
    """How much of a share was emulated waiting, where that is worth a word."""
    if part.emulated < 0.0005:
        return ""
    return "emulated" if part.emulated > 0.995 * part.share else f"{percent(part.emulated)} emulated"


def time_went(summary: Summary) -> Grid:
    """Stages down, arms across: shares of the arm's whole training time, with the emulated part."""
    columns = {name: shares(summary, name) for name in summary.arms}
    columns = {name: arm_shares for name, arm_shares in columns.items() if arm_shares}
    rows = []
    for number_of, parts in enumerate(zip(*columns.values(), strict=True)):
        name = parts[0].name
        cells = [
            Cell(
                _small_percent(part.share),
                note_emulated_share(part),
                bar=(max(0.0, part.share - part.emulated), part.emulated),
            )
            for part in parts
        ]
        rows.append((Cell(name, look="code" if 0 < number_of <= len(CALL_STAGES) else ""), *cells))
    return plain("Share of an iteration by stage", ("", *columns), rows, even=True)


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items()) or NOTHING


def _share(summary: Summary, metric: str) -> Cell:
    measured = summary.metrics.get(metric)
    if not isinstance(measured, Ratio):
        return Cell(NOTHING)
    value, _, interval = ratio(measured).partition(" (")
    return Cell(value, interval.rstrip(")"))


def counts(summary: Summary) -> Grid:
    """The counts of each arm's steps and of its calls' outcomes."""
    rows = []
    for name, arm in summary.arms.items():
        every = (
            f"every {count(arm.call_every, 'step') if arm.call_every > 1 else 'step'}"
            if arm.call_every
            else ""
        )
        if arm.meeting is not None and arm.meeting.overlapped:
            every = f"{every}, {arm.meeting.inline:,} inline"
        if arm.surrogate_error:
            every = f"{every}, surrogate error {number(arm.surrogate_error)}"
        rows.append(
            (
                Cell(name, badge(summary, arm)),
                _counts(arm.outcomes),
                _counts(arm.decisions),
                _counts(arm.winners),
                Cell(f"{arm.steps:,}", count(len(arm.seeds), "seed")),
                Cell(f"{arm.calls:,}", every),
                _share(summary, f"{name}.quantum_share") if arm.calls_quantum else NOTHING,
                _share(summary, f"{name}.deadline_hit_ratio"),
                Cell(f"{arm.emulator_overruns:,}", arm.simulation),
                number(arm.samples_per_s),
            )
        )
    head = (
        "arm",
        "outcomes",
        "decisions",
        "winners",
        "steps",
        "calls",
        "quantum_share",
        "deadline_hit_ratio",
        "emulator overruns",
        "samples/s",
    )
    return plain("Calls and their outcomes", head, rows, words=4)


def causes(summary: Summary) -> Grid:
    """Why calls brought no samples, by arm, the most frequent first; no rows where all did."""
    groups = tuple(
        Group(
            tuple(
                row((Cell(cause), f"{calls:,}", percent(calls / arm.calls)))
                for cause, calls in list(arm.causes.items())[:12]
            ),
            name,
            badge(summary, arm),
        )
        for name, arm in summary.arms.items()
        if arm.causes
    )
    return Grid("Calls without samples", ("because", "calls", "share of calls"), groups)


def cost(summary: Summary) -> Grid:
    """Loss at the last common step, what it cost, and the price of an improvement or why it has none."""
    rows = []
    for name, arm in summary.arms.items():
        loss, spent = arm.loss, arm.cost
        why = explain_no_price(name, arm)
        per_hour, per_money = (
            Cell(NOTHING, why) if why else Cell(number(value))
            for value in (spent.compute_h_per_loss, spent.money_per_loss)
        )
        interval = f"{number(loss.interval[0])} to {number(loss.interval[1])}" if loss.interval else ""
        rows.append(
            (
                Cell(name, badge(summary, arm)),
                number(loss.mean),
                Cell(number(loss.improvement), interval),
                number(spent.compute_h),
                Cell(number(spent.qpu_s), _beside(spent)),
                number(spent.money),
                per_hour,
                per_money,
            )
        )
    currency = next((arm.cost.currency for arm in summary.arms.values()), "")
    head = (
        "arm",
        "held-out loss",
        "improvement on classical-only",
        "compute, h",
        "QPU, s",
        f"money, {currency}",
        "compute h per unit of loss",
        f"{currency} per unit of loss",
    )
    return plain(f"Over the {count(summary.common_steps, 'step')} common to all arms", head, rows)


def _beside(spent: Cost) -> str:
    """What of the QPU's seconds brought no samples: a session's idle ones, jobs that were given up."""
    parts = [f"{number(spent.qpu_idle_s)} of it idle"] if spent.qpu_idle_s is not None else []
    if spent.abandoned_jobs:
        given_up = f"{count(spent.abandoned_jobs, 'job')} given up"
        parts.append(f"{number(spent.abandoned_qpu_s)} of it in {given_up}")
    unknown = ((spent.abandoned_untold, "job"), (spent.sessions_untold, "session"))
    parts += [f"{count(number_of, what)} with unknown usage" for number_of, what in unknown if number_of]
    return ", ".join(parts)


def components(profile: ProfileSummary) -> Grid:
    """Every number of a profile with its tag and its source."""
    rows = [
        (
            Cell(each.name, look="code"),
            Cell(each.tag, look=each.tag),
            each.source,
            f"{each.value:.9g}",
            "µs" if each.unit == "us" else each.unit,
        )
        for each in profile.components
    ]
    return plain("Components", ("component", "tag", "source", "value", "unit"), rows, words=3, mixed=True)


def tabulate_predicted(summary: Summary, key: str, profile: ProfileSummary) -> Grid:
    """The profile's predicted means, their sum, and what this run's arms measured."""
    rows: list[tuple[str | Cell, ...]] = [
        (Cell(name, look="code"), ms(value)) for name, value in profile.mean_by_component_ms.items()
    ]
    rows.append((Cell("predicted mean", look="total"), Cell(ms(profile.predicted_mean_ms), look="total")))
    rows.append(("predicted p95", ms(profile.predicted_p95_ms)))
    for name, arm in summary.arms.items():
        latency = summary.metrics.get(f"{name}.quantum_latency")
        if arm.profile == key and isinstance(latency, Latency):
            note = f"{mark_arm(summary, arm)}, n={latency.n:,}"
            rows.append((Cell(f"{name}: mean quantum_latency", note), ms(latency.mean)))
    return plain("Predicted and run, ms", ("mean", "ms"), rows)
