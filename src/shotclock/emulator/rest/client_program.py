"""Old primitives' programs, run as the executor's by IBM's own client code. For the worker.

EstimatorV2 and the old SamplerV2 leave twirling, mitigation and dynamical decoupling to the service. IBM's
client does the same work for its executor-based primitives, so the emulator calls that code: circuits are
twirled, folded and measured in several bases in fact, and their time is the time of all of them.
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

from shotclock.emulator.rest.encoding import Taken
from shotclock.emulator.rest.programs import BadProgramError, Item, Program, Swept
from shotclock.emulator.rest.recognise.twirling import Twirled


@dataclass(frozen=True, slots=True)
class Scheduling:
    """What IBM's client code asks of a backend where it schedules circuits."""

    target: Target


@dataclass(frozen=True, slots=True, eq=False)
class ClientProgram(Program):
    """A program whose results are post-processed; encode: from the shots to the JSON text of its PUBs."""

    encode: Callable[[Taken], str]


def items_of(program: QuantumProgram) -> tuple[Item, ...]:
    """The program's circuits as the emulator shoots them."""
    return tuple(_item(one, program.shots) for one in program.items)


def outcome_of(program: QuantumProgram, taken: Taken) -> QuantumProgramResult:
    """Shots as the client's post-processing takes them."""
    data = [QuantumProgramItemResult({**registers, **flips}) for registers, flips in taken]
    return QuantumProgramResult(data, passthrough_data=program.passthrough_data)


def check_isa(number: int, circuit: object, target: Target) -> None:
    """Raises BadProgramError where PUB `number` has a circuit that the device does not run."""
    if fault := is_isa_circuit(circuit, target):
        raise BadProgramError(f"pub {number}: {fault}")


def on_physical_qubits(circuit: QuantumCircuit) -> QuantumCircuit:
    """The circuit on one register `q`, by which Qiskit's scheduling knows that qubits are the device's."""
    if [register.name for register in circuit.qregs] == ["q"] and len(circuit.qregs[0]) == circuit.num_qubits:
        return circuit
    register = QuantumRegister(circuit.num_qubits, "q")
    placed = QuantumCircuit(register, circuit.clbits, *circuit.cregs, metadata=circuit.metadata)
    placed.compose(circuit, range(circuit.num_qubits), circuit.clbits, inplace=True)
    return placed


def obey_shots(twirling: dict[str, Any], *, has_shots: bool) -> dict[str, Any]:
    """Twirling options where shots that the user gave stand, rather than the product of both numbers."""
    numbers = (twirling["num_randomizations"], twirling["shots_per_randomization"])
    if not has_shots or "auto" in numbers:
        return twirling
    return twirling | {"shots_per_randomization": "auto"}


def _item(one: object, shots: int) -> Item:
    if isinstance(one, SamplexItem):
        return Twirled(one.circuit, shots, one)
    arguments = np.asarray(one.circuit_arguments, np.float64)  # type: ignore[attr-defined]
    return Swept(one.circuit, shots, arguments)  # type: ignore[attr-defined]
