"""Emulated devices: plain figures for the event loop, a Qiskit target for the worker process.

This module imports no Qiskit. `target` and `describe` do when called, so call them in the worker
(both are module-level functions and pickle).
"""

from __future__ import annotations

import difflib
import functools
import tomllib
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from shotclock.domain.errors import SettingsError
from shotclock.emulator.figures import Figure, Named, Sourced, figures_of

if TYPE_CHECKING:
    from qiskit.transpiler import Target

    from shotclock.emulator.snapshot import Snapshot


class Noise(Sourced):
    """Coefficients of the noise surrogate; see `DeviceFacts.flip_probability`.

    base: λ without gates
    per_gate_layer: λ per layer of two-qubit gates
    exposure: share of gate errors that reach the measured bits
    short_rep_delay: λ added at rep_delay 0
    """

    base: Figure
    per_gate_layer: Figure
    exposure: Figure
    short_rep_delay: Figure


class DeviceFile(Sourced):
    """A device as its data file describes it.

    schema_number: the file's format
    name: the device's name in settings
    title: for people
    fake_backend: class of the snapshot in qiskit-ibm-runtime's fake provider
    reset: duration of a reset
    lanes: jobs the service accepts at once
    noise: coefficients of the noise surrogate
    """

    schema_number: Literal[1] = Field(alias="schema")
    name: str
    title: str
    fake_backend: str
    reset: Figure
    lanes: Figure
    noise: Noise


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """An emulated device in plain numbers: seconds, counts, probabilities.

    name: the device's name in settings
    n_qubits: number of qubits
    max_shots: per job
    max_circuits: per sub-job
    rep_delay_default_s, rep_delay_low_s, rep_delay_high_s: default and range, seconds
    reset_s: duration of a reset, seconds
    clops_h: layers of two-qubit gates per second, as IBM publishes it
    efficiency: modelled shot time ÷ the time CLOPS_h implies; applied to usage and latency alike
    calibration_id: the snapshot and when it was taken
    snapshot_date: YYYY-MM-DD
    lanes: jobs the service accepts at once
    noise_base, noise_per_gate_layer, noise_exposure, noise_short_rep_delay: see `Noise`
    components: every number with its source
    """

    name: str
    n_qubits: int
    max_shots: int
    max_circuits: int
    rep_delay_default_s: float
    rep_delay_low_s: float
    rep_delay_high_s: float
    reset_s: float
    clops_h: float
    efficiency: float
    calibration_id: str
    snapshot_date: str
    lanes: int
    noise_base: float
    noise_per_gate_layer: float
    noise_exposure: float
    noise_short_rep_delay: float
    components: tuple[Named, ...]

    def flip_probability(self, n: int, rep_delay_s: float, layers: int = 1) -> float:
        """λ of a swap network: the probability that a measured bit is replaced by a random one.

        λ = base + per_gate_layer · 3(n−1)p · exposure, plus an assumed penalty in proportion to how far
        rep_delay is below the default (design.md, rule 8).
        """
        return self.flip_probability_at_depth(3 * (n - 1) * layers, rep_delay_s)

    def flip_probability_at_depth(self, two_qubit_depth: int, rep_delay_s: float) -> float:
        """λ of any circuit by its depth in two-qubit gates; fitted on swap networks only."""
        gates = self.noise_per_gate_layer * two_qubit_depth * self.noise_exposure
        shortfall = max(0.0, 1.0 - rep_delay_s / self.rep_delay_default_s)
        return min(1.0, self.noise_base + gates + self.noise_short_rep_delay * shortfall)


def check_rep_delay(facts: DeviceFacts, rep_delay_s: float | None) -> float:
    """The delay to use, seconds; None means the device's default. Raises SettingsError outside its range."""
    if rep_delay_s is None:
        return facts.rep_delay_default_s
    # The range is given in microseconds; allow for rounding of its ends.
    if not facts.rep_delay_low_s - 1e-12 <= rep_delay_s <= facts.rep_delay_high_s + 1e-12:
        raise SettingsError(
            f"rep_delay {rep_delay_s * 1e6:g} us is outside {facts.name}'s range "
            f"{facts.rep_delay_low_s * 1e6:g} to {facts.rep_delay_high_s * 1e6:g} us"
        )
    return rep_delay_s


def list_devices() -> tuple[str, ...]:
    """The names of the shipped devices."""
    folder = resources.files("shotclock.emulator") / "devices"
    return tuple(sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".toml")))


def target(name: str) -> Target:
    """The device's Qiskit target, with this snapshot's durations and errors. Imports Qiskit."""
    return _snapshot(_file(name).fake_backend).target


def documents(name: str) -> tuple[str, str]:
    """The snapshot's configuration and properties as IBM served them, JSON texts. Imports Qiskit."""
    from shotclock.emulator import snapshot  # noqa: PLC0415

    return snapshot.documents(_file(name).fake_backend)


def describe(name: str) -> DeviceFacts:
    """The device's figures. Imports Qiskit; the result is plain and pickles."""
    file = _file(name)
    snapshot = _snapshot(file.fake_backend)
    efficiency = snapshot.efficiency(file.reset.seconds)
    return DeviceFacts(
        name=name,
        n_qubits=snapshot.target.num_qubits or 0,
        max_shots=snapshot.max_shots,
        max_circuits=snapshot.max_circuits,
        rep_delay_default_s=snapshot.rep_delay_default_s,
        rep_delay_low_s=snapshot.rep_delay_low_s,
        rep_delay_high_s=snapshot.rep_delay_high_s,
        reset_s=file.reset.seconds,
        clops_h=snapshot.clops_h,
        efficiency=efficiency,
        calibration_id=f"{file.fake_backend}@{snapshot.taken_at}",
        snapshot_date=snapshot.taken_at[:10],
        lanes=int(file.lanes.value),
        noise_base=file.noise.base.value,
        noise_per_gate_layer=file.noise.per_gate_layer.value,
        noise_exposure=file.noise.exposure.value,
        noise_short_rep_delay=file.noise.short_rep_delay.value,
        components=(*_derive_figures(file, snapshot, efficiency), *figures_of(file, "device.")),
    )


def _derive_figures(file: DeviceFile, snapshot: Snapshot, efficiency: float) -> tuple[Named, ...]:
    where = f"{file.fake_backend} snapshot of {snapshot.taken_at[:10]} in qiskit-ibm-runtime"
    rep_delay_us = snapshot.rep_delay_default_s * 1e6
    formula = (
        f"modelled 100-layer shot ({snapshot.model_shot_s(file.reset.seconds) * 1e6:.0f} us: rep_delay + "
        f"100 x (CZ + 2 SX) + read-out + reset) / (100 / CLOPS_h of {snapshot.clops_h:.0f}); {where}"
    )
    return (
        Named("device.rep_delay", Figure(value=rep_delay_us, unit="us", tag="published", source=where)),
        Named("device.efficiency", Figure(value=efficiency, unit="1", tag="published", source=formula)),
    )


@functools.lru_cache(maxsize=8)
def _file(name: str) -> DeviceFile:
    if name not in list_devices():
        near = difflib.get_close_matches(name, list_devices(), n=1, cutoff=0.0)[0]
        raise SettingsError(f"no device {name!r}; did you mean {near!r}? known: {', '.join(list_devices())}")
    text = (resources.files("shotclock.emulator") / "devices" / f"{name}.toml").read_text("utf-8")
    return DeviceFile.model_validate(tomllib.loads(text))


def _snapshot(fake_backend: str) -> Snapshot:
    # Imported here: the process that schedules calls must not spend 2 s on importing Qiskit.
    from shotclock.emulator import snapshot  # noqa: PLC0415

    return snapshot.read(fake_backend)
