"""Samples of user circuits: ideal samples from Aer, then the same surrogate noise as for QAOA.

Imports Qiskit only when a user circuit runs, in the worker.
"""

from __future__ import annotations

import functools
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np

from shotclock.domain.circuit import (
    MATRIX_PRODUCT_STATE,
    NOT_SIMULATED,
    STATE_VECTOR,
    Bound,
    QaoaParameters,
    Samples,
    Simulation,
)
from shotclock.domain.circuit_bytes import load_circuit
from shotclock.domain.errors import CircuitError, FaultKind, ProviderError
from shotclock.emulator.noise import flip_bits
from shotclock.emulator.statevector import execute

if TYPE_CHECKING:
    from qiskit import QuantumCircuit
    from qiskit_aer import AerSimulator

AER_SEEDS = 2**31
# A state of more qubits does not fit a small machine; a matrix product state of this bond dimension replaces
# it, which is exact for little entanglement and an approximation for more.
STATEVECTOR_QUBITS = 26
BOND_DIMENSION = 32
# Aer adds what it cut off to a log that grows with every circuit of its process, so the error is not known.
_SIMULATIONS = {
    "statevector": Simulation(STATE_VECTOR),
    "matrix_product_state": Simulation(MATRIX_PRODUCT_STATE, BOND_DIMENSION, None),
}


def load_simulator() -> None:
    """Imports what runs user circuits, as far as it is installed."""
    with suppress(ModuleNotFoundError):
        import_module("qiskit_aer")


def execute_any(
    contents: tuple[QaoaParameters | Bound, ...],
    shots: int,
    flip_probabilities: tuple[float, ...],
    seeds: tuple[int, ...],
) -> tuple[Samples, ...]:
    """Samples of all circuits of a job, in order, deterministic for the seeds; for the worker.

    flip_probabilities: the probability λ that a measured bit is replaced by a random one. Raises
    ProviderError(PERMANENT) if Aer is missing or fails.
    """
    return tuple(
        execute_bound(each, shots, flip, seed)
        if isinstance(each, Bound)
        else execute(each, shots, flip, seed)
        for each, flip, seed in zip(contents, flip_probabilities, seeds, strict=True)
    )


def execute_bound(bound: Bound, shots: int, flip_probability: float, seed: int) -> Samples:
    """Samples of one circuit; column i is classical bit i, and an unwritten bit is 0."""
    circuit = _read(bound.qpy)
    if bound.names:
        try:
            circuit = bound.assign(circuit)
        except CircuitError as error:
            raise ProviderError(FaultKind.PERMANENT, str(error)) from error
    return sample_circuit(circuit, shots, flip_probability, seed)


@functools.lru_cache(maxsize=32)
def _read(packed: bytes) -> QuantumCircuit:
    """Cached, because reading a circuit can take longer than sampling it."""
    return load_circuit(packed)


def sample_circuit(
    circuit: QuantumCircuit, shots: int, flip_probability: float, seed: int, method: str = ""
) -> Samples:
    """As `execute_bound`, for a Qiskit circuit without free parameters.

    method: Aer's; "" chooses by the circuit's width.
    """
    if not method:
        method = "statevector" if circuit.num_qubits <= STATEVECTOR_QUBITS else "matrix_product_state"
    result = _simulator(method).run(circuit, shots=shots, seed_simulator=seed % AER_SEEDS).result()
    if not result.success:
        raise ProviderError(FaultKind.PERMANENT, f"Aer: {result.status}")
    counted = result.data(0)["counts"].items()
    # Python integers, because there may be more classical bits than a machine word holds.
    pool = np.array(
        [[int(word, 16) >> bit & 1 for bit in range(circuit.num_clbits)] for word, _ in counted], np.uint8
    )
    clbits = {circuit.find_bit(bit).index for item in circuit.data for bit in item.clbits}
    drawn = np.repeat(pool, np.array([count for _, count in counted]), axis=0)
    noisy = flip_bits(drawn, flip_probability, np.random.default_rng(seed), sorted(clbits))
    return Samples(*noisy, _SIMULATIONS.get(method, NOT_SIMULATED))


def check_compiles(circuit: QuantumCircuit) -> str:
    """Why Aer cannot run this circuit, in one line; "" where it can. Costs no simulation."""
    from qiskit_aer.backends.aer_compiler import assemble_circuits, compile_circuit  # noqa: PLC0415

    try:
        assemble_circuits(compile_circuit([circuit]))
    # Aer raises various exceptions, including AttributeError, at an expression that it does not know.
    except Exception as error:  # noqa: BLE001
        return " ".join(str(error).split()).strip("'") or type(error).__name__
    return ""


@functools.lru_cache(maxsize=3)
def _simulator(method: str) -> AerSimulator:
    # Aer's threads are slow next to a busy process.
    try:
        from qiskit_aer import AerSimulator  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ProviderError(
            FaultKind.PERMANENT, "user circuits run on Qiskit Aer, which is missing: install shotclock[aer]"
        ) from error
    return AerSimulator(
        method=method, max_parallel_threads=1, matrix_product_state_max_bond_dimension=BOND_DIMENSION
    )
