"""Compiling a template: once a line of qubits, device and calibration. Imports Qiskit: for the worker."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass

import qiskit
from qiskit import qpy
from qiskit.circuit import CircuitInstruction
from qiskit.transpiler import Target, generate_preset_pass_manager

from shotclock.circuits.lines import best_line
from shotclock.circuits.qaoa import line_circuit
from shotclock.domain.circuit import Template

TargetSource = Callable[[str], Target]

# Level 2 is where the swap network stops improving; the seed makes a template reproducible.
OPTIMIZATION_LEVEL = 2
TRANSPILER_SEED = 7


@dataclass(frozen=True, slots=True)
class Identity:
    """Everything a template depends on; two templates with the same identity are the same circuit."""

    ansatz: str
    layers: int
    device: str
    calibration: str
    line: tuple[int, ...]
    optimization_level: int
    transpiler_seed: int
    qiskit: str

    @property
    def key(self) -> str:
        """SHA-256 of the identity as sorted JSON, hexadecimal."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


def compile_template(n: int, device: str, target_source: TargetSource) -> Template:
    """The ISA circuit for n variables on the device's best line. Raises SettingsError without a line."""
    target = target_source(device)
    line = best_line(target, n)
    pass_manager = generate_preset_pass_manager(
        OPTIMIZATION_LEVEL, target=target, initial_layout=line, seed_transpiler=TRANSPILER_SEED
    )
    isa = pass_manager.run(line_circuit(n))
    payload = io.BytesIO()
    qpy.dump(isa, payload)
    return Template(
        key=identity(device, target, line).key,
        device=device,
        line=line,
        qpy=payload.getvalue(),
        duration_s=isa.estimate_duration(target, unit="s"),
        two_qubit_gates=isa.num_nonlocal_gates(),
        two_qubit_depth=isa.depth(_on_two_qubits),
    )


def identity(device: str, target: Target, line: tuple[int, ...]) -> Identity:
    """What a template for this line would be compiled from."""
    return Identity(
        ansatz="qaoa-warm-start/odd-even-swap-network",
        layers=1,
        device=device,
        calibration=calibration(target),
        line=line,
        optimization_level=OPTIMIZATION_LEVEL,
        transpiler_seed=TRANSPILER_SEED,
        qiskit=qiskit.__version__,
    )


def calibration(target: Target) -> str:
    """SHA-256 of every instruction's duration and error: a new calibration is a new one."""
    rows = [
        (name, qubits, properties.duration, properties.error)
        for name in sorted(target.operation_names)
        for qubits, properties in sorted((target[name] or {}).items(), key=lambda item: item[0] or ())
        if properties is not None
    ]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def _on_two_qubits(instruction: CircuitInstruction) -> bool:
    return len(instruction.qubits) == 2
