"""A load test's tables: tails with their bounds, who answered, validity, windows, runs, settings."""

from __future__ import annotations

from collections.abc import Iterable

from shotclock.bench.load.judge import ACHIEVED_AT_LEAST, LAG_FLOOR_MS, LAG_SHARE
from shotclock.bench.load.records import CLASSES
from shotclock.bench.load.schema import Circuit, LoadRun, LoadSummary, Quantile, Tail, Window
from shotclock.bench.load.stability import COUNT, LAST
from shotclock.bench.numbers import NOTHING, limit_ms, money, ms, number, percent
from shotclock.bench.report.kit.grid import Cell, Grid, Group, plain, row
from shotclock.bench.report.kit.wording import SYMBOLS, ratio
from shotclock.bench.report.load.wording import COUNTED, QUANTILES, mark_of_load, select_gated_tail
from shotclock.bench.schema import Percentile, Ratio

_HEAD = ("ms", "calls", "missed", "mean", *QUANTILES)
MOST_OBSERVABLES = 8
"""That are shown."""
_SETTLED = {True: "settled", False: "not settled", None: "unknown"}


def quantile_cell(tail: Tail, name: Quantile) -> Cell:
    """A percentile and its early-stopping bound, or why it is missing."""
    percentile = tail.percentiles[name]
    if not isinstance(percentile, Percentile):
        return Cell("too few", look="quiet")
    if percentile.value is None:
        return Cell("missed", look="quiet")
    bound = "bound missed" if percentile.upper_bound is None else f"≤ {ms(percentile.upper_bound)}"
    return Cell(ms(percentile.value), bound, "bounded")


def _tail_row(title: str | Cell, tail: Tail) -> tuple[Cell, ...]:
    values = [quantile_cell(tail, name) for name in QUANTILES]
    return row((title, f"{tail.n:,}", f"{tail.missed:,}", ms(tail.mean), *values))


def latencies(run: LoadRun) -> Grid:
    """All calls, then each class of answers apart: mixed they would hide each other."""
    everything = (
        _tail_row(Cell("any answer", "calls without one are missed"), run.latency),
        _tail_row(
            Cell("with samples of the QPU", "all others but cache hits are missed"), run.quantum_latency
        ),
        _tail_row(Cell("software", "what no emulation waited for"), run.software),
    )
    apart = tuple(
        _tail_row(Cell(kind, look="code"), tail) for kind in CLASSES if (tail := run.by_class[kind]).n
    )
    return Grid(
        "Latency from the scheduled instant, ms",
        _HEAD,
        (Group(everything, "All calls"), Group(apart, "By who answered")),
    )


def answers(run: LoadRun) -> Grid:
    """Who answered which share of all calls, every class named, none or not."""
    rows: list[tuple[str | Cell, ...]] = [
        (Cell(kind, look="code"), f"{run.by_class[kind].n:,}", *_share(run.shares[kind])) for kind in CLASSES
    ]
    rows.append(("within the deadline, any answer", NOTHING, *_share(run.deadline_hit_ratio)))
    rows.append(("within the deadline, with samples of the QPU", NOTHING, *_share(run.quantum_share)))
    return plain("Shares of all calls", ("", "calls", "share", "99 % interval"), rows)


def _share(share: Ratio) -> tuple[str, str]:
    value, _, interval = ratio(share).partition(" (")
    return value, interval.rstrip(")") or NOTHING


def throughput(run: LoadRun) -> Grid:
    """Calls a second: offered, asked, ended, and what came of them in time."""
    rows = [
        ("offered", number(run.offered_per_s)),
        ("asked", number(run.achieved_per_s)),
        ("ended", number(run.completed_per_s)),
        ("goodput: any answer within the deadline", number(run.goodput_per_s)),
        ("goodput: samples of the QPU within the deadline", number(run.quantum_goodput_per_s)),
    ]
    return plain("Calls a second", ("", "1/s"), rows)


def causes(run: LoadRun) -> Grid:
    """Why calls brought no samples, the most frequent first."""
    rows = [
        (cause, f"{count:,}", percent(count / run.calls)) for cause, count in list(run.causes.items())[:12]
    ]
    return plain("Without samples because", ("cause", "calls", "share"), rows)


def validity(summary: LoadSummary) -> Grid:
    """Each run against the rules of a valid measurement, with the figures on both sides."""
    rows = []
    for place, run in enumerate(summary.runs):
        lag = run.issue_lag.percentiles["p99"]
        allowed = _lag_allowed_ms(summary, run)
        share_offered = run.achieved_per_s / run.offered_per_s if run.offered_per_s else None
        rows.append(
            (
                Cell(f"{place + 1}", "quoted" if place == summary.quoted else ""),
                Cell("INVALID", look="fail") if run.faults else Cell("VALID", look="pass"),
                Cell("; ".join(run.faults) or "every rule is kept"),
                f"{number(run.rate_per_s)}/s",
                quantile_cell(run.issue_lag, "p99") if isinstance(lag, Percentile) else Cell("too few"),
                f"≤ {ms(allowed)}",
                percent(share_offered),
            )
        )
    head = ("run", "", "because", "rate", "issue lag p99, ms", "allowed, ms", "asked of offered")
    return plain("Validity of the load itself", head, rows, words=3)


def _lag_allowed_ms(summary: LoadSummary, run: LoadRun) -> float:
    """As `judge` has it: 1 ms, or a tenth of the gated percentile; of the deadline, where that is missed."""
    percentile = select_gated_tail(summary, run).percentiles[run.gated]
    is_measured = isinstance(percentile, Percentile) and percentile.value is not None
    gated_ms = percentile.value if is_measured and isinstance(percentile, Percentile) else None
    return max(LAG_FLOOR_MS, LAG_SHARE * (summary.deadline_ms if gated_ms is None else gated_ms))


def rules(summary: LoadSummary) -> str:
    """The rules of `validity` in a sentence."""
    if summary.scenario != "server":
        return (
            "This scenario asks when it is answered, so its load cannot be late: the rules of open load "
            "don't apply, and a stall hides the calls that would have come during it."
        )
    return (
        f"A run is invalid where the load was late itself (p99 of the issue lag over "
        f"{limit_ms(LAG_FLOOR_MS)} and over {percent(LAG_SHARE)} of the gated percentile) or where less than "
        f"{percent(ACHIEVED_AT_LEAST)} of the offered calls were asked."
    )


def windows(run: LoadRun, open_loop: bool) -> Grid:
    """The run in stretches; the last three decide whether it had settled."""
    rows = [
        (
            Cell(f"{window.start_s:,.1f}–{window.end_s:,.1f}", _place(place)),
            f"{window.n:,}",
            f"{window.rate:.3f}" if open_loop else number(window.rate),
            _window_quantile(window),
        )
        for place, window in enumerate(run.windows)
    ]
    rate = "ended per call due" if open_loop else "ended, 1/s"
    caption = f"Windows of the quoted run: {_SETTLED[run.stable]}"
    return plain(caption, ("time, s", "calls", rate, f"{run.gated}, ms"), rows)


def _place(place: int) -> str:
    return "compared" if place >= COUNT - LAST else ""


def _window_quantile(window: Window) -> Cell:
    if window.quantile_ms is None:
        return Cell("too few, or missed", look="quiet")
    low = ms(window.low_ms or 0.0)
    interval = f"from {low}" if window.high_ms is None else f"{low} to {ms(window.high_ms)}"
    return Cell(ms(window.quantile_ms), interval, "bounded")


def runs(summary: LoadSummary) -> Grid:
    """Every run with its gated percentile and how it came out."""
    rows = []
    for place, run in enumerate(summary.runs):
        result = Cell("INVALID", look="fail") if run.faults else _result(run)
        rows.append(
            (
                Cell(f"{place + 1}", "quoted" if place == summary.quoted else ""),
                result,
                run.why,
                f"{number(run.rate_per_s)}/s",
                f"{run.calls:,}",
                quantile_cell(select_gated_tail(summary, run), run.gated),
                number(run.goodput_per_s),
                _SETTLED[run.stable],
            )
        )
    gated = summary.runs[summary.quoted].gated
    head = (
        "run",
        "",
        "why",
        "rate",
        "calls",
        f"{gated} {COUNTED[summary.basis]}, ms",
        "goodput, 1/s",
        "last windows",
    )
    return plain("Runs, in the order they were made", head, rows, words=3)


def _result(run: LoadRun) -> Cell:
    return Cell(f"{SYMBOLS[run.result]} {run.result}", look=run.result.lower())


def settings(summary: LoadSummary) -> list[tuple[str, str]]:
    """What was asked for."""
    run = summary.runs[summary.quoted] if summary.runs else None
    seeds: Iterable[int] = (run.seed for run in summary.runs)
    return [
        ("scenario", str(summary.scenario)),
        ("rate", f"{number(summary.rate_per_s)} calls/s{' to begin with' if summary.knee else ''}"),
        ("duration of a run", f"{number(summary.duration_s)} s"),
        ("runs", f"{len(summary.runs):,}"),
        ("deadline", f"{ms(summary.deadline_ms)} ms"),
        ("counted", COUNTED[summary.basis]),
        *_request_rows(summary),
        ("seeds", ", ".join(str(seed) for seed in seeds) or NOTHING),
        ("target", summary.target),
        ("provider", summary.provider),
        ("clock", summary.clock),
        ("QPU time of the quoted run", NOTHING if run is None else f"{number(run.qpu_s)} s"),
        ("money of all runs", _money(summary)),
        ("samples emulated by", NOTHING if run is None else run.simulation or NOTHING),
        ("emulator overruns", NOTHING if run is None else f"{run.emulator_overruns:,}"),
    ]


def _request_rows(summary: LoadSummary) -> list[tuple[str, str]]:
    circuit = summary.circuit
    if circuit is None:
        return [("variables a subproblem", str(summary.n)), ("subproblems a request", str(summary.batch))]
    values = ", ".join(f"{name} = {value:g}" for name, value in circuit.values.items())
    return [
        ("circuit", f"{circuit.file}, SHA-256 {circuit.sha256[:12]}"),
        ("values of its parameters", values or NOTHING),
        ("shots a call", f"{circuit.shots:,}"),
        *_observable_rows(circuit),
        ("classical bits", str(summary.n)),
    ]


def _observable_rows(circuit: Circuit) -> list[tuple[str, str]]:
    if not circuit.observables:
        return []
    shown = "; ".join(circuit.observables[:MOST_OBSERVABLES])
    more = len(circuit.observables) - MOST_OBSERVABLES
    return [
        ("observables", f"{shown} and {more:,} more" if more > 0 else shown),
        ("measured circuits a call", str(circuit.bases)),
    ]


def _money(summary: LoadSummary) -> str:
    if summary.cost is None:
        return "unknown: no QPU seconds are reported"
    least = "at least " if summary.cost.untold else ""
    return f"{least}{money(summary.cost.money, summary.cost.currency)} ({mark_of_load(summary)})"
