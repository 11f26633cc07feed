"""How right the pre-evaluation of submits was and what it saved, counted and in words."""

from __future__ import annotations

from collections.abc import Sequence

from shotclock.bench.analysis import Estimate, PreEvaluated
from shotclock.bench.numbers import money, number, percent, percent_range
from shotclock.bench.record.rows import CallRow
from shotclock.bench.schema import ArmSummary, Sentence, Summary
from shotclock.bench.stats.distributions import exact_interval
from shotclock.bench.stats.statistics import CONFIDENCE
from shotclock.domain.outcome import SubmitDecision
from shotclock.domain.plural import count

UNKNOWN = Estimate(n=0, value=None, lower_bound=None, upper_bound=None)


def find_pre_evaluated(calls: Sequence[CallRow]) -> PreEvaluated | None:
    """Counts and estimates over an arm's calls; None where no call was pre-evaluated."""
    decided = [call for call in calls if call.submit_decision]
    if not decided:
        return None
    by = {each: [call for call in decided if call.submit_decision == each] for each in SubmitDecision}
    submitted, calibrated = by[SubmitDecision.SUBMIT], by[SubmitDecision.CALIBRATE]
    vetoed = by[SubmitDecision.VETO]
    ran = [call.qpu_s for call in (*submitted, *calibrated) if call.qpu_s > 0]
    return PreEvaluated(
        submitted=len(submitted),
        vetoed=len(vetoed),
        calibrated=len(calibrated),
        precision=_share(submitted, CONFIDENCE),
        missed=_share(calibrated, CONFIDENCE),
        recall=_recall(submitted, calibrated, len(vetoed) + len(calibrated)),
        saved_qpu_s=len(vetoed) * sum(ran) / len(ran) if ran else None,
    )


def _share(calls: Sequence[CallRow], confidence: float) -> Estimate:
    """Of the calls with samples, how many beat the incumbent, with its Clopper–Pearson interval."""
    known = [call.beats_incumbent for call in calls if call.beats_incumbent is not None]
    if not known:
        return UNKNOWN
    low, high = exact_interval(sum(known), len(known), confidence)
    return Estimate(n=len(known), value=sum(known) / len(known), lower_bound=low, upper_bound=high)


def _recall(submitted: Sequence[CallRow], calibrated: Sequence[CallRow], refused: int) -> Estimate:
    """Of the calls that would beat the incumbent, the submitted ones: s·p ÷ (s·p + r·q).

    With s submitted and r refused calls, p and q the shares of each that beat it. The ends take both
    shares' 99.5 % intervals at their worst, so that both hold together at 99 %.
    """
    both = 1 - (1 - CONFIDENCE) / 2
    p, q = _share(submitted, both), _share(calibrated, both)
    if not refused:
        q = Estimate(n=0, value=0.0, lower_bound=0.0, upper_bound=0.0)
    if not submitted:
        p = Estimate(n=0, value=0.0, lower_bound=0.0, upper_bound=0.0)

    def of(gaining: float | None, missing: float | None) -> float | None:
        if gaining is None or missing is None:
            return None
        gained, missed = len(submitted) * gaining, refused * missing
        return gained / (gained + missed) if gained + missed > 0 else None

    return Estimate(
        n=p.n + q.n,
        value=of(p.value, q.value),
        lower_bound=of(p.lower_bound, q.upper_bound),
        upper_bound=of(p.upper_bound, q.lower_bound),
    )


def describe_pre_evaluations(summary: Summary) -> list[Sentence]:
    """A sentence for each arm with pre-evaluated calls."""
    return [
        Sentence(text=_describe(name, arm, arm.pre_evaluated), figures=(f"{name}.pre_evaluated",))
        for name, arm in summary.arms.items()
        if arm.pre_evaluated is not None
    ]


def _describe(name: str, arm: ArmSummary, evaluation: PreEvaluated) -> str:
    saved = "; what that saved is unknown, as no such call ran"
    if evaluation.saved_qpu_s is not None:
        saved = f", which saved about {number(evaluation.saved_qpu_s)} QPU s"
        if arm.cost.prices is not None:
            saved += f" ({money(evaluation.saved_qpu_s * arm.cost.prices.qpu_second, arm.cost.currency)})"
    calls = count(evaluation.calls, "call")
    return (
        f"{name}: a local pre-evaluation vetoed {evaluation.vetoed:,} of {calls}{saved}; of "
        f"{evaluation.submitted:,} expected to beat greedy and no change, "
        f"{word_estimate(evaluation.precision)} did (precision); {_word_recall(evaluation)}."
    )


def _word_recall(evaluation: PreEvaluated) -> str:
    if not evaluation.missed.n and evaluation.vetoed:
        return "its recall is unknown, as no vetoed call was submitted for calibration with samples"
    if evaluation.recall.value is None:
        return "its recall is unknown, as no call is known to beat them"
    return (
        f"by {count(evaluation.missed.n, 'vetoed call')} submitted for calibration, it finds "
        f"{word_estimate(evaluation.recall)} of those that would (recall)"
    )


def word_estimate(estimate: Estimate) -> str:
    """85.2 % (60.1–97.3 %)."""
    if estimate.value is None:
        return "an unknown share"
    if estimate.lower_bound is None or estimate.upper_bound is None:
        return percent(estimate.value)
    return f"{percent(estimate.value)} ({percent_range(estimate.lower_bound, estimate.upper_bound)})"
