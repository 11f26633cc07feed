"""The run's summary on one terminal page: at most 40 lines at 80 columns, whatever ran."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from shotclock.bench.numbers import limit, number, percent
from shotclock.bench.record.arm_runs import SOLVERS
from shotclock.bench.report.kit.wording import (
    QUANTILES,
    STYLES,
    SYMBOLS,
    causes_words,
    gate_value,
    mark_of,
    quantile,
    why,
)
from shotclock.bench.report.run.hosts_table import summarise_hosts
from shotclock.bench.report.run.ladder_table import summarise_ladder
from shotclock.bench.report.run.terminal_head import say, say_folder, say_head, say_title
from shotclock.bench.schema import GateResult, Latency, Ratio, Result, Summary
from shotclock.bench.stats import overrun
from shotclock.domain.plural import count

MOST_LINES = 40
MOST_GATES, MOST_ARMS, MOST_CAUSES = 5, 9, 2
"""Rows of each part; the rest are counted in one line and shown in the report."""
_ORDER = (Result.FAIL, Result.INCONCLUSIVE, Result.PASS)
_ARM_WIDTH = 26


def show_brief(summary: Summary, folder: Path, console: Console) -> None:
    """Prints the gates, one line per arm, the verdict and the report's path.

    Gates that do not pass are explained, failures first, as far as the page has room; where the QPU stands
    among its controls is one sentence, left out without room.
    """
    reasons, ladder = 2 * MOST_GATES, summarise_ladder(summary)
    while reasons and _count_lines(summary, folder, console, reasons, ladder) > MOST_LINES:
        reasons -= 1
    if _count_lines(summary, folder, console, reasons, ladder) > MOST_LINES:
        ladder = ""
    _show_page(summary, folder, console, reasons, ladder)


def _count_lines(summary: Summary, folder: Path, console: Console, reasons: int, ladder: str) -> int:
    with console.capture() as captured:
        _show_page(summary, folder, console, reasons, ladder)
    return captured.get().count("\n")


def _show_page(summary: Summary, folder: Path, console: Console, reasons: int, ladder: str) -> None:
    mark = mark_of(summary)
    say_head(summary, console, mark)
    thresholds, mission = (_by_result(gates) for gates in (summary.thresholds, summary.mission_gates))
    explained = _divide_reasons(reasons, thresholds[:MOST_GATES], mission[:MOST_GATES])
    _show_gates("Thresholds", thresholds, explained[0], summary, console)
    _show_gates("Mission gates", mission, explained[1], summary, console)
    _arms(summary, console, mark)
    _causes(summary, console)
    say_title(console, "Verdict", mark)
    say(console, Text(_shorten(summary.verdict.headline, console, lines=4), style="bold"))
    if ladder:
        say(console, Text(ladder))
    if hosts := summarise_hosts(summary):
        say(console, Text(_shorten(hosts, console, lines=3)))
    say(console, Text("All figures: the report, or `shotclock bench --verbose`", style="dim"))
    say_folder(folder, console)


def _by_result(gates: Sequence[GateResult]) -> list[GateResult]:
    return sorted(gates, key=lambda gate: _ORDER.index(gate.result))


def _divide_reasons(reasons: int, *lists: Sequence[GateResult]) -> list[int]:
    """How many gates of each list to explain: all failures come before inconclusive gates."""
    explained = [0] * len(lists)
    for result in (Result.FAIL, Result.INCONCLUSIVE):
        for place, gates in enumerate(lists):
            n = min(reasons, sum(gate.result is result for gate in gates))
            explained[place] += n
            reasons -= n
    return explained


def _show_gates(
    title: str, ordered: Sequence[GateResult], explained: int, summary: Summary, console: Console
) -> None:
    """ordered: by result; explained: how many of them get a second line with the reason."""
    if not ordered:
        return
    say_title(console, title, mark_of(summary))
    for place, gate in enumerate(ordered[:MOST_GATES]):
        sign = "≤" if gate.direction == "max" else "≥"
        line = Text(f"{SYMBOLS[gate.result]} {gate.result:<12} ", style=STYLES[gate.result])
        line.append(f"{gate.metric} {sign} {limit(gate.limit)}", style="not bold default")
        _say_line(line, console)
        if place < explained:
            now = gate_value(summary, gate)
            words = f"{now}; {why(gate)}" if now else why(gate)
            _say_line(Text(f"  {words}", style="dim"), console)
    if others := ordered[MOST_GATES:]:
        counted = [(each, sum(gate.result is each for gate in others)) for each in _ORDER]
        counts = ", ".join(f"{n:,} {each}" for each, n in counted if n)
        say(console, Text(f"and {count(len(others), 'other')}: {counts}", style="dim"))


def _say_line(line: Text, console: Console) -> None:
    """Prints a line that never breaks; what is too long ends in an ellipsis."""
    line.truncate(console.width, overflow="ellipsis")
    say(console, line)


def _arms(summary: Summary, console: Console, mark: str) -> None:
    currency = next((arm.cost.currency for arm in summary.arms.values()), "cost")
    say_title(console, "Added latency of a call, throughput, answers and cost", mark)
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    table.add_column("arm", no_wrap=True, max_width=_ARM_WIDTH, overflow="ellipsis")
    for head in (*(f"{name} ms" for name in QUANTILES), "samples/s", "by QPU", currency):
        table.add_column(Text(head), justify="right", no_wrap=True)
    shown = [name for name in summary.arms if name not in SOLVERS][:MOST_ARMS]
    for name in shown:
        money = number(summary.arms[name].cost.money)
        table.add_row(Text(name), *_latency(summary, name), *_answers(summary, name), money)
    say(console, table)
    if (others := len(summary.arms) - len(shown)) > 0:
        say(console, Text(f"and {count(others, 'other arm')}", style="dim"))


def _latency(summary: Summary, arm: str) -> tuple[str, ...]:
    """The percentiles of added_latency; none of too few calls, or of an emulation that was too slow."""
    latency = summary.metrics.get(f"{arm}.added_latency")
    if not isinstance(latency, Latency) or not latency.n:
        return ("–",) * len(QUANTILES)
    if arm in overrun.invalid_arms(summary.arms):
        return ("invalid",) * len(QUANTILES)
    values = (quantile(latency, name)[0] for name in QUANTILES)
    return tuple("too few" if value.startswith("too few") else value for value in values)


def _answers(summary: Summary, arm: str) -> tuple[str, str]:
    """Training samples a second, and the share of calls with samples of the QPU."""
    share = summary.metrics.get(f"{arm}.quantum_share")
    has_calls = summary.arms[arm].calls_quantum and isinstance(share, Ratio)
    by_qpu = percent(share.value) if has_calls and isinstance(share, Ratio) else "–"
    return number(summary.arms[arm].samples_per_s), by_qpu


def _causes(summary: Summary, console: Console) -> None:
    """Why calls brought no samples, the arms with the most such calls first."""
    causes_by_arm = {name: arm for name, arm in summary.arms.items() if arm.causes and arm.calls_quantum}
    if not causes_by_arm:
        return
    say_title(console, "Calls without samples")
    ordered = sorted(causes_by_arm.items(), key=lambda item: -sum(item[1].causes.values()))
    for name, arm in ordered[:MOST_CAUSES]:
        calls = f"{sum(arm.causes.values()):,} of {count(arm.calls, 'call')}"
        words = f"{name}: {calls}: {causes_words(arm.causes)}"
        say(console, Text(_shorten(words, console, lines=2)))
    if (others := len(causes_by_arm) - MOST_CAUSES) > 0:
        say(console, Text(f"and of {count(others, 'other arm')}", style="dim"))


def _shorten(words: str, console: Console, lines: int) -> str:
    """At most so many lines of the console."""
    wrapped = textwrap.wrap(words, console.width - 1, max_lines=lines, placeholder=" …")
    return "\n".join(wrapped)
