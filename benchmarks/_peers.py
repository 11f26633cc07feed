"""Other simulators running the same one-layer circuit, each as its makers would have it called again and
again: whatever can be kept between calls is kept, on one thread. Each call takes angles and gives bits.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pennylane as qml
import qulacs
from numpy.typing import NDArray
from pennylane.tape import QuantumScript
from qiskit_aer import AerSimulator
from qiskit_aer.primitives import SamplerV2

from shotclock.circuits.qaoa import logical_circuit, parameter_values
from shotclock.domain.circuit import QaoaParameters

Bits = NDArray[np.uint8]
# A call: angles in, the bits of every shot out, shape (shots, n).
Call = Callable[[QaoaParameters], Bits]


def aer_sampler(n: int, shots: int) -> Call:
    """SamplerV2 on a logical circuit kept as a template; its parameters are the PUB's values."""
    circuit = logical_circuit(n)
    options = {"backend_options": {"method": "statevector", "max_parallel_threads": 1}}
    sampler = SamplerV2(default_shots=shots, seed=1, options=options)

    def call(angles: QaoaParameters) -> Bits:
        result = sampler.run([(circuit, parameter_values(circuit, angles))]).result()
        (register,) = result[0].data.values()
        bits: Bits = register.to_bool_array(order="little").view(np.uint8)
        return bits

    return call


def aer_run(n: int, shots: int) -> Call:
    """The template bound and given to AerSimulator.run, not transpiled."""
    aer = AerSimulator(method="statevector", max_parallel_threads=1)
    circuit = logical_circuit(n)

    def call(angles: QaoaParameters) -> Bits:
        bound = circuit.assign_parameters(parameter_values(circuit, angles))
        return _from_counts(aer.run(bound, shots=shots).result().get_counts())

    return call


def lightning(n: int, shots: int) -> Call:
    """PennyLane's lightning.qubit, given the tape directly: no QNode, no gradient, native gates."""
    device = qml.device("lightning.qubit", wires=n, seed=1)
    pairs = list(itertools.combinations(range(n), 2))

    def call(angles: QaoaParameters) -> Bits:
        beta = 2.0 * float(angles.mixer[0])
        operations = [qml.RY(theta, i) for i, theta in enumerate(angles.warm.tolist())]
        operations += [qml.RZ(2.0 * h, i) for i, h in enumerate(angles.field[0].tolist())]
        coupling = (2.0 * angles.coupling[0]).tolist()
        operations += [qml.IsingZZ(coupling[i][j], (i, j)) for i, j in pairs]
        for i, theta in enumerate(angles.warm.tolist()):
            operations += [qml.RY(-theta, i), qml.RZ(beta, i), qml.RY(theta, i)]
        tape = QuantumScript(operations, [qml.sample(wires=range(n))], shots=shots)
        bits: Bits = np.asarray(device.execute(tape)).astype(np.uint8)
        return bits

    return call


def qulacs_circuit(n: int, shots: int) -> Call:
    """qulacs on one state kept between calls. Its own RX, RY, RZ turn the other way; Rot* turn Qiskit's."""
    state = qulacs.QuantumState(n)
    pairs = list(itertools.combinations(range(n), 2))

    def call(angles: QaoaParameters) -> Bits:
        circuit = qulacs.QuantumCircuit(n)
        for i, theta in enumerate(angles.warm.tolist()):
            circuit.add_RotY_gate(i, theta)
        for i, h in enumerate(angles.field[0].tolist()):
            circuit.add_RotZ_gate(i, 2.0 * h)
        coupling = angles.coupling[0].tolist()
        for i, j in pairs:
            circuit.add_CNOT_gate(i, j)
            circuit.add_RotZ_gate(j, 2.0 * coupling[i][j])
            circuit.add_CNOT_gate(i, j)
        for i, theta in enumerate(angles.warm.tolist()):
            circuit.add_RotY_gate(i, -theta)
            circuit.add_RotZ_gate(i, 2.0 * float(angles.mixer[0]))
            circuit.add_RotY_gate(i, theta)
        state.set_zero_state()
        circuit.update_quantum_state(state)
        drawn = np.array(state.sampling(shots, 1), dtype=np.int64)
        return _unpack(drawn, n)

    return call


PEERS: dict[str, tuple[str, Callable[[int, int], Call]]] = {
    "Aer SamplerV2, template": ("parameters as the PUB's values", aer_sampler),
    "AerSimulator.run, template": ("the logical circuit kept and bound, no transpiling", aer_run),
    "PennyLane lightning.qubit": ("a tape of native gates, no QNode", lightning),
    "qulacs": ("one state kept", qulacs_circuit),
}


def _from_counts(counts: dict[str, int]) -> Bits:
    drawn = np.array([int(word, 2) for word in counts], dtype=np.int64)
    n = len(next(iter(counts)))
    return np.repeat(_unpack(drawn, n), list(counts.values()), axis=0)


def _unpack(drawn: NDArray[np.int64], n: int) -> Bits:
    return ((drawn[:, None] >> np.arange(n)) & 1).astype(np.uint8)
