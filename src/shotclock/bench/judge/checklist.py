"""The specification's six-point integration checklist, filled in from a run's figures.

A point that a run cannot show is "not measured in this run", never met.
"""

from __future__ import annotations

from collections.abc import Iterable

from shotclock.bench.judge.decision import name_mode
from shotclock.bench.judge.verdict import racing
from shotclock.bench.numbers import limit, number, percent
from shotclock.bench.record.arm_runs import CONTROL, HYBRID, PROTECTED
from shotclock.bench.schema import CIRCUITS, CurvePoint, GateResult, Latency, Ratio, State, Summary
from shotclock.bench.stats.statistics import QUANTILES
from shotclock.domain.plural import count, verb
from shotclock.domain.stages import Stage

SLOS, CANDIDATE, FABRIC = "slos", "workload_candidate", "fabric"
INSTRUMENTS, FALLBACK, CONTINUOUS = "instrumentation", "fallback", "continuous_benchmarking"
TITLES = {
    SLOS: "Latency SLOs defined",
    CANDIDATE: "Workload candidate validated",
    FABRIC: "Fabric choice decided",
    INSTRUMENTS: "Instrumentation plan",
    FALLBACK: "Fallback strategy",
    CONTINUOUS: "Continuous benchmarking",
}
HISTOGRAMS = (Stage.CIRCUIT_SUBMIT_LATENCY, Stage.QPU_EXEC_TIME, Stage.COLLECT)
"""Submit, execution and return."""
ANSWERED_FROM = 0.99
"""Share of calls answered by the deadline that a fallback needs: a p99 within the budget."""

_NEW_THRESHOLD = 'add a [[threshold]] with metric = "{metric}" and its max to the settings'
NO_RUN = "no run is given"
_RUN = "run `shotclock bench`, then `shotclock doctor --run DIR`"


def checklist(summary: Summary) -> tuple[CurvePoint, ...]:
    """The six points in the specification's order."""
    return (
        _slos([*summary.mission_gates, *summary.thresholds]),
        _candidate(summary),
        _fabric(summary),
        _instruments(summary),
        _fallback(summary),
        _continuous([gate.metric for gate in summary.thresholds], emulated=summary.emulated),
    )


def before_a_run(thresholds: Iterable[str], gates: Iterable[str]) -> tuple[CurvePoint, ...]:
    """The points as far as the settings decide them: their thresholds and the mission gates, by metric."""
    own = tuple(thresholds)
    limits, missing = _find_limits([*gates, *own])
    return (
        _limits_point(limits, missing, NO_RUN, ()),
        *(_point(key, State.NOT_MEASURED, NO_RUN, _RUN) for key in (CANDIDATE, FABRIC)),
        *(_point(key, State.NOT_MEASURED, NO_RUN, _RUN) for key in (INSTRUMENTS, FALLBACK)),
        _continuous(list(own), emulated=None),
    )


def _point(key: str, state: State, why: str, fix: str = "", figures: Iterable[str] = ()) -> CurvePoint:
    met = state is State.MET
    return CurvePoint(
        key=key, title=TITLES[key], state=state, said=why, fix="" if met else fix, figures=tuple(figures)
    )


def _find_limits(metrics: Iterable[str]) -> tuple[dict[str, set[str]], list[str]]:
    """The quantiles limited for each hybrid arm's call, and those missing from the arm that has most."""
    limits: dict[str, set[str]] = {}
    for metric in metrics:
        arm, _, figure_name = metric.partition(".")
        figure, _, quantile = figure_name.rpartition(".")
        if arm.startswith(HYBRID) and figure in {"quantum_latency", "added_latency"}:
            limits.setdefault(arm, set()).add(quantile.removesuffix("_ms"))
    most = max(limits.values(), key=len, default=set[str]())
    return limits, [quantile for quantile in QUANTILES if quantile not in most]


def _slos(gates: list[GateResult]) -> CurvePoint:
    limits, missing = _find_limits(gate.metric for gate in gates)
    cited = [gate for gate in gates if gate.metric.partition(".")[0] in limits]
    results = ", ".join(f"{gate.metric} ≤ {limit(gate.limit)}: {gate.result}" for gate in cited)
    return _limits_point(limits, missing, results, [gate.metric for gate in cited])


def _limits_point(
    limits: dict[str, set[str]], missing: list[str], results: str, cited: Iterable[str]
) -> CurvePoint:
    if not limits:
        finding = "no hybrid arm has a limit"
        return _point(SLOS, State.NOT_MEASURED, finding, "name a hybrid arm in bench.arms")
    most = max(limits, key=lambda arm: len(limits[arm]))
    if missing:
        have = "has" if len(missing) == 1 else "have"
        finding = f"{' and '.join(missing)} of a hybrid call {have} no limit ({results})"
        fix = _NEW_THRESHOLD.format(metric=f"{most}.added_latency.{missing[0]}_ms")
        return _point(SLOS, State.NOT_MET, finding, fix, cited)
    return _point(SLOS, State.MET, f"p50, p95 and p99 of a hybrid call have limits ({results})", "", cited)


def _candidate(summary: Summary) -> CurvePoint:
    if summary.kernel == CIRCUITS:
        finding = "the workload calls circuits, which have no classical answer to be compared with"
        return _point(CANDIDATE, State.NOT_MEASURED, finding, "compare its held-out loss with your baseline")
    arms = racing(summary)
    if not arms or CONTROL not in summary.arms:
        missing = CONTROL if arms else "a hybrid arm"
        finding = f"without {missing} nothing says what the samples add"
        return _point(CANDIDATE, State.NOT_MEASURED, finding, f"add {missing} to bench.arms")
    calls = sum(arm.calls for arm in arms.values())
    wins = sum(arm.winners.get("quantum", 0) for arm in arms.values())
    best = max(arms, key=lambda name: _number(arms[name].loss.improvement))
    control = summary.arms[CONTROL].loss.improvement
    finding = (
        f"{summary.kernel}, n = {summary.n}: samples beat the classical answer in {wins:,} of "
        f"{count(calls, 'call')}; {best} gained {_gain(arms[best].loss.improvement)}, "
        f"{CONTROL} {_gain(control)} held-out loss"
    )
    figures = (*(f"{name}.winners" for name in arms), f"{best}.loss", f"{CONTROL}.loss")
    if summary.verdict.worth == "worth it":
        return _point(CANDIDATE, State.MET, finding, "", figures)
    fix = "try another kernel, more variables or more seeds; keep the classical answer until one gains"
    return _point(CANDIDATE, State.NOT_MET, finding, fix, figures)


def _fabric(summary: Summary) -> CurvePoint:
    modes = summary.verdict.modes
    if not modes:
        return _point(FABRIC, State.NOT_MEASURED, "no hybrid arm was gated", "name hybrid arms in bench.arms")
    figures = [gate.metric for gate in summary.mission_gates]
    ways = ", ".join(f"{arm} {name_mode(mode)}" for arm, mode in modes.items())
    if summary.verdict.way == "not settled":
        fix = "measure a remote and a private fabric with 130 calls or more each"
        return _point(
            FABRIC, State.NOT_MEASURED, f"remote against private is inconclusive: {ways}", fix, figures
        )
    return _point(FABRIC, State.MET, f"{summary.verdict.way}: {ways}", "", figures)


def _instruments(summary: Summary) -> CurvePoint:
    arms = [name for name, arm in summary.arms.items() if name.startswith(HYBRID) and arm.calls]
    counted = [(name, stage, _n(summary, f"{name}.{stage}")) for name in arms for stage in HISTOGRAMS]
    figures = [f"{name}.{stage}" for name, stage, n in counted if n]
    if not figures:
        fix = "name a hybrid arm in bench.arms"
        return _point(INSTRUMENTS, State.NOT_MEASURED, "no call went to a QPU", fix)
    silent = [f"{name}.{stage}" for name, stage, n in counted if not n]
    lowest, highest = min(n for *_, n in counted), max(n for *_, n in counted)
    span = f"{lowest:,}" if lowest == highest else f"{lowest:,} to {highest:,}"
    finding = f"submit, execution and return are histograms of {span} {verb(highest, 'call', 'calls')} an arm"
    alerts = len(summary.thresholds)
    missing = [f"{', '.join(silent)} without a call"] if silent else []
    missing += [] if alerts else ["no alert threshold is set"]
    counters, state = _judge_counters(summary, arms)
    finding = f"{finding}, {count(alerts, 'threshold')} {verb(alerts, 'alerts', 'alert')}, {counters}"
    if missing:
        state, finding = State.NOT_MET, f"{finding}; missing: {'; '.join(missing)}"
    fix = "set [[threshold]]s, and run on a host whose accelerator's driver reports its memory"
    return _point(INSTRUMENTS, state, finding, fix, figures)


def _judge_counters(summary: Summary, arms: list[str]) -> tuple[str, State]:
    """Whether hardware counters were read around calls; a host without accelerators has none to read."""
    accelerators = summary.accelerators
    if accelerators is None:  # an older summary
        return "hardware counters (HBM, CXL, RDMA) are not among this run's figures", State.NOT_MET
    if not accelerators.devices:
        return "hardware counters were not measured: no accelerator on this host", State.NOT_MEASURED
    around = accelerators.arms
    without = [name for name in arms if name not in around or around[name].hbm_used_before_bytes is None]
    if without:
        return f"hardware counters without HBM around the calls of {', '.join(without)}", State.NOT_MET
    return "hardware counters were read around calls", State.MET


def _fallback(summary: Summary) -> CurvePoint:
    if summary.kernel == CIRCUITS:
        finding = "circuits have no classical fallback; what a miss returns is the workload's choice"
        fix = "register a fallback with the primitive, and add an arm that misses its budget"
        return _point(FALLBACK, State.NOT_MEASURED, finding, fix)
    fallbacks = {
        arm: _count_fallbacks(summary, arm)
        for arm, facts in summary.arms.items()
        if facts.protected and facts.calls
    }
    name = max(fallbacks, key=lambda arm: fallbacks[arm], default="")
    if not name or not _n(summary, f"{CONTROL}.added_latency"):
        missing = CONTROL if name else f"a {HYBRID}…{PROTECTED} arm"
        finding = f"without {missing} no call shows the fallback"
        return _point(FALLBACK, State.NOT_MEASURED, finding, f"add {missing} to bench.arms")
    fell = fallbacks[name]
    hits, off = (
        _share(summary, f"{name}.deadline_hit_ratio"),
        _share(summary, f"{CONTROL}.deadline_hit_ratio"),
    )
    finding = (
        f"{name} answered {percent(hits)} of its calls by the deadline, {fell:,} of "
        f"{summary.arms[name].calls:,} without the QPU; with the quantum path off ({CONTROL}), "
        f"{percent(off)}"
    )
    figures = (f"{name}.deadline_hit_ratio", f"{CONTROL}.deadline_hit_ratio", *_fallbacks(name))
    if not fell and hits >= ANSWERED_FROM:
        arm = f"{HYBRID}public-cloud{PROTECTED}"
        fix = f'add {arm} to bench.arms, with mode = "inline" in [arm.{arm}]: it misses its budget'
        return _point(FALLBACK, State.NOT_MEASURED, f"{finding}: no call needed its fallback", fix, figures)
    if min(hits, off) < ANSWERED_FROM:
        return _point(
            FALLBACK, State.NOT_MET, finding, "raise quantum.budget_ms, or call less often", figures
        )
    return _point(FALLBACK, State.MET, finding, "", figures)


def _continuous(own: list[str], *, emulated: bool | None) -> CurvePoint:
    """One run cannot show that runs recur, only whether its thresholds can fail a build."""
    hardware = {True: "; no hardware in the loop", False: "; on hardware", None: ""}[emulated]
    if not own:
        finding = f"no threshold is set, so no regression fails a build{hardware}"
        fix = f"{_NEW_THRESHOLD.format(metric=f'{HYBRID}colocated.added_latency.p95_ms')}, and run it in CI"
        return _point(CONTINUOUS, State.NOT_MET, finding, fix)
    fail = f"{count(len(own), 'threshold')} {verb(len(own), 'fails', 'fail')} a build"
    finding = (
        f"{fail} that breaks {verb(len(own), 'it', 'them')}; one run does not show that it recurs{hardware}"
    )
    fix = "run `shotclock bench` in CI, and `shotclock compare` against the run before"
    return _point(CONTINUOUS, State.NOT_MEASURED, finding, fix, own)


def _fallbacks(name: str) -> tuple[str, ...]:
    return tuple(f"{name}.added_latency.{kind}" for kind in ("fallback", "rejected"))


def _count_fallbacks(summary: Summary, name: str) -> int:
    return sum(_n(summary, figure) for figure in _fallbacks(name))


def _number(value: float | None) -> float:
    return float("-inf") if value is None else value


def _gain(value: float | None) -> str:
    return "nothing measured" if value is None else f"{'+' if value > 0 else ''}{number(value)}"


def _n(summary: Summary, metric: str) -> int:
    latency = summary.metrics.get(metric)
    return latency.n if isinstance(latency, Latency) else 0


def _share(summary: Summary, metric: str) -> float:
    ratio = summary.metrics.get(metric)
    return ratio.value or 0.0 if isinstance(ratio, Ratio) else 0.0
