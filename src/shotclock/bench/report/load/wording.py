"""A load test for a terminal: the quoted run's tail, its classes, and what it is worth."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from shotclock.bench.load.arrivals import Scenario
from shotclock.bench.load.records import Basis
from shotclock.bench.load.schema import Knee, LoadCost, LoadRun, LoadSummary, Quantile, Tail
from shotclock.bench.numbers import NOTHING, money, ms, number, percent, round_percent
from shotclock.bench.report.kit.wording import STYLES, SYMBOLS, causes_words, mark_emulated, ratio
from shotclock.bench.schema import Percentile, Result
from shotclock.domain.plural import count, verb

QUANTILES: tuple[Quantile, ...] = ("p50", "p90", "p95", "p99", "p99.9")
COUNTED: dict[Basis, str] = {"quantum": "samples of the QPU", "any": "any answer"}
_HELD = {
    Result.PASS: "met the deadline of {deadline} ms",
    Result.FAIL: "did not meet the deadline of {deadline} ms",
    Result.INCONCLUSIVE: "may or may not meet the deadline of {deadline} ms",
}


def run_line(rate_per_s: float, run: LoadRun) -> str:
    """One run in a line, for whoever waits."""
    value = tail_words(run.quantum_latency, run.gated)
    return (
        f"{number(rate_per_s)} calls/s: {run.result}, {run.gated} with samples {value}, "
        f"issue lag p99 {tail_words(run.issue_lag, 'p99')}, {run.why}"
    )


def mark_of_load(summary: LoadSummary) -> str:
    """EMULATED or hardware, and the clock."""
    return mark_emulated(summary.emulated, summary.clock)


def tail_words(tail: Tail, name: Quantile) -> str:
    """A percentile with its bound, or why it is missing."""
    percentile = tail.percentiles[name]
    if not isinstance(percentile, Percentile):
        return f"too few samples (n={tail.n:,})"
    if percentile.value is None:
        return "missed"
    bound = "bound missed" if percentile.upper_bound is None else f"≤ {ms(percentile.upper_bound)}"
    return f"{ms(percentile.value)} ms ({bound})"


def _is_missed(tail: Tail, name: Quantile) -> bool:
    percentile = tail.percentiles[name]
    return isinstance(percentile, Percentile) and percentile.value is None


def select_gated_tail(summary: LoadSummary, run: LoadRun) -> Tail:
    """The latency that is compared with the deadline."""
    return run.quantum_latency if summary.basis == "quantum" else run.latency


def headline(summary: LoadSummary) -> str:
    """The test in one sentence: its result or INVALID, the deadline, and the knee of a sweep.

    With fewer calls than a percentile takes, and where it lies among misses, the count speaks for it.
    """
    if not summary.runs:
        return "INVALID: no run ended."
    run = summary.runs[summary.quoted]
    at = f"at {number(run.rate_per_s)} calls/s"
    if summary.scenario in (Scenario.SINGLE_STREAM, Scenario.MULTI_STREAM):
        at = f"at its own pace, {number(run.achieved_per_s)} calls/s"
    if run.faults:
        return f"INVALID: {at}, {run.faults[0]}."
    tail = select_gated_tail(summary, run)
    verb_phrase = _HELD[run.result].format(deadline=ms(summary.deadline_ms))
    few = not isinstance(tail.percentiles[run.gated], Percentile)
    by = "" if few else f" at {run.gated}"
    reason = run.why if few or _is_missed(tail, run.gated) else tail_words(tail, run.gated)
    text = f"{run.result}: {at}, {COUNTED[summary.basis]} {verb_phrase}{by}: {reason}"
    return f"{text}; {knee_words(summary.knee)}." if summary.knee is not None else f"{text}."


def knee_words(knee: Knee) -> str:
    """The knee with what is known above it."""
    if knee.met_per_s is None:
        return f"no knee: {knee.why}"
    missed = "" if knee.missed_per_s is None else f", not met at {number(knee.missed_per_s)}"
    return f"the knee is at {number(knee.met_per_s)} calls/s{missed}; {knee.why}"


def cost_words(cost: LoadCost, runs: int, mark: str) -> str:
    """What the QPU's time cost, marked as every figure of an emulated QPU is."""
    currency, least = cost.currency, "at least " if cost.untold else ""
    each = "no call had samples in time"
    if cost.money_per_hit is not None:
        each = f"{least}{money(cost.money_per_hit, currency)} a call with samples in time"
    of = "" if runs == 1 else f" of all {count(runs, 'run')}"
    unknown = f"{count(cost.untold, 'submitted call')} {verb(cost.untold, 'reports', 'report')} no seconds"
    unreported = f"; {unknown}" if cost.untold else ""
    return (
        f"{mark}: {number(cost.qpu_s)} QPU seconds{of} at {money(cost.qpu_second, currency)} each: "
        f"{least}{money(cost.money, currency)}, {each}{unreported}"
    )


def sentences(summary: LoadSummary) -> list[str]:
    """What the headline rests on, a figure in each."""
    if not summary.runs:
        return []
    run = summary.runs[summary.quoted]
    texts = [f"{run.result}: {run.why}."]
    texts.append(
        f"{ratio(run.deadline_hit_ratio)} of the calls had an answer within the deadline, "
        f"{ratio(run.quantum_share)} samples of the QPU: a goodput of {number(run.goodput_per_s)} and "
        f"{number(run.quantum_goodput_per_s)} calls/s of {number(run.offered_per_s)} offered."
    )
    if run.causes:
        texts.append(f"Without samples because: {causes_words(run.causes)}.")
    if summary.cost is not None:
        texts.append(f"{cost_words(summary.cost, len(summary.runs), mark_of_load(summary))}.")
    if run.stable is False:
        texts.append("The run had not settled: its last windows lie more than 10 % apart.")
    if run.stable is None:
        texts.append(
            "It is unknown whether the run had settled: its last windows scatter or hold too few calls."
        )
    if summary.knee is None and not summary.official:
        texts.append(f"No official figure: {_valid(summary)} of the five valid runs that a claim needs.")
    if run.emulator_overruns:
        texts.append(
            f"The emulation computed longer than it emulates in {count(run.emulator_overruns, 'call')}."
        )
    return texts


def _valid(summary: LoadSummary) -> int:
    return sum(not run.faults for run in summary.runs)


def over_runs(summary: LoadSummary) -> str:
    """How many runs there are, what they are for, and their interval."""
    runs, interval = len(summary.runs), summary.interval
    if summary.knee is not None:
        sweep = f"A sweep of {count(runs, 'run')}; {knee_words(summary.knee)}"
        return f"{sweep}. An inconclusive run was repeated."
    if interval is None:
        return "One run has no interval over runs; --runs 5 gives one." if runs == 1 else "No interval."
    return (
        f"{count(runs, 'independent run')}, the worst is quoted. "
        f"{summary.runs[summary.quoted].gated} of all: "
        f"{ms(interval.value)} ms, {round_percent(interval.confidence)} interval {ms(interval.low)} to "
        f"{ms(interval.high)} ms by resampling whole runs."
    )


def show_load(summary: LoadSummary, console: Console) -> None:
    """Prints the test: what was loaded, the quoted run, the knee."""
    mark = mark_of_load(summary)
    head = Text(f"shotclock load  {summary.scenario}, {summary.request_label}  ", style="bold")
    head.append(mark if summary.clock == "virtual" else f"{mark}, wall clock")
    if summary.status != "complete":
        head.append(f"  {summary.status.upper()}: partial results", style="bold red")
    _say(console, head)
    _say(console, Text(f"target: {summary.target}; provider: {summary.provider}", style="dim"))
    if not summary.runs:
        _say(console, Text("no run ended", style="bold red"))
        return
    run = summary.runs[summary.quoted]
    if len(summary.runs) > 1:
        kind = "the worst" if summary.knee is None else f"the last at {number(run.rate_per_s)} calls/s"
        claim = "" if summary.official or summary.knee else "; a claim needs five valid ones"
        _say(console, Text(f"{count(len(summary.runs), 'run')}, {kind} is shown{claim}", style="dim"))
    _verdict(summary, run, console)
    _knee(summary, console, mark)
    console.print()
    console.print(_tails(run))
    console.print()
    for line in _shares(run, summary):
        _say(console, Text(line))


def _verdict(summary: LoadSummary, run: LoadRun, console: Console) -> None:
    text = Text(style="bold")
    text.append(f"{SYMBOLS[run.result]} {run.result}  ", style=STYLES[run.result])
    text.append(
        f"{run.gated} within {ms(summary.deadline_ms)} ms, counting {COUNTED[summary.basis]}: {run.why}"
    )
    _say(console, text)
    for fault in run.faults:
        _say(console, Text(f"INVALID: {fault}", style="bold red"))


def _tails(run: LoadRun) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("latency, ms")
    for name in ("calls", "missed", *QUANTILES):
        table.add_column(name, justify="right")
    tails = {"any answer": run.latency, "with samples": run.quantum_latency, "software": run.software}
    tails |= {f"  {kind}": tail for kind, tail in run.by_class.items() if tail.n and kind != "unanswered"}
    for name, tail in (tails | {"issue lag": run.issue_lag}).items():
        table.add_row(
            name, f"{tail.n:,}", f"{tail.missed:,}", *(_cell(tail, quantile) for quantile in QUANTILES)
        )
    return table


def _cell(tail: Tail, name: Quantile) -> str:
    percentile = tail.percentiles[name]
    if not isinstance(percentile, Percentile):
        return "too few"
    return "missed" if percentile.value is None else ms(percentile.value)


def _shares(run: LoadRun, summary: LoadSummary) -> list[str]:
    shares = ", ".join(f"{kind} {percent(share.value)}" for kind, share in run.shares.items() if share.value)
    stable = {True: "settled", False: "NOT SETTLED", None: "unknown"}[run.stable]
    lines = [
        f"offered {number(run.offered_per_s)}/s, asked {number(run.achieved_per_s)}/s, "
        f"goodput {number(run.goodput_per_s)}/s, with samples {number(run.quantum_goodput_per_s)}/s",
        f"within the deadline {ratio(run.deadline_hit_ratio)}, with samples {ratio(run.quantum_share)}",
        f"answered by: {shares or NOTHING}; last windows: {stable}; QPU time {number(run.qpu_s)} s",
    ]
    if summary.cost is not None:
        lines.append(cost_words(summary.cost, len(summary.runs), mark_of_load(summary)))
    if run.causes:
        lines.append(f"without samples because: {causes_words(run.causes)}")
    if run.simulation:
        lines.append(f"samples emulated by {run.simulation}")
    if run.emulator_overruns:
        lines.append(
            f"the emulation computed longer than it emulates in {count(run.emulator_overruns, 'call')}"
        )
    if summary.interval is not None:
        interval = summary.interval
        lines.append(
            f"{run.gated} over {interval.runs} runs: {ms(interval.value)} ms, "
            f"{round_percent(interval.confidence)} interval {ms(interval.low)} to {ms(interval.high)} ms"
        )
    return lines


def _knee(summary: LoadSummary, console: Console, mark: str) -> None:
    if summary.knee is None:
        return
    knee = summary.knee
    met = "none" if knee.met_per_s is None else f"{number(knee.met_per_s)} calls/s"
    missed = "" if knee.missed_per_s is None else f", missed at {number(knee.missed_per_s)}"
    _say(console, Text(f"knee ({mark}): {met}{missed}; {knee.why}", style="bold"))


def _say(console: Console, words: Text) -> None:
    console.print(words, highlight=False)
