"""What the circuits take on hardware, from targets and timing formulas: nothing here is executed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from qiskit.transpiler import generate_preset_pass_manager

from shotclock.circuits.disjoint import disjoint_lines
from shotclock.circuits.qaoa import logical_circuit
from shotclock.circuits.templates import compile_template
from shotclock.domain.circuit import DeviceCircuit, Pub, QaoaParameters
from shotclock.domain.ports import Job
from shotclock.emulator import device
from shotclock.emulator.device import DeviceFacts
from shotclock.emulator.timing import shots_s

DEVICES = ("heron-torino", "heron-fez", "heron-marrakesh")
TRANSPILER_LEVEL, TRANSPILER_SEEDS = 3, 10
PACKED_SHOTS = 1000


@dataclass(frozen=True, slots=True)
class Compared:
    """The template against the median of the general transpiler's circuits, on one device."""

    device: str
    n: int
    depth: int
    general_depth: float
    duration_s: float
    general_duration_s: float

    @property
    def depth_ratio(self) -> float:
        """How many times shallower the template is, in two-qubit gates."""
        return self.general_depth / self.depth

    @property
    def duration_ratio(self) -> float:
        """How many times shorter the template takes."""
        return self.general_duration_s / self.duration_s


@dataclass(frozen=True, slots=True)
class Packed:
    """QPU time of one subproblem at 1,000 shots, alone and packed with others, seconds."""

    lines: int
    alone_s: float
    packed_s: float

    @property
    def ratio(self) -> float:
        """How many times less QPU time a subproblem takes packed."""
        return self.alone_s / self.packed_s


def compare(name: str, n: int) -> Compared:
    """Ten seeds of the general transpiler at level 3 on the circuit's definition, against the template."""
    target, logical = device.target(name), logical_circuit(n)
    depths, durations = [], []
    for seed in range(TRANSPILER_SEEDS):
        general = generate_preset_pass_manager(TRANSPILER_LEVEL, target=target, seed_transpiler=seed)
        circuit = general.run(logical)
        depths.append(circuit.depth(lambda instruction: len(instruction.qubits) == 2))
        durations.append(circuit.estimate_duration(target, unit="s"))
    template = compile_template(n, name, device.target)
    return Compared(
        name,
        n,
        template.two_qubit_depth,
        float(np.median(depths)),
        template.duration_s,
        float(np.median(durations)),
    )


def pack(n: int, facts: DeviceFacts) -> Packed:
    """As many subproblems of n variables as the device has disjoint lines for, in one PUB."""
    idle = QaoaParameters.idle(n)
    alone = DeviceCircuit(compile_template(n, facts.name, device.target), idle)
    lines = disjoint_lines(device.target(facts.name), n)
    circuits = tuple(
        DeviceCircuit(compile_template(n, facts.name, device.target, line=line), idle) for line in lines
    )
    together = Job((Pub(circuits),), PACKED_SHOTS, "benchmark")
    alone_s = shots_s(Job.of((alone,), PACKED_SHOTS, "benchmark"), facts)
    return Packed(len(lines), alone_s, shots_s(together, facts) / len(lines))


def metrics(compared: list[Compared], packed: Packed) -> dict[str, float]:
    """The least favourable device counts."""
    figures = {}
    for n in sorted({row.n for row in compared}):
        figures[f"depth_ratio_n{n}"] = min(row.depth_ratio for row in compared if row.n == n)
        figures[f"duration_ratio_n{n}"] = min(row.duration_ratio for row in compared if row.n == n)
    figures["packed_qpu_time_ratio_n12"] = packed.ratio
    figures["packed_lines_n12"] = packed.lines
    return figures


def markdown(compared: list[Compared], packed: Packed) -> list[str]:
    """The section of the page."""
    lines = [
        "### On the chip",
        "",
        f"The line swap-network template against the median of {TRANSPILER_SEEDS} seeds of Qiskit's general "
        f"transpiler at level {TRANSPILER_LEVEL}, on calibration snapshots (two-qubit depth; scheduled "
        f"duration in µs, read-out included).",
        "",
        "| n | device | depth | general | ratio | duration | general | ratio |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines.extend(
        f"| {row.n} | {row.device} | {row.depth} | {row.general_depth:.0f} | {row.depth_ratio:.2f} | "
        f"{row.duration_s * 1e6:.2f} | {row.general_duration_s * 1e6:.2f} | {row.duration_ratio:.2f} |"
        for row in compared
    )
    return [
        *lines,
        "",
        f"Packed: {packed.lines} subproblems of n = 12 side by side on disjoint lines of heron-torino take "
        f"{packed.packed_s * 1e3:.1f} ms of QPU time each at {PACKED_SHOTS} shots (EMULATED), alone "
        f"{packed.alone_s * 1e3:.1f} ms: {packed.ratio:.1f} times less, a sub-job's overhead left out. "
        f"Crosstalk between lines is not modelled.",
    ]
