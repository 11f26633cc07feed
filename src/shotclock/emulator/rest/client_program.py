"""Programs of the older primitives, converted to executor programs by IBM's client code. For the worker.

EstimatorV2 and the older SamplerV2 leave twirling, mitigation and dynamical decoupling to the service. IBM's
client does the same work for its executor-based primitives, so the emulator calls that code: circuits are
really twirled, folded and measured in several bases, and the job takes the time of all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from qiskit import QuantumCircuit, QuantumRegister
from qiskit.transpiler import Target
from qiskit_ibm_runtime.quantum_program import QuantumProgram
from qiskit_ibm_runtime.results.quantum_program import QuantumProgramItemResult, QuantumProgramResult
from qiskit_ibm_runtime.utils.utils import is_isa_circuit
from samplomatic.quantum_program import SamplexItem

from shotclock.emulator.rest.encoding import ItemShots
from shotclock.emulator.rest.programs import BadProgramError, Item, Program, Swept
from shotclock.emulator.rest.recognise.twirling import Twirled


@dataclass(frozen=True, slots=True)
class Scheduling:
    """The part of a backend that IBM's client code needs to schedule circuits."""

    target: Target


@dataclass(frozen=True, slots=True, eq=False)
class ClientProgram(Program):
    """A program with post-processing; encode: from the shots to the JSON text of its PUBs."""

    encode: Callable[[ItemShots], str]


def items_of(program: QuantumProgram) -> tuple[Item, ...]:
    """The program's circuits as items to shoot."""
    return tuple(_item(item, program.shots) for item in program.items)


def outcome_of(program: QuantumProgram, shots: ItemShots) -> QuantumProgramResult:
    """Shots in the form that the client's post-processing takes."""
    data = [QuantumProgramItemResult({**registers, **flips}) for registers, flips in shots]
    return QuantumProgramResult(data, passthrough_data=program.passthrough_data)


def check_isa(number: int, circuit: object, target: Target) -> None:
    """Raises BadProgramError if the circuit of PUB `number` cannot run on the device."""
    if fault := is_isa_circuit(circuit, target):
        raise BadProgramError(f"pub {number}: {fault}")


def on_physical_qubits(circuit: QuantumCircuit) -> QuantumCircuit:
    """The circuit on one register `q`, which Qiskit's scheduling takes as the device's qubits."""
    if [register.name for register in circuit.qregs] == ["q"] and len(circuit.qregs[0]) == circuit.num_qubits:
        return circuit
    register = QuantumRegister(circuit.num_qubits, "q")
    placed = QuantumCircuit(register, circuit.clbits, *circuit.cregs, metadata=circuit.metadata)
    placed.compose(circuit, range(circuit.num_qubits), circuit.clbits, inplace=True)
    return placed


def obey_shots(twirling: dict[str, Any], *, has_shots: bool) -> dict[str, Any]:
    """Twirling options that keep the shots given by the user instead of the product of both numbers."""
    numbers = (twirling["num_randomizations"], twirling["shots_per_randomization"])
    if not has_shots or "auto" in numbers:
        return twirling
    return twirling | {"shots_per_randomization": "auto"}


def _item(item: object, shots: int) -> Item:
    if isinstance(item, SamplexItem):
        return Twirled(item.circuit, shots, item)
    arguments = np.asarray(item.circuit_arguments, np.float64)  # type: ignore[attr-defined]
    return Swept(item.circuit, shots, arguments)  # type: ignore[attr-defined]
