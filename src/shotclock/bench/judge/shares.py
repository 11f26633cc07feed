"""How an arm's time divides, as shares of the iterations with a call, from the summary alone."""

from __future__ import annotations

from dataclasses import dataclass

from shotclock.bench.record.rows import CALL_STAGES
from shotclock.bench.schema import Latency, Summary
from shotclock.domain.stages import Stage

TRAINING = "training"
HAND_OVER = "hand-over"


@dataclass(frozen=True, slots=True)
class Share:
    """One part's share of the iterations' time, and how much of that was emulated waiting."""

    name: str
    share: float
    emulated: float


def _total_ms(summary: Summary, metric: str) -> float:
    latency = summary.metrics.get(metric)
    if not isinstance(latency, Latency) or latency.mean is None:
        return 0.0
    return latency.mean * (latency.n - latency.missed)


def shares(summary: Summary, arm: str) -> list[Share]:
    """Training, then the stages in order, then the hand-over; empty for an arm without steps.

    An arm without calls has only training. Training is the time not blocked by the call; hand-over is blocked
    time that no stage accounts for. If stages overlap training (mode = overlap), the shares add up to more
    than 1.
    """
    whole = _total_ms(summary, f"{arm}.{Stage.TOTAL_ITERATION_TIME}")
    if whole <= 0:
        return []
    blocked = _total_ms(summary, f"{arm}.added_latency")
    stages = []
    for stage in CALL_STAGES:
        spent = _total_ms(summary, f"{arm}.{stage}") / whole
        waited = _total_ms(summary, f"{arm}.{stage}.emulated_wait") / whole
        stages.append(Share(str(stage), spent, min(waited, spent)))
    unattributed = blocked / whole - sum(stage.share for stage in stages)
    training = Share(TRAINING, max(0.0, 1 - blocked / whole), 0.0)
    return [training, *stages, Share(HAND_OVER, max(0.0, unattributed), 0.0)]
