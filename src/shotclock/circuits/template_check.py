"""Whether what was stored as a template can be one: worked out again from its circuit and the target.

A checksum finds a torn file; it says nothing about a file that someone wrote. What a template is trusted for,
how long it takes and which qubits it needs, is computed again when it is loaded. For the worker: imports
Qiskit.
"""

from __future__ import annotations

from qiskit import QuantumCircuit
from qiskit.transpiler import Target

from shotclock.circuits import source_check, templates
from shotclock.circuits.lines import layout
from shotclock.circuits.native import couplings_of
from shotclock.circuits.qaoa import native_parameter_names, parameter_names
from shotclock.circuits.templates import TemplateIdentity
from shotclock.domain.circuit import Template
from shotclock.domain.circuit_bytes import load_circuit
from shotclock.domain.circuit_limits import CircuitLimits
from shotclock.domain.errors import CircuitError


def find_fault(template: Template, wanted: TemplateIdentity, target: Target, most_bytes: int) -> str:
    """Why the template cannot be what was asked for, in one line; "" where it can."""
    limits = CircuitLimits(wanted.device, target.num_qubits, source_bytes=most_bytes)
    try:
        source_check.check_beginning(template.qpy, limits)
        isa = load_circuit(template.qpy)
        if unsupported := _find_unsupported(isa, target):
            return unsupported
        known = (*templates.measure(isa, target),)
    except CircuitError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - Qiskit raises what its parts do at a damaged file
        return f"its circuit cannot be read: {type(error).__name__}"
    told = (template.duration_s, template.two_qubit_gates, template.two_qubit_depth)
    if told != known:
        return f"duration, two-qubit gates and depth are {known} (got {told})"
    return _find_misplaced(template, wanted, isa, _parameter_names(wanted, target))


def _parameter_names(wanted: TemplateIdentity, target: Target) -> set[str]:
    if wanted.is_native:
        pairs = couplings_of(layout(target), wanted.line)
        return native_parameter_names(wanted.n, wanted.layers, pairs)
    return parameter_names(wanted.n, wanted.layers) if wanted.line else set()


def _find_misplaced(
    template: Template, wanted: TemplateIdentity, isa: QuantumCircuit, names: set[str]
) -> str:
    used = {isa.find_bit(qubit).index for one in isa.data for qubit in one.qubits if one.name != "barrier"}
    if template.line != (wanted.line or tuple(sorted(used))) or used != set(template.line):
        return "its line is not the qubits of its circuit"
    if isa.num_clbits != wanted.n:
        return f"its circuit has {isa.num_clbits} classical bits, must have {wanted.n}"
    if {parameter.name for parameter in isa.parameters} != names:
        return "its parameters are not those of its ansatz"
    return ""


def _find_unsupported(isa: QuantumCircuit, target: Target) -> str:
    index = {qubit: number for number, qubit in enumerate(isa.qubits)}
    for name, bits in {(one.name, one.qubits) for one in isa.data if one.name != "barrier"}:
        qubits = tuple(index[bit] for bit in bits)
        if not target.instruction_supported(name, qubits):
            return f"the device has no {name[:40]} on qubits {qubits[:4]}"
    return ""
