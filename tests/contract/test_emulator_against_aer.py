"""The emulator's samples against Qiskit Aer: the same distribution, ideal and noisy.

Seeds are fixed, so every test is deterministic. The chance that a correct emulator had failed any
of them when they were written is at most ALPHA: Bonferroni over TESTS.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit_aer import AerSimulator

from harness import goodness_of_fit, random_parameters, same_source, without_qpy
from shotclock.circuits.qaoa import bind_isa, bind_logical
from shotclock.circuits.templates import compile_template
from shotclock.domain.circuit import DeviceCircuit, QaoaParameters
from shotclock.domain.subproblem import Float64s
from shotclock.emulator import device
from shotclock.emulator.statevector import execute, probabilities
from shotclock.providers.aer import simulate_all

ALPHA = 1e-3
SIZES = (3, 5, 8, 12)
SEEDS = (1, 2, 3)
TESTS = len(SIZES) * len(SEEDS) * 3
SHOTS = 20_000
cases = pytest.mark.parametrize(("n", "seed"), [(n, seed) for n in SIZES for seed in SEEDS])


def aer_probabilities(circuit: QuantumCircuit) -> Float64s:
    """Aer's exact probabilities of the classical bits, shape (2ⁿ,); bit i of an index is clbit i."""
    measured = {
        circuit.find_bit(instruction.clbits[0]).index: circuit.find_bit(instruction.qubits[0]).index
        for instruction in circuit.data
        if instruction.operation.name == "measure"
    }
    bare = circuit.remove_final_measurements(inplace=False)
    bare.save_probabilities([measured[bit] for bit in range(circuit.num_clbits)])
    simulator = AerSimulator(method="statevector", max_parallel_threads=1)
    exact: Float64s = simulator.run(bare).result().data(0)["probabilities"]
    return exact


def with_flips(exact: Float64s, n: int, replaced: float) -> Float64s:
    """The distribution after each bit is replaced by a random one with this probability."""
    mixed = exact.copy()
    for bit in range(n):
        flipped = mixed[np.arange(1 << n) ^ (1 << bit)]
        mixed = (1.0 - replaced / 2.0) * mixed + replaced / 2.0 * flipped
    return mixed


def with_mixer(parameters: QaoaParameters, mixer: Float64s) -> QaoaParameters:
    return replace(parameters, mixer=mixer)


@cases
def test_ideal_samples_follow_aers_exact_probabilities(n: int, seed: int) -> None:
    parameters = random_parameters(n, seed)
    exact = aer_probabilities(bind_logical(without_qpy(parameters)))
    np.testing.assert_allclose(probabilities(parameters), exact, atol=1e-12)
    assert goodness_of_fit(execute(parameters, SHOTS, 0.0, seed), exact) > ALPHA / TESTS


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_the_isa_circuit_is_the_same_circuit(n: int) -> None:
    parameters = random_parameters(n, 4)
    template = compile_template(n, "heron-torino", device.target)
    exact = aer_probabilities(bind_isa(DeviceCircuit(template, parameters)))
    np.testing.assert_allclose(probabilities(parameters), exact, atol=1e-9)
    assert goodness_of_fit(execute(parameters, SHOTS, 0.0, 4), exact) > ALPHA / TESTS


@cases
def test_noisy_samples_follow_the_equivalent_readout_error(n: int, seed: int) -> None:
    parameters = random_parameters(n, seed)
    exact = with_flips(probabilities(parameters), n, 0.12)
    assert goodness_of_fit(execute(parameters, SHOTS, 0.12, seed), exact) > ALPHA / TESTS


@cases
def test_noisy_samples_and_aers_noisy_samples_share_a_source(n: int, seed: int) -> None:
    parameters = random_parameters(n, seed)
    (aer,) = simulate_all(bind_logical, (without_qpy(parameters),), SHOTS, 0.12, (seed,))
    assert same_source(execute(parameters, SHOTS, 0.12, seed), aer) > ALPHA / TESTS


@cases
def test_the_test_would_notice_a_wrong_sign(n: int, seed: int) -> None:
    """Power: samples of the circuit with β negated, or without noise, are detected as different."""
    parameters = random_parameters(n, seed)
    exact = probabilities(parameters)
    wrong = execute(with_mixer(parameters, -parameters.mixer), SHOTS, 0.0, seed)
    assert goodness_of_fit(wrong, exact) < 1e-9
    (aer,) = simulate_all(bind_logical, (without_qpy(parameters),), SHOTS, 0.12, (seed,))
    assert same_source(wrong, aer) < 1e-9
    assert goodness_of_fit(execute(parameters, SHOTS, 0.0, seed), with_flips(exact, n, 0.12)) < 1e-9
