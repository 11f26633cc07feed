"""A job's time on the QPU, computed by the same core as the in-process provider."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from shotclock.domain.circuit import Bound, DeviceCircuit, Pub, Template
from shotclock.domain.ports import Job
from shotclock.emulator.device import DeviceFacts, check_rep_delay
from shotclock.emulator.profile import Profile
from shotclock.emulator.rest.prepared import ItemFacts, Prepared
from shotclock.emulator.timing import mean_by_component, sample_timeline, shots_s


@dataclass(frozen=True, slots=True)
class ExecutionPlan:
    """A job's times and seeds, drawn when it is submitted.

    qpu_s: time that it locks the QPU, seconds
    shooting_s: of that the time that takes shots, seconds
    estimate_s: the mean of qpu_s, seconds
    flip_probabilities: one per item
    seeds: one per item
    """

    qpu_s: float
    shooting_s: float
    estimate_s: float
    flip_probabilities: tuple[float, ...]
    seeds: tuple[int, ...]


def plan(prepared: Prepared, facts: DeviceFacts, profile: Profile, rng: np.random.Generator) -> ExecutionPlan:
    """Draws a job's plan; raises SettingsError on a rep_delay outside the device's range."""
    rep_delay_s = check_rep_delay(facts, prepared.rep_delay_s)
    # Without initialisation qubits are not reset.
    timed = facts if prepared.init_qubits else replace(facts, reset_s=0.0)
    fewest = min(item.shots for item in prepared.items)
    everything = _job(prepared.items, fewest, rep_delay_s)
    # A PUB with more shots than the others continues alone: the formula is linear in shots.
    further_s = sum(
        shots_s(_job((item,), item.shots - fewest, rep_delay_s), timed)
        for item in prepared.items
        if item.shots > fewest
    )
    timeline = sample_timeline(everything, timed, profile, rng)
    parts = {part.name: part.mean_ms * 1e-3 for part in mean_by_component(everything, timed, profile)}
    return ExecutionPlan(
        qpu_s=timeline.qpu_s + further_s,
        shooting_s=shots_s(everything, timed) + further_s,
        estimate_s=parts["subjob_overhead"] + parts["shots"] + further_s,
        flip_probabilities=tuple(
            facts.flip_probability_at_depth(item.two_qubit_depth, rep_delay_s) for item in prepared.items
        ),
        seeds=tuple(int(seed) for seed in rng.integers(0, 2**63, len(prepared.items))),
    )


def _job(items: tuple[ItemFacts, ...], shots: int, rep_delay_s: float) -> Job:
    pubs = tuple(pub for item in items for pub in (_pub(item),) * item.executions)
    return Job(pubs, shots, tag="", rep_delay_s=rep_delay_s)


def _pub(item: ItemFacts) -> Pub:
    template = Template("", "", (), b"", item.duration_s, 0, item.two_qubit_depth)
    return Pub((DeviceCircuit(template, Bound(b"", item.qubits, 0)),))
