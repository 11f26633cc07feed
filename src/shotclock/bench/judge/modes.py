"""How an arm's calls met training, from its rows: inline or overlapped, and the changes between them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby, pairwise

from shotclock.bench.numbers import ms
from shotclock.bench.record.rows import CallRow, StepRow
from shotclock.bench.schema import ArmSummary, Meeting, ModeChange
from shotclock.domain.budget import NS_PER_MS
from shotclock.domain.outcome import DOES_NOT_FIT
from shotclock.domain.plural import count

WINDOW = 100
"""Number of past calls that the scheduler's choice uses (`training.mode`)."""

UNFIT = tuple(f"rejected: {limit}" for limit in DOES_NOT_FIT)
"""Prefixes of the causes of calls refused because they could not finish in time."""


def meeting(steps: Sequence[StepRow]) -> Meeting:
    """How calls met training, from one arm's rows over all seeds; each seed chooses independently."""
    steps_with_call = sorted((step for step in steps if step.call), key=lambda step: (step.seed, step.step))
    calls = [step.call for step in steps_with_call if step.call]
    inline = sum(call.inline for call in calls)
    changes = [
        change
        for _, seed in groupby(steps_with_call, lambda step: step.seed)
        for change in _changes(list(seed))
    ]
    return Meeting(inline=inline, overlapped=len(calls) - inline, changes=tuple(changes))


def _changes(steps: Sequence[StepRow]) -> list[ModeChange]:
    """One seed's changes between calls of different modes, with the p95 of the calls before."""
    spans = [list(span) for _, span in groupby(steps, lambda step: bool(step.call and step.call.inline))]
    changes = []
    for before, after in pairwise(spans):
        latencies = [ms for step in before if step.call for ms in _observe_ms(step.call)][-WINDOW:]
        changes.append(
            ModeChange(
                seed=after[0].seed,
                step=after[0].step,
                mode="inline" if after[0].call and after[0].call.inline else "overlap",
                calls=len(latencies),
                p95_ms=_p95(latencies),
            )
        )
    return changes


def _observe_ms(call: CallRow) -> list[float]:
    """What the scheduler learns from a call: its latency, infinite if late or refused as too slow."""
    if call.quantum_latency_ns is not None:
        return [call.quantum_latency_ns / NS_PER_MS]
    unfit = call.cause.startswith(UNFIT)
    is_uninformative = call.cached or call.cause.startswith(("rejected", "provider"))
    return [math.inf] if unfit or not is_uninformative else []


def _p95(latencies: Sequence[float]) -> float | None:
    """The nearest rank, milliseconds; None without calls, or if that call did not answer by its deadline."""
    if not latencies:
        return None
    p95 = sorted(latencies)[math.ceil(0.95 * len(latencies)) - 1]
    return p95 if math.isfinite(p95) else None


def describe_mode(arm: ArmSummary) -> str:
    """For example `auto: inline, overlap from step 120 (19 of the last 20 calls took at most 240 ms)`.

    "" if the rows do not hold the mode.
    """
    met = arm.meeting
    if met is None or not met.inline + met.overlapped:
        return ""
    prefix = "auto: " if arm.mode == "auto" else ""
    if not met.changes:
        beside = "offline" if arm.mode == "offline" else "overlap"
        return f"{prefix}{beside if met.overlapped else 'inline'} throughout"
    first = met.changes[0]
    began = "inline" if first.mode == "overlap" else "overlap"
    text = f"{prefix}{began}, {_steps(arm, met)} {_why(arm, first)}"
    back = len(met.changes) - len({change.seed for change in met.changes})
    return f"{text}, {count(back, 'later change')}" if back else text


def _steps(arm: ArmSummary, met: Meeting) -> str:
    """The first change of each seed that has one."""
    firsts: dict[int, int] = {}
    for change in met.changes:
        firsts.setdefault(change.seed, change.step)
    low, high = min(firsts.values()), max(firsts.values())
    between = f"step {low:,}" if low == high else f"steps {low:,} to {high:,}"
    of = f" in {len(firsts)} of {count(len(arm.seeds), 'seed')}" if len(arm.seeds) > 1 else ""
    return f"{met.changes[0].mode} from {between}{of}"


def _why(arm: ArmSummary, change: ModeChange) -> str:
    """The scheduler's nearest rank as a count, because so few calls have no p95 to print."""
    within = math.ceil(0.95 * change.calls)
    last = f"of the last {count(change.calls, 'call')}"
    if change.p95_ms is not None:
        return f"({within} {last} took at most {ms(change.p95_ms)} ms)"
    late = change.calls - within + 1
    over = f"over {ms(arm.deadline_ms)} ms" if change.mode == "overlap" and arm.deadline_ms else "unanswered"
    return f"(at least {late} {last} {over})"
