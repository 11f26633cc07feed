"""The verdict in sentences, by the specification's framework; each cites its figures."""

from __future__ import annotations

import math
from collections.abc import Mapping

from shotclock.bench.judge.decision import FabricFigures, PlacementChoice, Worth, choose, fabrics, name_mode
from shotclock.bench.judge.ladder import describe_ladders
from shotclock.bench.judge.modes import describe_mode
from shotclock.bench.judge.positive_control import compare_with_steps
from shotclock.bench.judge.pre_evaluation import describe_pre_evaluations
from shotclock.bench.judge.price import describe_price
from shotclock.bench.judge.serving import describe_serving
from shotclock.bench.judge.surrogate import describe_surrogates
from shotclock.bench.judge.worth_sentences import worth_sentences
from shotclock.bench.numbers import money, ms, number, percent
from shotclock.bench.record.arm_runs import BASELINE, CONTROL, HYBRID, RAW
from shotclock.bench.schema import ArmSummary, Latency, Metric, Percentile, Ratio, Sentence, Summary, Verdict
from shotclock.bench.stats import overrun
from shotclock.bench.stats.statistics import estimate_paired_interval
from shotclock.domain.plural import count, verb
from shotclock.domain.stages import Stage


def verdict(summary: Summary) -> Verdict:
    """Worth it or not; remote, private or staged; inline, overlap or offline; then the reasons for each."""
    fabrics_gated, worth = fabrics(summary), worth_of(summary)
    tags = {arm.arm: arm.tags for arm in summary.sanity}
    choice = choose(fabrics_gated, worth, tags)
    arms = summary.arms
    sentences = [_way(choice)] if fabrics_gated else []
    sentences += [_fabric(fabric, summary) for fabric in fabrics_gated]
    sentences += _quality(summary)
    sentences += describe_ladders(summary)
    sentences += describe_surrogates(summary)
    sentences += [_protection(name, summary) for name, arm in arms.items() if arm.protected]
    sentences += [s for name, arm in arms.items() for s in _describe_phases(name, arm)]
    sentences += describe_pre_evaluations(summary)
    sentences += describe_serving(summary)
    sentences += [s for name, arm in arms.items() for s in _describe_mode(name, arm)]
    sentences += [
        s for name, arm in arms.items() for s in (*_idle(name, arm), *_describe_abandoned(name, arm))
    ]
    sentences += [
        s
        for name, arm in arms.items()
        if arm.calls_quantum
        for s in (*_overruns(name, arm), *_describe_penalised(name, arm), *_describe_skipped(name, arm))
    ]
    sentences += [_loss(names, arms) for names in _alike(summary)]
    sentences += compare_with_steps(summary)
    sentences += worth_sentences(summary)
    invalid = _invalid(arms)
    if invalid:
        worth = "undecided"
    return Verdict(
        headline=invalid or _headline(summary, fabrics_gated, worth, choice),
        sentences=tuple(sentences),
        worth=worth if racing(summary) else "",
        way=choice.way if fabrics_gated else "",
        modes={fabric.arm: fabric.mode for fabric in fabrics_gated},
    )


def _invalid(arms: Mapping[str, ArmSummary]) -> str:
    """The headline if the latencies are not valid for a QPU; "" if they are."""
    overran = overrun.invalid_arms(arms)
    if not overran:
        return ""
    overruns = sum(arm.emulator_overruns for arm in overran.values())
    why = overrun.describe(overruns, sum(arm.calls for arm in overran.values()))
    return f"INVALID latencies of {', '.join(overran)}: {why}."


def racing(summary: Summary) -> dict[str, ArmSummary]:
    """The hybrid arms with calls, in which the QPU's samples race a classical answer."""
    return {
        name: arm
        for name, arm in summary.arms.items()
        if name.startswith(HYBRID) and arm.calls and not arm.phases  # circuits have no classical answer
    }


def worth_of(summary: Summary) -> Worth:
    """Worth it if an arm gained on classical-only, and on classical-control with an interval above 0.

    Not worth it if the samples never won, or if no arm's interval reaches above 0.
    """
    arms = racing(summary)
    if not sum(arm.winners.get("quantum", 0) for arm in arms.values()):
        return "not worth it"
    gains = {name: gain_on_control(summary, name) for name in arms}
    sure = [gain for gain in gains.values() if gain is not None]
    for name, gain in gains.items():
        if gain is not None and gain[0] > 0 and (arms[name].loss.improvement or 0.0) > 0:
            return "worth it"
    return "not worth it" if sure and all(high <= 0 for _, high in sure) else "undecided"


def gain_on_control(summary: Summary, name: str) -> tuple[float, float] | None:
    """95 % interval of classical-control's loss minus the arm's, paired by seed; None with fewer than two."""
    control = summary.arms.get(CONTROL)
    if control is None:
        return None
    mine, theirs = summary.arms[name].loss.per_seed, control.loss.per_seed
    return estimate_paired_interval(
        [theirs[seed] - mine[seed] for seed in sorted(mine.keys() & theirs.keys())]
    )


def _headline(
    summary: Summary, fabrics_gated: tuple[FabricFigures, ...], worth: Worth, choice: PlacementChoice
) -> str:
    arms = racing(summary)
    if not arms:
        return _without_race(summary)
    inline = sum(fabric.mode == "inline" for fabric in fabrics_gated)
    fit = f"{inline} of {count(len(fabrics_gated), 'fabric')} {verb(inline, 'fits', 'fit')} inline"
    way = "Placement inconclusive" if choice.way == "not settled" else choice.way.capitalize()
    way = f"{way}: {fit}." if fabrics_gated else "No fabric was gated."
    returned = sum(_with_samples(summary, name) for name in arms)
    calls = sum(arm.calls for arm in arms.values())
    wins = sum(arm.winners.get("quantum", 0) for arm in arms.values())
    if not returned and not wins:
        return f"Not worth it: no samples came back in time in {count(calls, 'call')}. {way}"
    if not wins:
        came = "" if returned == calls else f", {returned:,} of them with samples in time"
        return f"Not worth it: the QPU never beat the classical answer in {count(calls, 'call')}{came}. {way}"
    beside = f"the QPU beat the classical answer in {wins:,} of {count(calls, 'call')}"
    judged = {
        "worth it": f"{beside}, and the gain on {CONTROL} is sure",
        "not worth it": f"{beside}, and no arm gained on {CONTROL}",
        "undecided": f"{beside}, and the gain on {CONTROL} is not sure",
    }
    return f"{worth.capitalize()}: {judged[worth]}. {way}"


def _without_race(summary: Summary) -> str:
    """The headline if no hybrid arm made a call: the results of the other arms that called a QPU."""
    calling = {name: arm for name, arm in summary.arms.items() if arm.calls_quantum and arm.calls}
    if any(arm.phases for arm in calling.values()):
        parts = [
            f"{_with_samples(summary, name):,} of {arm.calls:,} of {name}" for name, arm in calling.items()
        ]
        return (
            "The workload calls circuits, which have no classical answer, so nothing is said about quantum's "
            f"worth; calls with samples in time: {', '.join(parts)}."
        )
    hybrid = any(name.startswith(HYBRID) for name in summary.arms)
    none = "No hybrid arm made a call" if hybrid else "No hybrid arm ran"
    if not calling:
        return f"{none}, so nothing is said about quantum."
    results = [
        f"{_with_samples(summary, name):,} of {count(arm.calls, 'call')} of {name} brought samples in time"
        for name, arm in calling.items()
    ]
    return f"{none}, so nothing is said about quantum's worth; {', '.join(results)}."


def _with_samples(summary: Summary, name: str) -> int:
    """Calls of an arm whose samples came by their deadline."""
    share = summary.metrics.get(f"{name}.quantum_share")
    if isinstance(share, Ratio) and share.value is not None:
        return round(share.value * share.n)
    return summary.arms[name].outcomes.get("done", 0)


def _way(choice: PlacementChoice) -> Sentence:
    inconclusive = "Placement (remote, private or staged) is inconclusive"
    name = inconclusive if choice.way == "not settled" else choice.way.capitalize()
    return Sentence(text=f"{name}: {choice.why}.", figures=choice.figures)


def _fabric(fabric: FabricFigures, summary: Summary) -> Sentence:
    iteration, plain = (
        summary.metrics.get(f"{name}.{Stage.TOTAL_ITERATION_TIME}") for name in (fabric.arm, BASELINE)
    )
    cost, figures = "", fabric.figures
    carrying, without = _mean_of(iteration), _mean_of(plain)
    trusted = fabric.arm not in overrun.invalid_arms(summary.arms)
    if trusted and summary.arms[fabric.arm].mode == "inline" and carrying and without:
        times = number(carrying / without)
        cost = f"; waited for, an iteration with a call takes {times} times as long as a classical one"
        figures = tuple(dict.fromkeys((*figures, f"{fabric.arm}.{Stage.TOTAL_ITERATION_TIME}.mean_ms")))
    return Sentence(text=f"{fabric.arm}, {name_mode(fabric.mode)}: {fabric.why}{cost}.", figures=figures)


def _describe_mode(name: str, arm: ArmSummary) -> list[Sentence]:
    """The modes that "auto" chose; a fixed mode is not described unless it changed."""
    met = arm.meeting
    if met is None or not (arm.mode == "auto" or met.changes) or not (text := describe_mode(arm)):
        return []
    waited = f"{met.inline:,} of its {count(arm.calls, 'call')} {verb(met.inline, 'was', 'were')} waited for"
    return [Sentence(text=f"{name}, {text}; {waited}.", figures=(f"{name}.meeting",))]


def _idle(name: str, arm: ArmSummary) -> list[Sentence]:
    """The cost of an open session compared with its jobs."""
    idle_s, billed_s = arm.cost.qpu_idle_s, arm.cost.qpu_s
    if idle_s is None or billed_s <= 0:
        return []
    jobs_s = billed_s - idle_s
    advice = (
        "more was paid for waiting than for jobs; job and batch mode bill only the jobs' QPU time"
        if idle_s > jobs_s
        else "its jobs fill most of it"
    )

    text = (
        f"{name} is billed by the session: {number(idle_s)} of {number(billed_s)} QPU s were idle "
        f"({percent(idle_s / billed_s)}, {money(arm.cost.idle_money or 0.0, arm.cost.currency)}); {advice}."
    )
    return [Sentence(text=text, figures=(f"{name}.cost",))]


def _describe_abandoned(name: str, arm: ArmSummary) -> list[Sentence]:
    """Usage paid for without an answer, and usage that is not reported."""
    cost, faults = arm.cost, []
    if cost.abandoned_jobs:
        faults.append(
            f"abandoned {count(cost.abandoned_jobs, 'submitted job')}, which took "
            f"{number(cost.abandoned_qpu_s)} of its {number(cost.qpu_s)} QPU s"
        )
    unreported = [
        count(unknown, what)
        for unknown, what in ((cost.abandoned_untold, "such job"), (cost.sessions_untold, "session"))
        if unknown
    ]
    if unreported:
        faults.append(f"has no usage reported for {' and '.join(unreported)}, so its cost is a lower bound")
    return [Sentence(text=f"{name} {' and '.join(faults)}.", figures=(f"{name}.cost",))] if faults else []


def _quality(summary: Summary) -> list[Sentence]:
    arms = racing(summary)
    calls = sum(arm.calls for arm in arms.values())
    if not calls:
        return []
    wins = sum(arm.winners.get("quantum", 0) for arm in arms.values())
    text = (
        f"The QPU's samples beat the classical answer in {wins:,} of {count(calls, 'call')} "
        f"(ties are credited to classical, which is exact to 20 variables and for few terms)."
    )
    return [Sentence(text=text, figures=tuple(f"{name}.winners" for name in arms))]


def _protection(name: str, summary: Summary) -> Sentence:
    figures = tuple(f"{name}.{figure}" for figure in ("quantum_share", "deadline_hit_ratio", "added_latency"))
    share, hits, latency = (summary.metrics[figure] for figure in figures)
    if not summary.arms[name].calls:
        return Sentence(text=f"{name} made no call.", figures=figures)
    text = (
        f"{name} answered {_percent(hits)} of its {count(summary.arms[name].calls, 'call')} by the deadline, "
        f"{_percent(share)} with samples of the QPU{_p95(latency)}."
    )
    return Sentence(text=text, figures=figures)


def _describe_phases(name: str, arm: ArmSummary) -> list[Sentence]:
    if not arm.phases:
        return []
    parts = [f"{number:,} in {phase} passes" for phase, number in sorted(arm.phases.items(), reverse=True)]
    text = f"{name}: the workload made {' and '.join(parts)} through primitives."
    return [
        Sentence(text=text, figures=(f"{name}.phases", f"{name}.quantum_latency", f"{name}.quantum_share"))
    ]


def _overruns(name: str, arm: ArmSummary) -> list[Sentence]:
    if not arm.emulator_overruns:
        return []
    text = (
        f"{name}: the emulation computed for longer than the time it emulates in "
        f"{arm.emulator_overruns:,} of {count(arm.calls, 'call')}; "
        f"those latencies are this machine's, not a QPU's."
    )
    return [Sentence(text=text, figures=(f"{name}.quantum_latency",))]


def _describe_skipped(name: str, arm: ArmSummary) -> list[Sentence]:
    skipped = sum(arm.skipped_calls.values())
    if not skipped:
        return []
    words = {
        "in_flight": "an earlier call was in flight",
        "no_memory": "memory allowed no more of them in flight",
        "retry_after": "the orchestrator had asked to wait",
    }
    reasons = ", ".join(f"{count:,} because {words[reason]}" for reason, count in arm.skipped_calls.items())
    text = f"{name}: of {arm.calls + skipped:,} due calls {skipped:,} were skipped: {reasons}."
    return [Sentence(text=text, figures=(f"{name}.calls",))]


def _describe_penalised(name: str, arm: ArmSummary) -> list[Sentence]:
    if not arm.penalised_calls:
        return []
    text = (
        f"{name}: {arm.penalised_calls:,} of {count(arm.calls, 'call')} ran at a rep_delay below the "
        f"device's default "
        f"to fit their budget; what that costs in fidelity is an assumption of the device's noise."
    )
    return [Sentence(text=text, figures=(f"{name}.quantum_latency",))]


def _alike(summary: Summary) -> list[list[str]]:
    """Arms with a QPU, those of one loss and one price together: where no sample won, they trained alike."""
    groups: dict[str, list[str]] = {}
    for name, arm in summary.arms.items():
        has_calls = (name.startswith(HYBRID) or name == RAW) and arm.calls
        if has_calls and arm.loss.improvement is not None:
            groups.setdefault(f"{arm.loss} {describe_price(name, arm)}", []).append(name)
    return list(groups.values())


def _loss(names: list[str], arms: Mapping[str, ArmSummary]) -> Sentence:
    first = arms[names[0]]
    gained = first.loss.improvement or 0.0
    if not math.isfinite(gained):
        text = f"{', '.join(names)}: no finite held-out loss to compare with {BASELINE}'s; training diverged."
        return Sentence(text=text, figures=tuple(f"{name}.loss" for name in names))
    interval_words = "one seed, no interval"
    if first.loss.interval is not None:
        low, high = first.loss.interval
        sure = "which excludes 0" if low > 0 or high < 0 else "which includes 0"
        seeds = count(len(first.loss.per_seed), "seed")
        interval_words = (
            f"95 % interval of the gain {_with_sign(low)} to {_with_sign(high)} over {seeds}, {sure}"
        )
    control = ""
    figures = tuple(f"{name}.loss" for name in names)
    if CONTROL in arms and (gain := arms[CONTROL].loss.improvement) is not None:
        control = f"; without a QPU, {CONTROL} {'gained' if gain >= 0 else 'lost'} {number(abs(gain))}"
        figures = (*figures, f"{CONTROL}.loss")
    text = (
        f"{', '.join(names)} {verb(len(names), 'ends', 'end')} with a held-out loss {_against(gained)} "
        f"({interval_words}){control}; {describe_price(names[0], first)}."
    )
    return Sentence(text=text, figures=(*figures, *(f"{name}.cost" for name in names)))


def _against(gained: float) -> str:
    if gained == 0:
        return f"equal to {BASELINE}'s"
    return f"{number(abs(gained))} {'below' if gained > 0 else 'above'} {BASELINE}'s"


def _with_sign(value: float) -> str:
    return f"{'+' if value > 0 else ''}{number(value)}"


def _mean_of(metric: Metric | None) -> float | None:
    return metric.mean if isinstance(metric, Latency) else None


def _percent(metric: Metric) -> str:
    value = metric.value if isinstance(metric, Ratio) else None
    return percent(value)


def _p95(metric: Metric) -> str:
    p95 = metric.percentiles["p95"] if isinstance(metric, Latency) else None
    if isinstance(p95, Percentile) and p95.value is not None:
        return f", added latency p95 {ms(p95.value)} ms"
    return ""
