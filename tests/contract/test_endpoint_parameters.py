"""Which value goes to which parameter, in every way in which programs arrive at the endpoint."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from ibm_quantum_schemas.executor.version_2_0 import QuantumProgramResultModel
from qiskit import QuantumCircuit, qasm3
from qiskit.circuit import Parameter, ParameterVector
from qiskit_ibm_runtime.json import RuntimeDecoder
from qiskit_ibm_runtime.options_models.executor import ExecutorOptions
from qiskit_ibm_runtime.quantum_program import QuantumProgram
from qiskit_ibm_runtime.quantum_program.converters.converters_2_0 import quantum_program_to_2_0

from asgi_endpoint import open_client, sampler
from harness import run_virtual
from shotclock.emulator.rest.openqasm import read_circuit

SHOTS = 20
Sent = tuple[str, Any]


def make_rotations(parameters: Sequence[Parameter]) -> QuantumCircuit:
    """The n-th parameter turns the n-th qubit about X, by RZ between two SX; read into bit n."""
    circuit = QuantumCircuit(133, len(parameters))
    for qubit, parameter in enumerate(parameters):
        circuit.sx(qubit)
        circuit.rz(parameter - np.pi, qubit)
        circuit.sx(qubit)
        circuit.measure(qubit, qubit)
    return circuit


def as_openqasm(circuit: QuantumCircuit, values: Any) -> Sent:
    """As QRMI sends a PUB, and whoever calls the REST API."""
    text = qasm3.dumps(circuit, disable_constants=True, allow_aliasing=True)
    return "sampler", {"pubs": [[text, values.tolist(), SHOTS]], "version": 2, "options": {}}


def as_typed_pub(circuit: QuantumCircuit, values: Any) -> Sent:
    """As SamplerV2 sends it."""
    return "sampler", sampler((circuit, values, SHOTS))


def as_quantum_program(circuit: QuantumCircuit, values: Any) -> Sent:
    """As the executor's sampler sends it."""
    program = QuantumProgram(shots=SHOTS)
    program.append_circuit_item(circuit, circuit_arguments=values)
    program._semantic_role = "sampler_v2"
    return "executor", quantum_program_to_2_0(program, ExecutorOptions()).model_dump(mode="json")


WAYS = [as_openqasm, as_typed_pub, as_quantum_program]
VECTORS = {
    "twelve": list(ParameterVector("t", 12)),
    "a hundred and twenty": list(ParameterVector("t", 120)),
    "vectors and scalars": [
        *ParameterVector("t", 11),
        *ParameterVector("s", 11),
        Parameter("t_1"),
        Parameter("s"),
        Parameter("a"),
    ],
    "names that sort oddly": [
        Parameter(name) for name in ("θ", "_z", "Z", "a", "pi", "x y", "$", "_t_10_", "_t_2_", "é")
    ]
    + list(ParameterVector("t", 11)),
}


def bits_set(program: str, text: str) -> list[Any]:
    """For each row of values, in their order, the bits that most shots have set."""
    if program == "sampler":
        shots = json.loads(text, cls=RuntimeDecoder)[0].data.c.to_bool_array(order="little")
    else:
        shots = QuantumProgramResultModel.model_validate_json(text).data[0].results["c"].to_numpy()
    return [np.flatnonzero(row.mean(axis=0) > 0.5).tolist() for row in shots.reshape(-1, *shots.shape[-2:])]


def run(sent: Sent) -> list[Any]:
    async def scenario() -> list[Any]:
        client = open_client()
        program, params = sent
        job_id = await client.run_job(params, program)
        return bits_set(program, (await client.call("GET", f"/jobs/{job_id}/results")).text)

    return run_virtual(scenario())


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("parameters", VECTORS.values(), ids=VECTORS.keys())
def test_each_value_reaches_its_own_parameter(
    way: Callable[[QuantumCircuit, Any], Sent], parameters: list[Parameter]
) -> None:
    circuit = make_rotations(parameters)
    qubits = [2, 9, 10, len(parameters) - 1]
    by_name = {parameters[qubit].name: np.pi for qubit in qubits}
    row = np.array([by_name.get(parameter.name, 0.0) for parameter in circuit.parameters])
    assert run(way(circuit, row)) == [qubits]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_rows_of_a_sweep_keep_their_places(way: Callable[[QuantumCircuit, Any], Sent]) -> None:
    circuit = make_rotations(list(ParameterVector("t", 12)))
    sweep = np.zeros((2, 3, 12))
    rows_of_qubits = [[2], [10], [11], [2, 10], [], [1]]
    for row, qubits in zip(np.ndindex(2, 3), rows_of_qubits, strict=True):
        sweep[row][qubits] = np.pi
    assert run(way(circuit, sweep)) == rows_of_qubits


def test_values_go_to_inputs_in_the_order_of_their_declarations() -> None:
    text = (
        'OPENQASM 3.0; include "stdgates.inc"; input float[64] zeta; input float[64] a; bit[2] c; '
        "sx $0; rz(zeta - pi) $0; sx $0; sx $1; rz(a - pi) $1; sx $1; c[0] = measure $0; c[1] = measure $1;"
    )
    assert run(("sampler", {"pubs": [[text, [0.0, np.pi], SHOTS]], "version": 2})) == [[1]]


def test_a_circuit_without_inputs_and_one_in_a_block_are_read() -> None:
    inside = QuantumCircuit(1, 1)
    inside.measure(0, 0)
    with inside.if_test((0, 1)):
        inside.rz(ParameterVector("t", 11)[10], 0)
    assert read_circuit(qasm3.dumps(inside)).num_parameters == 1
    assert read_circuit(qasm3.dumps(QuantumCircuit(1, 1))).num_parameters == 0


@pytest.mark.parametrize("text", ["", "OPENQASM 3; what", "input bit a;", "input float a; def", "\x00"])
def test_what_is_not_openqasm_is_one_line(text: str) -> None:
    with pytest.raises(ValueError, match=r"not OpenQASM 3 that Qiskit reads: .+") as refused:
        read_circuit(text)
    assert "\n" not in str(refused.value)
