"""What circuits the endpoint offers to run, and what it answers to those that it cannot time or run."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.circuit.classical import expr, types
from qiskit_ibm_runtime.circuit import MidCircuitMeasure
from qiskit_ibm_runtime.json import RuntimeDecoder

from asgi_endpoint import EndpointClient, open_client, sampler
from harness import run_virtual

Build = Callable[[QuantumCircuit], object]


def circuit_of(build: Build) -> QuantumCircuit:
    """133 qubits and two bits; build adds instructions, then both bits are measured."""
    circuit = QuantumCircuit(133, 2)
    circuit.x(0)
    build(circuit)
    circuit.measure([0, 1], [0, 1])
    return circuit


def openqasm(body: str) -> Any:
    head = 'OPENQASM 3.0; include "stdgates.inc"; bit[1] c;'
    return {"pubs": [[f"{head} {body} c[0] = measure $0;", None, 100]], "version": 2}


def delay_by_parameter(circuit: QuantumCircuit) -> None:
    circuit.delay(Parameter("d"), 0, "us")


def stretch(circuit: QuantumCircuit) -> None:
    circuit.delay(circuit.add_stretch("s"), 0)


def stretch_in_a_block(circuit: QuantumCircuit) -> None:
    duration = circuit.add_stretch("s")
    circuit.measure(0, 0)
    with circuit.if_test((0, 1)):
        circuit.delay(duration, 1)


def delay_by_parameter_in_a_block(circuit: QuantumCircuit) -> None:
    circuit.measure(0, 0)
    with circuit.if_test((0, 1)):
        circuit.delay(Parameter("d"), 1, "dt")


def boolean_variable(circuit: QuantumCircuit) -> None:
    flag = circuit.add_var("flag", expr.lift(True))
    with circuit.if_test(flag):
        circuit.x(1)


def integer_arithmetic(circuit: QuantumCircuit) -> None:
    number = circuit.add_var("number", expr.lift(5, types.Uint(8)))
    circuit.store(number, expr.add(number, expr.lift(2, types.Uint(8))))


def real_variable(circuit: QuantumCircuit) -> None:
    number = circuit.add_var("number", expr.lift(5.0))
    with circuit.if_test(expr.less(number, 7.0)):
        circuit.x(1)


def loop_without_end(circuit: QuantumCircuit) -> None:
    with circuit.for_loop(range(10**9)):
        circuit.x(0)


REFUSED: list[tuple[Build, str]] = [
    (stretch, "stretches"),
    (stretch_in_a_block, "stretches"),
    (lambda circuit: circuit.delay(100, 0, "us"), "unit"),
    (lambda circuit: circuit.delay(0.5, 0, "s"), "unit"),
    (delay_by_parameter, "unit"),
    (delay_by_parameter_in_a_block, "unit"),
    (boolean_variable, "simulator"),
    (integer_arithmetic, "simulator"),
    (real_variable, "simulator"),
    (loop_without_end, "unroll"),
    (lambda circuit: circuit.append(MidCircuitMeasure(), [0], [0]), "measure_2"),
    (lambda circuit: circuit.rzz(2.0, 0, 1), "rzz"),
]


@pytest.mark.parametrize(("build", "word"), REFUSED)
def test_a_circuit_that_cannot_be_timed_or_run_is_refused_at_its_submit(build: Build, word: str) -> None:
    """With a client's error, which clients do not repeat, and no job left behind."""
    circuit = circuit_of(build)

    async def scenario() -> None:
        client = open_client()
        answer = await client.submit(sampler((circuit, [100.0] * circuit.num_parameters, 10)))
        assert answer.status == 400, answer.text
        (error,) = answer.json["errors"]
        assert error["code"] == 1208
        assert "pub 0" in error["message"]
        assert word in error["message"]
        assert "\n" not in error["message"]
        assert not client.endpoint.workloads.jobs

    run_virtual(scenario())


def test_a_parameter_takes_an_rzz_no_further_than_its_calibration() -> None:
    circuit = circuit_of(lambda circuit: circuit.rzz(Parameter("a"), 0, 1))

    async def scenario() -> None:
        client = open_client()
        answer = await client.submit(sampler((circuit, [[0.5], [2.0]], 10)))
        assert answer.status == 400
        assert "rzz" in answer.json["errors"][0]["message"]
        assert (await client.submit(sampler((circuit, [[0.5], [1.5]], 10)))).status == 200

    run_virtual(scenario())


async def duration_s(endpoint_client: EndpointClient, params: Any) -> float:
    """How long one shot's circuit takes, as the endpoint times it."""
    return endpoint_client.endpoint.job(await endpoint_client.run_job(params)).prepared.items[0].duration_s


@pytest.mark.parametrize(
    ("delay", "seconds"),
    [("100us", 1e-4), ("0.5ms", 5e-4), ("20000ns", 2e-5), ("1s", 1.0), ("25000dt", 1e-4)],
)
def test_a_delay_lasts_what_its_unit_says(delay: str, seconds: float) -> None:
    async def scenario() -> None:
        client = open_client()
        longer = await duration_s(client, openqasm(f"x $0; delay[{delay}] $0;"))
        shorter = await duration_s(client, openqasm("x $0;"))
        assert longer - shorter == pytest.approx(seconds, rel=1e-6)

    run_virtual(scenario())


def test_a_loop_takes_as_many_times_its_body() -> None:
    def make_loop(times: int) -> Any:
        def loop(circuit: QuantumCircuit) -> None:
            with circuit.for_loop(range(times)):
                circuit.delay(1000, 0, "dt")

        return sampler((circuit_of(loop), None, 10))

    async def scenario() -> None:
        client = open_client()
        five, two = await duration_s(client, make_loop(5)), await duration_s(client, make_loop(2))
        assert five - two == pytest.approx(3 * 4e-6)

    run_virtual(scenario())


def test_dynamic_circuits_run_and_the_configuration_says_so() -> None:
    def add_feed_forward(circuit: QuantumCircuit) -> None:
        circuit.measure(0, 0)
        with circuit.if_test((0, 1)):
            circuit.x(1)

    async def scenario() -> None:
        client = open_client()
        configuration = (await client.call("GET", "/backends/ibm_torino/configuration")).json
        assert {"dynamic_circuits", "qasm3"} <= set(configuration["supported_features"])
        job_id = await client.run_job(sampler((circuit_of(add_feed_forward), None, 200)))
        counts = json.loads((await client.call("GET", f"/jobs/{job_id}/results")).text, cls=RuntimeDecoder)[
            0
        ].data.c.get_counts()
        assert counts["11"] > 150

    run_virtual(scenario())


def test_fractional_gates_are_offered_with_lengths_and_run() -> None:
    circuit = QuantumCircuit(133, 2)
    circuit.rx(1.5707963, 0)
    circuit.rzz(1.5707963, 0, 1)
    circuit.rx(1.5707963, 0)
    circuit.measure([0, 1], [0, 1])

    async def scenario() -> None:
        client = open_client()
        configuration = (await client.call("GET", "/backends/ibm_torino/configuration")).json
        assert {"rx", "rzz"} <= set(configuration["basis_gates"])
        job_id = await client.run_job(sampler((circuit, None, 1000)))
        item = client.endpoint.job(job_id).prepared.items[0]
        properties = (await client.call("GET", "/backends/ibm_torino/properties")).json
        lengths_s = sum(
            value["value"] * 1e-9
            for name, qubits, times in (("rx", [0], 2), ("rzz", [0, 1], 1))
            for gate in properties["gates"]
            if gate["gate"] == name and gate["qubits"] == qubits
            for value in gate["parameters"] * times
            if value["name"] == "gate_length"
        )
        assert item.duration_s > lengths_s > 0.0
        assert item.two_qubit_depth == 1
        counts = json.loads((await client.call("GET", f"/jobs/{job_id}/results")).text, cls=RuntimeDecoder)[
            0
        ].data.c.get_counts()
        # RX, a phase of either sign, RX: even odds.
        assert 400 < counts.get("00", 0) < 600
        assert 400 < counts.get("01", 0) < 600

    run_virtual(scenario())
