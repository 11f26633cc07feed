"""Compiles templates: once per line of qubits, device and calibration. Imports Qiskit: for the worker."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from itertools import pairwise

import qiskit
from qiskit import QuantumCircuit
from qiskit.circuit import CircuitInstruction
from qiskit.transpiler import Target, generate_preset_pass_manager

from shotclock.circuits.cache import TemplateSpec
from shotclock.circuits.lines import best_line, layout
from shotclock.circuits.native import couplings_of
from shotclock.circuits.packing import relocate
from shotclock.circuits.qaoa import line_circuit, native_circuit
from shotclock.domain.circuit import Template
from shotclock.domain.circuit_bytes import dump_circuit
from shotclock.domain.errors import SettingsError, SubproblemError, TooManyErrorsError

TargetSource = Callable[[str], Target]

ANSATZ = "qaoa-warm-start/odd-even-swap-network"
NATIVE_ANSATZ = "qaoa-warm-start/couplings"
# Levels above 2 do not improve the swap network; the seed makes a template reproducible.
OPTIMIZATION_LEVEL = 2
TRANSPILER_SEED = 7
CIRCUITS_CACHED = 8
LEAST_ERROR_FREE = 1e-3
"""The least expected share of shots without an error; of 1,000 shots one is then worth its read-out."""

_LATEST: dict[str, QuantumCircuit] = {}
"""The worker's latest circuits by identity key, reused for other lines of the same device."""


@dataclass(frozen=True, slots=True)
class TemplateIdentity:
    """Everything a template depends on; templates with the same identity are the same circuit.

    The couplings of a native template are those between its qubits at this calibration.

    ansatz: the circuit's name
    n: number of variables
    layers: QAOA layers
    device: the device's name
    calibration: hash of the device's calibration
    line: physical qubits
    optimization_level: of Qiskit's pass manager
    transpiler_seed: of Qiskit's pass manager
    qiskit: Qiskit's version
    """

    ansatz: str
    n: int
    layers: int
    device: str
    calibration: str
    line: tuple[int, ...]
    optimization_level: int
    transpiler_seed: int
    qiskit: str

    @property
    def is_native(self) -> bool:
        """Whether its gates are on couplings alone."""
        return self.ansatz == NATIVE_ANSATZ

    @property
    def json(self) -> str:
        """The identity as one line of sorted JSON: the hashed text."""
        return json.dumps(asdict(self), sort_keys=True)

    @property
    def key(self) -> str:
        """SHA-256 of the identity's JSON, hexadecimal."""
        return hashlib.sha256(self.json.encode()).hexdigest()


def compile_template(
    n: int,
    device: str,
    target_source: TargetSource,
    *,
    layers: int = 1,
    line: tuple[int, ...] | None = None,
) -> Template:
    """The ISA circuit for n variables on a line; None means the device's best line.

    Raises SubproblemError on more variables than the device has qubits; TooManyErrorsError if the best line
    of n qubits does not exist or has too many errors; SettingsError if the given line is not one, and on
    fewer than one layer.
    """
    target = target_source(device)
    spec = TemplateSpec(n, layers, "best" if line is None else line)
    return compile_identity(identify(spec, device, target), target)


def identify(spec: TemplateSpec, device: str, target: Target) -> TemplateIdentity:
    """The identity of the requested template; raises what `compile_template` raises."""
    n, qubits = spec.n, target.num_qubits
    if not 1 <= n <= qubits:
        raise SubproblemError("n", f"{n} variables, {device} has {qubits} qubits")
    if spec.layers < 1:
        raise SettingsError(f"circuits.layers: must be at least 1 (got {spec.layers})")
    if spec.native:
        return _identify_native(spec, device, target)
    if spec.line == "best":
        line = _find_line(target, device, n)
        _check_errors(target, device, line)
        return identity(device, target, line, spec.layers)
    _check_line(target, device, n, spec.line)
    return identity(device, target, spec.line, spec.layers)


def _identify_native(spec: TemplateSpec, device: str, target: Target) -> TemplateIdentity:
    line = spec.line
    if line == "best":
        raise SettingsError("circuits.line: a native template needs its qubits")
    _check_qubits(target, device, spec.n, line)
    return replace(identity(device, target, line, spec.layers), ansatz=NATIVE_ANSATZ)


def _find_line(target: Target, device: str, n: int) -> tuple[int, ...]:
    try:
        return best_line(target, n)
    except SettingsError as error:
        raise TooManyErrorsError(
            f"{n} variables, more than {device} has in a line of working qubits", 0.0, LEAST_ERROR_FREE
        ) from error


def _check_errors(target: Target, device: str, line: tuple[int, ...]) -> None:
    """Refuses a line that hardly a shot would pass; `Layout.cost` is the estimate, for one layer."""
    share = math.exp(-layout(target).cost(line))
    if share < LEAST_ERROR_FREE:
        raise TooManyErrorsError(f"{len(line)} variables on a line of {device}", share, LEAST_ERROR_FREE)


def compile_identity(template_id: TemplateIdentity, target: Target) -> Template:
    """The template of this identity; `target` is the one the identity was taken from.

    The transpiler runs once per size, on the best line; for another line the circuit is relocated.
    """
    if template_id.is_native:
        return make_template(template_id, _transpile(template_id, target), target, template_id.line)
    home = replace(template_id, line=best_line(target, template_id.n))
    isa = _transpile(home, target)
    if template_id.line != home.line:
        isa = relocate(isa, home.line, template_id.line, target)
    return make_template(template_id, isa, target, template_id.line)


def _transpile(home: TemplateIdentity, target: Target) -> QuantumCircuit:
    if home.key not in _LATEST:
        pass_manager = generate_preset_pass_manager(
            home.optimization_level,
            target=target,
            initial_layout=home.line,
            seed_transpiler=home.transpiler_seed,
        )
        while len(_LATEST) >= CIRCUITS_CACHED:
            del _LATEST[next(iter(_LATEST))]
        _LATEST[home.key] = pass_manager.run(_draw(home, target))
    return _LATEST[home.key]


def _draw(home: TemplateIdentity, target: Target) -> QuantumCircuit:
    if home.is_native:
        return native_circuit(home.n, home.layers, couplings_of(layout(target), home.line))
    return line_circuit(home.n, home.layers)


def make_template(
    source: TemplateIdentity, isa: QuantumCircuit, target: Target, line: tuple[int, ...]
) -> Template:
    """The template of a compiled circuit on these physical qubits."""
    duration_s, gates, depth = measure(isa, target)
    return Template(
        key=source.key,
        device=source.device,
        line=line,
        qpy=dump_circuit(isa),
        duration_s=duration_s,
        two_qubit_gates=gates,
        two_qubit_depth=depth,
        native=source.is_native,
    )


def measure(isa: QuantumCircuit, target: Target) -> tuple[float, int, int]:
    """A compiled circuit's duration in seconds, its two-qubit gates, and their depth."""
    return isa.estimate_duration(target, unit="s"), isa.num_nonlocal_gates(), isa.depth(_on_two_qubits)


def identity(device: str, target: Target, line: tuple[int, ...], layers: int = 1) -> TemplateIdentity:
    """The identity of a template on this line."""
    return TemplateIdentity(
        ansatz=ANSATZ,
        n=len(line),
        layers=layers,
        device=device,
        calibration=calibration(target),
        line=line,
        optimization_level=OPTIMIZATION_LEVEL,
        transpiler_seed=TRANSPILER_SEED,
        qiskit=qiskit.__version__,
    )


def calibration(target: Target) -> str:
    """SHA-256 of all instructions' durations and errors, which change with the calibration."""
    rows = [
        (name, qubits, properties.duration, properties.error)
        for name in sorted(target.operation_names)
        for qubits, properties in sorted((target[name] or {}).items(), key=lambda item: item[0] or ())
        if properties is not None
    ]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def _check_line(target: Target, device: str, n: int, line: tuple[int, ...]) -> None:
    _check_qubits(target, device, n, line)
    couplers = layout(target).couplers
    for a, b in pairwise(line):
        if b not in couplers[a]:
            raise SettingsError(f"circuits.line: {device} has no working coupler between {a} and {b}")


def _check_qubits(target: Target, device: str, n: int, line: tuple[int, ...]) -> None:
    if len(line) != n or len(set(line)) != n:
        raise SettingsError(f"circuits.line: {line} is not {n} different qubits")
    working = layout(target)
    for qubit in line:
        if qubit not in working.readout:
            raise SettingsError(f"circuits.line: qubit {qubit} of {device} does not work")


def _on_two_qubits(instruction: CircuitInstruction) -> bool:
    return len(instruction.qubits) == 2
