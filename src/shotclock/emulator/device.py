"""Emulated devices: plain figures for the event loop, a Qiskit target for the worker process.

A device is named in one of three ways: a shipped file (`heron-torino`), a snapshot of IBM's fake provider
(`fake:FakeBoston`), or the path of a site's own file.

This module imports no Qiskit. `target` and `describe` do when called, so call them in the worker
(both are module-level functions and pickle).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from shotclock.domain.errors import SettingsError
from shotclock.emulator import device_file
from shotclock.emulator.device_file import FAKE, DeviceFile, list_devices
from shotclock.emulator.figures import Named, TaggedNumber, figures_of

if TYPE_CHECKING:
    from qiskit.transpiler import Target

    from shotclock.emulator.snapshot import Snapshot

__all__ = [
    "DeviceFacts",
    "assume_file",
    "check_rep_delay",
    "describe",
    "documents",
    "list_devices",
    "target",
]


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
        rep_delay is below the default.
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


def target(name: str) -> Target:
    """The device's Qiskit target, with this snapshot's durations and errors. Imports Qiskit."""
    return _snapshot(name).target


def documents(name: str) -> tuple[str, str]:
    """The snapshot's configuration and properties as IBM served them, JSON texts. Imports Qiskit."""
    from shotclock.emulator import snapshot  # noqa: PLC0415

    return snapshot.documents(device_file.find_source(name))


def describe(name: str) -> DeviceFacts:
    """The device's figures. Imports Qiskit; the result is plain and pickles."""
    snapshot = _snapshot(name)
    file = device_file.load(name) or assume_file(name, snapshot)
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
        calibration_id=f"{file.fake_backend or file.name}@{snapshot.taken_at}",
        snapshot_date=snapshot.taken_at[:10],
        lanes=int(file.lanes.value),
        noise_base=file.noise.base.value,
        noise_per_gate_layer=file.noise.per_gate_layer.value,
        noise_exposure=file.noise.exposure.value,
        noise_short_rep_delay=file.noise.short_rep_delay.value,
        components=(*_derive_figures(file, snapshot, efficiency), *figures_of(file, "device.")),
    )


def assume_file(name: str, snapshot: Snapshot) -> DeviceFile:
    """The file of a device without one: what the snapshot says, and the defaults of its family.

    name: `fake:CLASS`, or a back end's name
    """
    common = device_file.load_defaults()
    reset = common.of_family(snapshot.family).reset
    if snapshot.reset_s is not None:
        source = f"median duration of the reset instruction; {snapshot.where}"
        reset = TaggedNumber(
            value=round(snapshot.reset_s * 1e6, 6), unit="us", tag="published", source=source
        )
    return DeviceFile(
        schema=1,
        name=name,
        title=f"{name}, {snapshot.target.num_qubits} qubits, {snapshot.where}",
        fake_backend=name.removeprefix(FAKE) if name.startswith(FAKE) else "",
        documents="" if name.startswith(FAKE) else f"{name}.json",
        reset=reset,
        lanes=common.lanes,
        noise=common.noise,
    )


def _derive_figures(file: DeviceFile, snapshot: Snapshot, efficiency: float) -> tuple[Named, ...]:
    where = snapshot.where
    rep_delay = TaggedNumber(
        value=snapshot.rep_delay_default_s * 1e6, unit="us", tag="published", source=where
    )
    if "rep_delay_default_s" in snapshot.assumed:
        rep_delay = device_file.load_defaults().of_family(snapshot.family).rep_delay
    assumed = "clops_h" in snapshot.assumed
    formula = (
        f"the bare formula: no CLOPS_h in {where}"
        if assumed
        else f"modelled 100-layer shot ({snapshot.model_shot_s(file.reset.seconds) * 1e6:.0f} us: "
        "rep_delay + 100 x (two-qubit gate + 2 SX) + read-out + reset) / "
        f"(100 / CLOPS_h of {snapshot.clops_h:.0f}); {where}"
    )
    tag: Literal["assumed", "published"] = "assumed" if assumed else "published"
    return (
        Named("device.rep_delay", rep_delay),
        Named("device.efficiency", TaggedNumber(value=efficiency, unit="1", tag=tag, source=formula)),
    )


def _snapshot(name: str) -> Snapshot:
    source = device_file.find_source(name)
    # Imported here: the process that schedules calls must not spend 2 s on importing Qiskit.
    from shotclock.emulator import snapshot  # noqa: PLC0415

    return snapshot.read_source(source)
