"""How an arm's calls met training, from its rows: waited for inline or overlapped, and what changed it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby, pairwise

from shotclock.bench.numbers import ms
from shotclock.bench.record.rows import Call, Step
from shotclock.bench.schema import ArmSummary, Meeting, ModeChange
from shotclock.domain.budget import NS_PER_MS
from shotclock.domain.outcome import DOES_NOT_FIT
from shotclock.domain.plural import count

WINDOW = 100
"""Calls that the scheduler's choice looks back on (`training.mode`)."""

UNFIT = tuple(f"rejected: {limit}" for limit in DOES_NOT_FIT)
"""How the causes begin of calls that were refused because they could not be in time."""


def meeting(steps: Sequence[Step]) -> Meeting:
    """From one arm's rows, all seeds; each seed chooses anew."""
    called = sorted((step for step in steps if step.call), key=lambda step: (step.seed, step.step))
    calls = [step.call for step in called if step.call]
    inline = sum(call.inline for call in calls)
    changes = [one for _, seed in groupby(called, lambda step: step.seed) for one in _changes(list(seed))]
    return Meeting(inline=inline, overlapped=len(calls) - inline, changes=tuple(changes))


def _changes(steps: Sequence[Step]) -> list[ModeChange]:
    """Of one seed: between two calls that were not met alike, with the p95 of the calls before."""
    alike = [list(found) for _, found in groupby(steps, lambda step: bool(step.call and step.call.inline))]
    found = []
    for before, after in pairwise(alike):
        latencies = [ms for step in before if step.call for ms in _observe_ms(step.call)][-WINDOW:]
        found.append(
            ModeChange(
                seed=after[0].seed,
                step=after[0].step,
                mode="inline" if after[0].call and after[0].call.inline else "overlap",
                calls=len(latencies),
                p95_ms=_p95(latencies),
            )
        )
    return found


def _observe_ms(call: Call) -> list[float]:
    """What the scheduler learns of a call: its latency; infinite past its deadline, or foreseen to be."""
    if call.quantum_latency_ns is not None:
        return [call.quantum_latency_ns / NS_PER_MS]
    unfit = call.cause.startswith(UNFIT)
    told_nothing = call.cached or call.cause.startswith(("rejected", "provider"))
    return [math.inf] if unfit or not told_nothing else []


def _p95(latencies: Sequence[float]) -> float | None:
    """Nearest rank, milliseconds; None where that call brought nothing by its deadline, or there is none."""
    if not latencies:
        return None
    found = sorted(latencies)[math.ceil(0.95 * len(latencies)) - 1]
    return found if math.isfinite(found) else None


def describe_mode(arm: ArmSummary) -> str:
    """`auto: inline, overlap from step 120 (19 of the last 20 calls took at most 240 ms)`; "" where rows did

    not say.
    """
    met = arm.meeting
    if met is None or not met.inline + met.overlapped:
        return ""
    named = "auto: " if arm.mode == "auto" else ""
    if not met.changes:
        beside = "offline" if arm.mode == "offline" else "overlap"
        return f"{named}{beside if met.overlapped else 'inline'} throughout"
    first = met.changes[0]
    began = "inline" if first.mode == "overlap" else "overlap"
    text = f"{named}{began}, {_steps(arm, met)} {_why(arm, first)}"
    back = len(met.changes) - len({one.seed for one in met.changes})
    return f"{text}, {count(back, 'later change')}" if back else text


def _steps(arm: ArmSummary, met: Meeting) -> str:
    """The first change of each seed that has one."""
    firsts: dict[int, int] = {}
    for one in met.changes:
        firsts.setdefault(one.seed, one.step)
    low, high = min(firsts.values()), max(firsts.values())
    between = f"step {low:,}" if low == high else f"steps {low:,} to {high:,}"
    of = f" in {len(firsts)} of {count(len(arm.seeds), 'seed')}" if len(arm.seeds) > 1 else ""
    return f"{met.changes[0].mode} from {between}{of}"


def _why(arm: ArmSummary, change: ModeChange) -> str:
    """The nearest rank that the scheduler goes by, as a count: so few calls have no p95 to print."""
    within = math.ceil(0.95 * change.calls)
    last = f"of the last {count(change.calls, 'call')}"
    if change.p95_ms is not None:
        return f"({within} {last} took at most {ms(change.p95_ms)} ms)"
    late = change.calls - within + 1
    over = f"over {ms(arm.deadline_ms)} ms" if change.mode == "overlap" and arm.deadline_ms else "unanswered"
    return f"(at least {late} {last} {over})"
