"""The arithmetic of a QPU's time: a job's durations, drawn or predicted. Pure; nothing here waits.

QPU time = sub-jobs × overhead + shots × Σ(rep_delay + duration + reset) ÷ efficiency. The sum runs over the
job's PUBs because each shot loops over them; circuits side by side in one PUB take the time of the longest.
The formula is IBM's baseline approximation (Qiskit/documentation#3092); the efficiency is fitted from
CLOPS_h.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np

from shotclock.domain.ports import Job
from shotclock.domain.subproblem import Float64s
from shotclock.emulator.device import DeviceFacts, check_rep_delay
from shotclock.emulator.profile import Profile

PREDICTION_DRAWS = 20_000
PREDICTION_SEED = 20_260_501


@dataclass(frozen=True, slots=True)
class Timeline:
    """The durations of one job's parts on an idle QPU.

    submit_ns: network time of the submit
    queue_ns: wait for the QPU
    execution_ns: on the QPU
    collect_ns: polling and network time of the collect
    qpu_s: charged QPU seconds
    """

    submit_ns: int
    queue_ns: int
    execution_ns: int
    collect_ns: int
    qpu_s: float


@dataclass(frozen=True, slots=True)
class TimePart:
    """The mean of one part of a call, milliseconds."""

    name: str
    mean_ms: float


def shots_s(job: Job, facts: DeviceFacts) -> float:
    """Time of the shots, seconds; raises SettingsError on a rep_delay outside the device's range."""
    rep_delay_s = check_rep_delay(facts, job.rep_delay_s)
    column_s = sum(rep_delay_s + pub.duration_s + facts.reset_s for pub in job.pubs)
    return job.shots * column_s / facts.efficiency


def subjobs(job: Job, facts: DeviceFacts) -> int:
    """Number of sub-jobs: the device takes at most `max_circuits` PUBs in each."""
    return math.ceil(len(job.pubs) / facts.max_circuits)


def sample_timeline(job: Job, facts: DeviceFacts, profile: Profile, rng: np.random.Generator) -> Timeline:
    """Draws a job's random durations once."""
    overhead_s = float(_overhead_s(profile, subjobs(job, facts), rng, 1)[0])
    queue_s = float(profile.queue.draw_s(rng, 1)[0]) if profile.queue else 0.0
    qpu_s = overhead_s + shots_s(job, facts)
    poll_s = rng.uniform(0.0, profile.poll_interval_s)
    return Timeline(
        submit_ns=_ns(profile.submit_s),
        queue_ns=_ns(queue_s),
        execution_ns=_ns(qpu_s),
        collect_ns=_ns(poll_s + profile.collect_s),
        qpu_s=qpu_s,
    )


def mean_by_component(job: Job, facts: DeviceFacts, profile: Profile) -> tuple[TimePart, ...]:
    """The mean of each part from submit to samples; the parts add up to the predicted mean."""
    overhead_s = profile.subjob_overhead.mean_s if profile.subjob_overhead else 0.0
    parts_s = (
        ("network_submit", profile.submit_s),
        ("queue_wait", profile.queue.mean_s if profile.queue else 0.0),
        ("subjob_overhead", subjobs(job, facts) * overhead_s),
        ("shots", shots_s(job, facts)),
        ("poll", 0.5 * profile.poll_interval_s),
        ("network_collect", profile.collect_s),
    )
    return tuple(TimePart(name, seconds * 1e3) for name, seconds in parts_s)


def quantile_s(job: Job, facts: DeviceFacts, profile: Profile, q: float) -> float:
    """The q-quantile of submit to samples, seconds: constant parts plus a simulated quantile of the rest."""
    certain_s = profile.submit_s + shots_s(job, facts) + profile.collect_s
    return certain_s + _random_quantile_s(profile, subjobs(job, facts), q)


@functools.lru_cache(maxsize=256)
def _random_quantile_s(profile: Profile, count: int, q: float) -> float:
    """Quantile of queue + overheads + poll phase by seeded Monte Carlo, seconds."""
    rng = np.random.default_rng(PREDICTION_SEED)
    total = _overhead_s(profile, count, rng, PREDICTION_DRAWS)
    if profile.queue:
        total = total + profile.queue.draw_s(rng, PREDICTION_DRAWS)
    total = total + rng.uniform(0.0, profile.poll_interval_s, PREDICTION_DRAWS)
    return float(np.quantile(total, q))


def _overhead_s(profile: Profile, count: int, rng: np.random.Generator, size: int) -> Float64s:
    if profile.subjob_overhead is None:
        return np.zeros(size)
    draws = profile.subjob_overhead.draw_s(rng, count * size)
    summed: Float64s = draws.reshape(size, count).sum(axis=1)
    return summed


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)
