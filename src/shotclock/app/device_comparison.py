"""The same call on each device and fabric, by rep_delay and shots: the time model's prediction, EMULATED."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from shotclock.bench.numbers import limit_ms
from shotclock.circuits.templates import compile_template
from shotclock.domain.circuit import Pub, QaoaCircuit, QaoaParameters
from shotclock.domain.ports import Job
from shotclock.emulator import device, timing
from shotclock.emulator.device import DeviceFacts
from shotclock.emulator.profile import Profile

REFERENCE_MEAN_MS = (20.0, 50.0)
"""The specification's reference range of the latency that a co-located call adds, mean."""
REP_DELAYS_S = (100e-6, 20e-6)
"""Compared where a device allows them, between its default and its shortest."""
CLOPS_LAYERS = 100
"""Layers of the circuit behind CLOPS_h; see `emulator.snapshot`."""
SHOTS = (64, 256, 1024, 4096)


@dataclass(frozen=True, slots=True)
class Prediction:
    """One call of `n` variables on a device over a fabric.

    device, profile: names
    rep_delay_us: microseconds
    flip_probability: the noise surrogate's λ, which grows where rep_delay is short (assumed)
    mean_ms: submit to samples, milliseconds, for each number of shots
    most_shots: the most that keep the mean within the reference range's upper end; 0 if none does
    most_shots_constant: the same if what CLOPS_h leaves unexplained is a constant time a shot, not a factor
    """

    device: str
    profile: str
    rep_delay_us: float
    flip_probability: float
    mean_ms: dict[int, float]
    most_shots: int
    most_shots_constant: int


def compare(
    devices: Sequence[str], profiles: Sequence[Profile], n: int, shots: Sequence[int] = SHOTS
) -> list[Prediction]:
    """Predictions for each profile, device and rep_delay, in this order. Imports and runs Qiskit.

    Raises SettingsError on an unknown device, SubproblemError where a device has fewer than n qubits.
    """
    calls = [(device.describe(name), _build_circuit(name, n)) for name in devices]
    return [
        _predict(facts, circuit, profile, rep_delay_s, shots)
        for profile in profiles
        for facts, circuit in calls
        for rep_delay_s in list_rep_delays_s(facts)
    ]


def list_rep_delays_s(facts: DeviceFacts) -> list[float]:
    """The device's default, the compared ones that it allows, and its shortest; in descending order."""
    allowed = {each for each in REP_DELAYS_S if facts.rep_delay_low_s <= each < facts.rep_delay_default_s}
    return sorted({facts.rep_delay_default_s, facts.rep_delay_low_s, *allowed}, reverse=True)


def conclude(predictions: Sequence[Prediction]) -> list[str]:
    """For each profile a sentence: whether the reference range is met, and by what."""
    sentences = []
    range_text = f"a mean of at most {limit_ms(REFERENCE_MEAN_MS[1])}"
    for profile in dict.fromkeys(each.profile for each in predictions):
        rows = [each for each in predictions if each.profile == profile]
        met = [each for each in rows if each.most_shots > 0]
        least_ms = min(min(each.mean_ms.values()) for each in rows)
        fewest = min(shots for each in rows for shots in each.mean_ms)
        if not met:
            sentences.append(
                f"{profile}: {range_text} is met by no device at any rep_delay or number of shots; "
                f"{fewest} shots take {least_ms:,.0f} ms at best"
            )
            continue
        names = dict.fromkeys(each.device for each in met)
        parts = [_write_span([each for each in met if each.device == name]) for name in names]
        sentences.append(f"{profile}: {range_text} is met by {'; '.join(parts)}")
    return sentences


def write_markdown(predictions: Sequence[Prediction]) -> str:
    """The predictions as a table of Markdown."""
    shots = list(predictions[0].mean_ms)
    headings = ["fabric", "device", "rep_delay", "λ", *(f"{each:,} shots" for each in shots)]
    headings += ["most shots", "if constant"]
    lines = [f"| {' | '.join(headings)} |", f"|{'---|' * len(headings)}"]
    lines += [f"| {' | '.join(write_row(each))} |" for each in predictions]
    return "\n".join(lines) + "\n"


def write_row(row: Prediction) -> list[str]:
    """The cells of a prediction: means in milliseconds, in bold up to the end of the reference range."""
    means = [
        f"**{mean_ms:,.1f}**" if mean_ms <= REFERENCE_MEAN_MS[1] else f"{mean_ms:,.1f}"
        for mean_ms in row.mean_ms.values()
    ]
    most = [f"{each:,}" if each else "none" for each in (row.most_shots, row.most_shots_constant)]
    delay, flips = f"{row.rep_delay_us:g} µs", f"{row.flip_probability:.3f}"
    return [row.profile, row.device, delay, flips, *means, *most]


def _write_span(rows: Sequence[Prediction]) -> str:
    """A device with the rep_delays at which it meets the range, the longest first."""
    ends = [rows[0], rows[-1]] if len(rows) > 1 else rows
    shots = ", ".join(f"{_write_most(each)} shots at {each.rep_delay_us:g} us" for each in ends)
    return f"{rows[0].device} ({shots})"


def _write_most(row: Prediction) -> str:
    """The most shots by the factor, or from the lower to the higher of both assumptions."""
    low, high = sorted((row.most_shots, row.most_shots_constant))
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _build_circuit(name: str, n: int) -> QaoaCircuit:
    return QaoaCircuit(compile_template(n, name, device.target), QaoaParameters.idle(n))


def _predict(
    facts: DeviceFacts, circuit: QaoaCircuit, profile: Profile, rep_delay_s: float, shots: Sequence[int]
) -> Prediction:
    def job(count: int) -> Job:
        return Job((Pub((circuit,)),), count, "compare", rep_delay_s)

    def mean_ms(count: int) -> float:
        return sum(part.mean_ms for part in timing.mean_by_component(job(count), facts, profile))

    shot_ms = timing.shots_s(job(1), facts) * 1e3
    left_ms = REFERENCE_MEAN_MS[1] - (mean_ms(1) - shot_ms)
    unexplained_ms = (1.0 - facts.efficiency) * CLOPS_LAYERS / facts.clops_h * 1e3

    def fit(time_ms: float) -> int:
        return min(facts.max_shots, max(0, math.floor(left_ms / time_ms)))

    return Prediction(
        facts.name,
        profile.name,
        rep_delay_s * 1e6,
        facts.flip_probability(circuit.parameters.n, rep_delay_s),
        {count: mean_ms(count) for count in shots},
        fit(shot_ms),
        fit(shot_ms * facts.efficiency + unexplained_ms),
    )
