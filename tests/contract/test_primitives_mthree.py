"""mthree mitigates read-out errors in samples of Shotclock's primitive, on the noisy EMULATED device.

mthree has no wheel for Python 3.13, so that this file is not collected there.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import mthree
import numpy as np
from qiskit import QuantumCircuit
from qiskit.primitives import BaseSamplerV2, BitArray

from qiskit_peers import SIGMAS, open_caller
from shotclock.primitives import Sampler

SHOTS = 20_000


def make_ghz(qubits: int, angle: float) -> QuantumCircuit:
    circuit = QuantumCircuit(qubits)
    circuit.ry(angle, 0)
    for qubit in range(qubits - 1):
        circuit.cx(qubit, qubit + 1)
    circuit.measure_all()
    return circuit


def prepare(qubits: int, excited: bool) -> QuantumCircuit:
    circuit = QuantumCircuit(qubits)
    if excited:
        circuit.x(range(qubits))
    circuit.measure_all()
    return circuit


def measure_ghz(sampler: BaseSamplerV2, qubits: int, angle: float, shots: int) -> tuple[Any, Any]:
    """Counts of a GHZ state, and mthree's quasi-probabilities after it corrected read-out errors in them.

    The calibration is mthree's marginal one: all qubits in 0, then in 1.
    """
    pubs = [prepare(qubits, excited=False), prepare(qubits, excited=True), make_ghz(qubits, angle)]
    zeros, ones, ghz = (result.data.meas for result in sampler.run(pubs, shots=shots).result())

    def wrong(bits: BitArray, qubit: int, word: str) -> float:
        return float(bits.slice_bits(qubit).get_counts().get(word, 0) / shots)

    matrices = []
    for qubit in range(qubits):
        up, down = wrong(zeros, qubit, "1"), wrong(ones, qubit, "0")
        matrices.append(np.array([[1.0 - up, down], [up, 1.0 - down]]))
    mitigation = mthree.M3Mitigation()
    mitigation.cals_from_matrices(matrices)
    return ghz.get_counts(), mitigation.apply_correction(ghz.get_counts(), range(qubits))


def test_readout_errors_are_mitigated_from_samples() -> None:
    """To a fifth, and the value is the exact one within statistics."""
    with ExitStack() as ending:
        sampler = Sampler(open_caller("emulated", ending), seed=2)
        counts, corrected = measure_ghz(sampler, 3, 1.0, SHOTS)
    for word in ("ZZI", "IZZ"):
        raw, better = (1.0 - mthree.utils.expval(each, word) for each in (counts, corrected))
        assert raw > 0.05
        assert abs(better) < raw / 5
    value = mthree.utils.expval(corrected, "ZII")
    # its error is that of the counts, and as much again of the calibration
    assert abs(value - np.cos(1.0)) < 2 * SIGMAS / np.sqrt(SHOTS)
