"""All figures of a run for a terminal: readable at 80 columns, without colour and in a pipe."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.columns import Columns
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from shotclock.bench.judge.price import explain_no_price
from shotclock.bench.judge.shares import Share, shares
from shotclock.bench.numbers import NOTHING, limit, ms, number, percent
from shotclock.bench.record.rows import CALL_STAGES
from shotclock.bench.report.kit.wording import (
    QUANTILES,
    SANITY,
    STATES,
    STYLES,
    SYMBOLS,
    causes_words,
    classes,
    format_expected,
    gate_value,
    mark_of,
    quantile,
    why,
)
from shotclock.bench.report.run.accelerators_table import list_lines, say_nothing, say_point
from shotclock.bench.report.run.ladder_table import TITLE
from shotclock.bench.report.run.terminal_head import say, say_folder, say_head, say_title
from shotclock.bench.schema import GateResult, Latency, State, Summary
from shotclock.domain.plural import count
from shotclock.domain.stages import Stage

_WIDE = 100
"""From this width on, percentiles show their bounds."""
_BAR = 10
_SHOWN_FROM_SHARE = 0.01
_STATES = {State.MET: "bold green", State.NOT_MET: "bold red", State.NOT_MEASURED: "bold yellow"}


def show(summary: Summary, folder: Path, console: Console, commands: Sequence[str]) -> None:
    """Prints the summary of the run in `folder`; `commands` are suggested next commands."""
    mark = mark_of(summary)
    say_head(summary, console, mark)
    say(console, Text(summary.verdict.headline, style="bold"))
    _gates(summary, "Thresholds", summary.thresholds, console, mark)
    _gates(summary, "Mission gates", summary.mission_gates, console, mark)
    _causes(summary, console, mark)
    _latencies(summary, console, mark)
    _stages(summary, console, mark)
    _time(summary, console, mark)
    _costs(summary, console, mark)
    _accelerators(summary, console, mark)
    _ladder(summary, console, mark)
    _sanity(summary, console, mark)
    _checklist(summary, console, mark)
    _verdict(summary, console, mark)
    _next(folder, commands, console)


def _notes(console: Console, notes: Iterable[str]) -> None:
    for note in notes:
        say(console, Text(note, style="dim"))


def _table(head: Iterable[str], words: int = 1) -> Table:
    """Columns without rules; the first `words` are text, the others numbers, set right."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    for place, name in enumerate(head):
        table.add_column(Text(name), justify="left" if place < words else "right", no_wrap=place >= words)
    return table


def _by_arm(console: Console, head: Sequence[str], arms: dict[str, list[tuple[Text, ...]]]) -> None:
    """A table with each arm's name on a separate line, which leaves more width for the figures."""
    rows = [row for own in arms.values() for row in own]
    widths = [
        max(len(name), *(len(row[place]) for row in rows if place < len(row)))
        for place, name in enumerate(head)
    ]

    def part(own: Iterable[tuple[Text, ...]]) -> Table:
        table = _table(head)
        for column, width in zip(table.columns, widths, strict=True):
            column.width = width
        for row in own:
            table.add_row(*row)
        return table

    say(console, part(()))
    for name, own in arms.items():
        below = part(own)
        below.show_header = False
        say(console, Text(name, style="bold"))
        say(console, below)


def _gates(summary: Summary, title: str, results: Sequence[GateResult], console: Console, mark: str) -> None:
    if not results:
        return
    say_title(console, title, mark)
    for gate in results:
        line = Text()
        line.append(f"{SYMBOLS[gate.result]} {gate.result:<12} ", style=STYLES[gate.result])
        sign = "≤" if gate.direction == "max" else "≥"
        line.append(f"{gate.metric} {sign} {limit(gate.limit)}")
        say(console, line)
        now = gate_value(summary, gate)
        say(console, Padding(Text(f"{now}; {why(gate)}" if now else why(gate), style="dim"), (0, 0, 0, 15)))


def _causes(summary: Summary, console: Console, mark: str) -> None:
    causes = {name: causes_words(arm.causes) for name, arm in summary.arms.items() if arm.causes}
    if causes:
        say_title(console, "Calls without samples", mark)
    for name, why_not in causes.items():
        calls = f"{sum(summary.arms[name].causes.values()):,} of {count(summary.arms[name].calls, 'call')}"
        say(console, Text(f"{name}: {calls}: {why_not}"))


def _mean(summary: Summary, metric: str) -> str:
    latency = summary.metrics.get(metric)
    return ms(latency.mean) if isinstance(latency, Latency) and latency.mean is not None else NOTHING


def _percentiles(latency: Latency, *, bounds: bool) -> list[Text]:
    cells = []
    for name in QUANTILES:
        value, bound = quantile(latency, name)
        if value.startswith("too few"):
            cells.append(Text("too few", style="dim"))
        else:
            short = bound.replace("bound > ", "≤ > ").replace(" ", "")
            cells.append(Text(f"{value} {short}" if bounds and bound else value))
    return cells


def _latencies(summary: Summary, console: Console, mark: str) -> None:
    bounds = console.width >= _WIDE
    arms: dict[str, list[tuple[Text, ...]]] = {}
    for name in summary.arms:
        for metric in ("added_latency", "quantum_latency"):
            latency = summary.metrics.get(f"{name}.{metric}")
            if not isinstance(latency, Latency) or not latency.n:
                continue
            rows = arms.setdefault(name, [])
            parts = [
                Text(_mean(summary, f"{name}.{metric}.{part}")) for part in ("emulated_wait", "software")
            ]
            rows.append((*_count_misses(f" {metric}", latency, bounds=bounds), *parts))
            for kind, part in classes(summary, name) if metric == "added_latency" else ():
                rows.append(_count_misses(f"    {kind}", part, bounds=bounds))
    say_title(console, "Latency by arm", mark)
    if not arms:
        say(console, Text("No call was made."))
        return
    _by_arm(console, ("ms", "n", "missed", *QUANTILES, "emul.", "software"), arms)
    notes = [
        "emul., software: means of the emulated wait and of all the rest, ms",
        "qpu, fallback, rejected: calls by who answered, if more than one kind did",
        "too few: too few samples for this percentile; >: missed, above the deadline",
    ]
    if bounds:
        notes.append("≤: upper bound at confidence 0.99; ≤>: none below the deadline")
    _notes(console, notes)


def _count_misses(name: str, latency: Latency, *, bounds: bool) -> tuple[Text, ...]:
    counts = Text(f"{latency.n:,}"), Text(f"{latency.missed:,}")
    return Text(name), *counts, *_percentiles(latency, bounds=bounds)


def _stages(summary: Summary, console: Console, mark: str) -> None:
    arms: dict[str, list[tuple[Text, ...]]] = {}
    for name in summary.arms:
        call = summary.metrics.get(f"{name}.added_latency")
        least = _SHOWN_FROM_SHARE * (call.mean or 0.0) if isinstance(call, Latency) else 0.0
        for stage in (*CALL_STAGES, Stage.TOTAL_ITERATION_TIME):
            latency = summary.metrics.get(f"{name}.{stage}")
            if isinstance(latency, Latency) and latency.n and (latency.mean or 0.0) > least:
                parts = (_mean(summary, f"{name}.{stage}.{part}") for part in ("emulated_wait", "software"))
                figures = (f" {stage}", f"{latency.n:,}", ms(latency.mean), *parts)
                shown = (*map(Text, figures), *_percentiles(latency, bounds=False))
                arms.setdefault(name, []).append(shown)
    if arms:
        say_title(console, "Latency by stage", mark)
        _by_arm(console, ("ms", "n", "mean", "emul.", "software", *QUANTILES), arms)
        _notes(console, ["stages under 1 % of the arm's mean call are left out; the report has them all"])


def _bar(share: Share) -> str:
    software = round(_BAR * min(1.0, max(0.0, share.share - share.emulated)))
    emulated = round(_BAR * min(1.0, share.share)) - software
    return "█" * software + "░" * max(0, emulated)


def _time(summary: Summary, console: Console, mark: str) -> None:
    blocks = []
    for name in summary.arms:
        arm_shares = [share for share in shares(summary, name) if share.share >= _SHOWN_FROM_SHARE]
        if arm_shares:
            block = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), show_header=False)
            block.title, block.title_justify, block.title_style = Text(name), "left", "bold"
            block.add_column(width=22, no_wrap=True)
            block.add_column(width=7, justify="right", no_wrap=True)
            block.add_column(width=_BAR, no_wrap=True)
            for share in arm_shares:
                block.add_row(Text(share.name), Text(percent(share.share)), Text(_bar(share)))
            blocks.append(Padding(block, (0, 0, 1, 0)))
    if blocks:
        say_title(console, "Where the time went", mark)
        say(
            console,
            Text(
                "of an iteration that carries a call; █ software, ░ emulated wait",
                style="dim",
            ),
        )
        say(console, Columns(blocks, padding=(0, 1)))


def _costs(summary: Summary, console: Console, mark: str) -> None:
    currency = next((arm.cost.currency for arm in summary.arms.values()), "")
    arms: dict[str, list[tuple[Text, ...]]] = {}
    for name, arm in summary.arms.items():
        loss, spent = arm.loss, arm.cost
        bounds = " to ".join(number(bound) for bound in loss.interval) if loss.interval else ""
        prices = [number(spent.compute_h_per_loss), number(spent.money_per_loss)]
        consumed = [number(spent.compute_h), number(spent.money)]
        figures = ("", number(loss.mean), number(loss.improvement), bounds, *consumed, *prices)
        arms[name] = [tuple(map(Text, figures))]
    say_title(console, "Cost per loss improvement", mark)
    _by_arm(console, ("", "loss", "gain", "95 %", "h", currency, "h/loss", f"{currency}/loss"), arms)
    notes = ["gain: held-out loss below classical-only's, over the common steps, and its 95 % interval"]
    notes.append(f"h, {currency}: spent; /loss: spent beyond classical-only, for one unit of gain")
    reasons = {name: explain_no_price(name, arm) for name, arm in summary.arms.items()}
    notes += [
        f"no /loss: {reason}: {', '.join(name for name in reasons if reasons[name] == reason)}"
        for reason in dict.fromkeys(filter(None, reasons.values()))
    ]
    _notes(console, notes)


def _accelerators(summary: Summary, console: Console, mark: str) -> None:
    if summary.accelerators is None:
        return
    say_title(console, "Accelerators around calls", mark)
    lines = list_lines(summary)
    warnings = [f"Needs attention: {warning}" for warning in summary.accelerators.warnings]
    point = [say_point(summary)] if summary.accelerators.blocking_point else []
    for line in [*(lines or [say_nothing(summary)]), *point, *warnings]:
        say(console, Text(line))


def _ladder(summary: Summary, console: Console, mark: str) -> None:
    arms: dict[str, list[tuple[Text, ...]]] = {}
    for name, arm in summary.arms.items():
        if arm.ladder is None:
            continue
        arms[name] = [
            tuple(map(Text, (" QPU", f"{arm.ladder.calls:,}", "", "", "", ms(arm.ladder.median_ms))))
        ]
        for control, rung in arm.ladder.rungs.items():
            values = (percent(each.value) for each in (rung.better, rung.equal, rung.worse))
            cells = (f" {control}", f"{rung.better.n:,}", *values, ms(rung.median_ms))
            arms[name].append(tuple(map(Text, cells)))
    if arms:
        say_title(console, TITLE, mark)
        _by_arm(console, ("control", "calls", "better", "equal", "worse", "ms"), arms)
        _notes(console, ["better, equal, worse: the QPU's best sample of a call; ms: median per call"])


def _sanity(summary: Summary, console: Console, mark: str) -> None:
    if not summary.sanity:
        return
    say_title(console, "Against the reference figures", mark)
    table = _table(("ms", "expected", "measured", "result", "pub./meas./ass."))
    for arm_check in summary.sanity:
        tag_counts = "/".join(str(count) for count in arm_check.tags.values())
        table.add_row(Text(arm_check.arm, style="bold"), "", "", "", tag_counts)
        for each in arm_check.figures:
            if each.expected_ms is None and each.measured_ms is None:
                continue
            measured = NOTHING if each.measured_ms is None else ms(each.measured_ms)
            result = f"{SANITY[each.result]} {each.result}"
            table.add_row(Text(f"  {each.statistic}"), format_expected(each), measured, Text(result))
    table.columns[3].justify = "left"
    say(console, table)
    _notes(console, ["pub./meas./ass.: numbers behind the latency, published, measured or assumed"])
    for arm_check in summary.sanity:
        rests = f"; it rests on {', '.join(arm_check.rests_on)}" if arm_check.rests_on else ""
        say(console, Text(f"{arm_check.arm}: {arm_check.said}{rests}", style="dim"))


def _checklist(summary: Summary, console: Console, mark: str) -> None:
    if not summary.checklist:
        return
    say_title(console, "Integration checklist", mark)
    for point in summary.checklist:
        line = Text(f"{STATES[point.state]} {point.title}: ")
        line.append(str(point.state), style=_STATES[point.state])
        say(console, line)
        say(console, Padding(Text(point.said, style="dim"), (0, 0, 0, 2)))


def _verdict(summary: Summary, console: Console, mark: str) -> None:
    say_title(console, "Verdict", mark)
    say(console, Text(summary.verdict.headline, style="bold"))
    listed = Table.grid(padding=(0, 1, 0, 0))
    listed.add_column(justify="right")
    for number_of, sentence in enumerate(summary.verdict.sentences, start=1):
        listed.add_row(f"{number_of}.", Text(sentence.text))
    say(console, listed)


def _next(folder: Path, commands: Sequence[str], console: Console) -> None:
    if commands:
        say_title(console, "Next")
        for command in commands:
            console.print(Text(f"  {command}"), soft_wrap=True, highlight=False)
    say_folder(folder, console)
