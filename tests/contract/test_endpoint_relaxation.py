"""Qubits decay with T1 and T2 while they wait: values against the formulas, within binomial error.

A measured bit is replaced by a random one with chance λ (the surrogate noise), whatever decayed before.
Seeds are fixed: every test is deterministic.
"""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit_ibm_runtime.json import RuntimeDecoder

from asgi_endpoint import EndpointClient, open_client, sampler
from harness import run_virtual
from shotclock.emulator import device

TARGET = device.target("heron-torino")
QUBIT, NEIGHBOUR = 5, 6
T1_S, T2_S = (float(getattr(TARGET.qubit_properties[QUBIT], name)) for name in ("t1", "t2"))
SHOTS = 20_000
SIGMAS = 4.5
# Of amplitude damping that a density matrix or trajectories show, gates' idle waits included.
SLACK = 0.002


def dt(seconds: float) -> int:
    return round(seconds / float(TARGET.dt))


def make_circuit(bits: int = 1) -> QuantumCircuit:
    return QuantumCircuit(133, bits)


def add_gates(circuit: QuantumCircuit, kind: str) -> QuantumCircuit:
    """Makes the qubit's part one for its Bloch vector, for a density matrix or for trajectories."""
    width = {"bloch": 0, "density": 1, "trajectories": 8}[kind]
    for qubit in range(NEIGHBOUR, NEIGHBOUR + width):
        circuit.cz(qubit - 1, qubit)  # the next qubit is in |0>: nothing happens to this one
    if width:
        circuit.reset(NEIGHBOUR)  # so that nobody recognises a QAOA circuit
    return circuit


async def measure_ones(
    endpoint_client: EndpointClient, circuit: QuantumCircuit, shots: int = SHOTS, **options: Any
) -> tuple[Any, float]:
    """The share of ones in each classical bit, and λ."""
    sent = sampler((circuit, None, shots))
    sent["options"] |= options
    job_id = await endpoint_client.run_job(sent)
    text = (await endpoint_client.call("GET", f"/jobs/{job_id}/results")).text
    bits = json.loads(text, cls=RuntimeDecoder)[0].data.c.to_bool_array(order="little")
    return bits.mean(axis=0), endpoint_client.endpoint.job(job_id).plan.flip_probabilities[0]


def check(excited: float, chance: float, noise: float, shots: int = SHOTS) -> None:
    """`chance`: of a one before the surrogate noise."""
    expected = (1.0 - noise) * chance + 0.5 * noise
    assert abs(excited - expected) < SIGMAS * math.sqrt(expected * (1.0 - expected) / shots) + SLACK


@pytest.mark.parametrize("kind", ["bloch", "density"])
@pytest.mark.parametrize("waits", [0.3, 1.0, 2.0])
def test_excitation_decays_with_t1(waits: float, kind: str) -> None:
    async def scenario() -> None:
        circuit = make_circuit()
        circuit.x(QUBIT)
        circuit.delay(dt(waits * T1_S), QUBIT)
        add_gates(circuit, kind).measure(QUBIT, 0)
        (excited,), noise = await measure_ones(open_client(), circuit)
        check(excited, math.exp(-waits), noise)

    run_virtual(scenario())


def test_a_part_too_wide_for_a_density_matrix_decays_by_trajectories() -> None:
    async def scenario() -> None:
        circuit = make_circuit()
        circuit.x(QUBIT)
        circuit.delay(dt(T1_S), QUBIT)
        add_gates(circuit, "trajectories").measure(QUBIT, 0)
        (excited,), noise = await measure_ones(open_client(), circuit, 4_000)
        check(excited, math.exp(-1.0), noise, 4_000)

    run_virtual(scenario())


@pytest.mark.parametrize("kind", ["bloch", "density"])
@pytest.mark.parametrize("echo", [False, True])
def test_coherence_decays_with_t2_and_an_echo_restores_nothing(echo: bool, kind: str) -> None:
    async def scenario() -> None:
        circuit = make_circuit()
        circuit.sx(QUBIT)
        circuit.delay(dt(0.5 * T2_S), QUBIT)
        if echo:
            circuit.x(QUBIT)
        circuit.delay(dt(0.5 * T2_S), QUBIT)
        circuit.sx(QUBIT)
        add_gates(circuit, kind).measure(QUBIT, 0)
        (excited,), noise = await measure_ones(open_client(), circuit)
        sign = -1.0 if echo else 1.0
        check(excited, 0.5 * (1.0 + sign * math.exp(-1.0)), noise)

    run_virtual(scenario())


def test_a_ramsey_fringe_shrinks_about_one_half() -> None:
    async def scenario() -> None:
        client = open_client()
        for phase in (0.0, 0.5 * np.pi, np.pi):
            circuit = make_circuit()
            circuit.sx(QUBIT)
            circuit.delay(dt(T2_S), QUBIT)
            circuit.rz(phase, QUBIT)
            circuit.sx(QUBIT)
            circuit.measure(QUBIT, 0)
            (excited,), noise = await measure_ones(client, circuit)
            check(excited, 0.5 * (1.0 + math.exp(-1.0) * math.cos(phase)), noise)

    run_virtual(scenario())


def test_a_qubit_decays_while_another_is_busy_but_not_before_its_first_gate() -> None:
    async def scenario() -> None:
        circuit = make_circuit(3)
        late, early = QUBIT, 20
        circuit.x(early)
        circuit.barrier(early, NEIGHBOUR)
        circuit.delay(dt(T1_S), NEIGHBOUR)
        circuit.barrier(early, NEIGHBOUR, late)
        circuit.x(late)
        for bit, qubit in enumerate((late, early, NEIGHBOUR)):
            circuit.measure(qubit, bit)
        excited, noise = await measure_ones(open_client(), circuit)
        check(excited[0], 1.0, noise)
        check(excited[1], math.exp(-T1_S / TARGET.qubit_properties[early].t1), noise)
        check(excited[2], 0.0, noise)

    run_virtual(scenario())


def test_a_delay_inside_control_flow_counts() -> None:
    async def scenario() -> None:
        circuit = make_circuit(2)
        circuit.x(QUBIT)
        circuit.measure(QUBIT, 0)
        with circuit.if_test((circuit.clbits[0], 1)):
            circuit.delay(dt(T1_S), QUBIT)
        circuit.measure(QUBIT, 1)
        excited, noise = await measure_ones(open_client(), circuit, 4_000)
        check(excited[1], math.exp(-1.0), noise, 4_000)

    run_virtual(scenario())


def test_seconds_in_openqasm_are_as_long_as_device_ticks() -> None:
    async def scenario() -> None:
        text = f'include "stdgates.inc"; bit[1] c; x ${QUBIT}; delay[{T1_S:.12f}s] ${QUBIT};'
        pubs = [[f"OPENQASM 3.0; {text} c[0] = measure ${QUBIT};", None, SHOTS]]
        client = open_client()
        job_id = await client.run_job({"pubs": pubs, "version": 2})
        answer = await client.call("GET", f"/jobs/{job_id}/results")
        bits = json.loads(answer.text, cls=RuntimeDecoder)[0].data.c
        (noise,) = client.endpoint.job(job_id).plan.flip_probabilities
        check(bits.get_counts()["1"] / SHOTS, math.exp(-1.0), noise)

    run_virtual(scenario())


def test_a_calibration_changes_how_fast_qubits_decay_as_its_properties_say() -> None:
    async def scenario() -> None:
        client = open_client()
        circuit = make_circuit()
        circuit.x(QUBIT)
        circuit.delay(dt(T1_S), QUBIT)
        circuit.measure(QUBIT, 0)
        await client.call("POST", "/emulator/faults", {"fault": "calibration"})
        await client.call("GET", "/backends")
        properties = (await client.call("GET", "/backends/ibm_torino/properties")).json
        (t1_us,) = (value["value"] for value in properties["qubits"][QUBIT] if value["name"] == "T1")
        assert abs(t1_us * 1e-6 - T1_S) > 0.02 * T1_S
        (excited,), noise = await measure_ones(client, circuit)
        check(excited, math.exp(-T1_S / (t1_us * 1e-6)), noise)

    run_virtual(scenario())


@pytest.mark.parametrize("sequence", ["", "XX", "XpXm", "XY4"])
def test_decoupling_on_the_server_puts_pulses_into_a_wait(sequence: str) -> None:
    async def scenario() -> None:
        circuit = make_circuit()
        circuit.x(QUBIT)
        circuit.delay(dt(2.0 * T1_S), QUBIT)
        circuit.measure(QUBIT, 0)
        # A pulse turns what is left of the excitation around: half the time the qubit is in its ground state.
        chance, slots = 1.0, {"": (), "XX": (1, 2), "XpXm": (1, 2), "XY4": (1, 2, 2, 2)}[sequence]
        for slot in slots:
            chance = 1.0 - chance * math.exp(-2.0 * slot / (2 * len(slots)))
        chance *= math.exp(-2.0 / (2 * len(slots))) if slots else math.exp(-2.0)
        decoupling = {"enable": True, "sequence_type": sequence} if sequence else {"enable": False}
        (excited,), noise = await measure_ones(open_client(), circuit, dynamical_decoupling=decoupling)
        check(excited, chance, noise)

    run_virtual(scenario())
