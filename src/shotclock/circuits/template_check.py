"""Whether what was stored as a template can be one: worked out again from its circuit and the target.

A checksum finds a torn file; it says nothing about a file that someone wrote. What a template is trusted for,
how long it takes and which qubits it needs, is computed again when it is loaded. For the worker: imports
Qiskit.
"""

from __future__ import annotations

from qiskit import QuantumCircuit
from qiskit.transpiler import Target

from shotclock.circuits import templates
from shotclock.circuits.lines import layout
from shotclock.circuits.native import couplings_of
from shotclock.circuits.qaoa import native_parameter_names, parameter_names
from shotclock.circuits.templates import TemplateIdentity
from shotclock.domain.circuit import Template
from shotclock.domain.circuit_bytes import load_circuit
from shotclock.domain.circuit_limits import CircuitLimits
from shotclock.domain.circuit_source import source_check
from shotclock.domain.errors import CircuitError


def find_fault(
    template: Template,
    expected: TemplateIdentity,
    target: Target,
    most_bytes: int,
    names: frozenset[str] = frozenset(),
) -> str:
    """Why the template cannot be what was asked for, in one line; "" where it can.

    names: the parameters of a user circuit.
    """
    limits = CircuitLimits(expected.device, target.num_qubits, source_bytes=most_bytes)
    try:
        source_check.check_beginning(template.qpy, limits)
        isa = load_circuit(template.qpy)
        if unsupported := _find_unsupported(isa, target):
            return unsupported
        measured = (*templates.measure(isa, target),)
    except CircuitError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - Qiskit raises what its parts do at a damaged file
        return f"its circuit cannot be read: {type(error).__name__}"
    stated = (template.duration_s, template.two_qubit_gates, template.two_qubit_depth)
    if stated != measured:
        return f"duration, two-qubit gates and depth are {measured} (got {stated})"
    present = {parameter.name for parameter in isa.parameters}
    # compiling removes those that no measurement depends on
    if expected.line:
        names = frozenset(_parameter_names(expected, target))
    else:
        names &= present
    if present != names:
        return "its parameters are not those of its ansatz"
    return _find_misplaced(template, expected, isa)


def _parameter_names(expected: TemplateIdentity, target: Target) -> set[str]:
    if expected.is_native:
        pairs = couplings_of(layout(target), expected.line)
        return native_parameter_names(expected.n, expected.layers, pairs)
    return parameter_names(expected.n, expected.layers)


def _find_misplaced(template: Template, expected: TemplateIdentity, isa: QuantumCircuit) -> str:
    used = {
        isa.find_bit(qubit).index
        for instruction in isa.data
        for qubit in instruction.qubits
        if instruction.name != "barrier"
    }
    if template.line != (expected.line or tuple(sorted(used))) or used != set(template.line):
        return "its line is not the qubits of its circuit"
    if isa.num_clbits != expected.n:
        return f"its circuit has {isa.num_clbits} classical bits, must have {expected.n}"
    return ""


def _find_unsupported(isa: QuantumCircuit, target: Target) -> str:
    index = {qubit: number for number, qubit in enumerate(isa.qubits)}
    for name, bits in {
        (instruction.name, instruction.qubits) for instruction in isa.data if instruction.name != "barrier"
    }:
        qubits = tuple(index[bit] for bit in bits)
        if not target.instruction_supported(name, qubits):
            return f"the device has no {name[:40]} on qubits {qubits[:4]}"
    return ""
