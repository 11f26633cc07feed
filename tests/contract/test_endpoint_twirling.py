"""The old SamplerV2's twirling and dynamical decoupling, which the service does: bits, shots, spans, time."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ibm_quantum_schemas.sampler.version_0_1 import PrimitiveResultWrapperModel
from qiskit import QuantumCircuit, generate_preset_pass_manager
from qiskit.circuit import Parameter
from qiskit.primitives import PrimitiveResult
from qiskit_ibm_runtime.execution_span import TwirledSliceSpanV2
from qiskit_ibm_runtime.json import RuntimeDecoder

from asgi_endpoint import open_client, sampler
from harness import run_virtual
from shotclock.emulator import device

TWIRLED = {"enable_gates": True, "enable_measure": True}


def make_sweep() -> QuantumCircuit:
    """Reads 011, and 111 at an angle of π."""
    circuit = QuantumCircuit(3, 3, metadata={"mine": 1})
    circuit.x(0)
    circuit.cx(0, 1)
    circuit.rx(Parameter("a"), 2)
    circuit.measure(range(3), range(3))
    passes = generate_preset_pass_manager(1, target=device.target("heron-torino"), seed_transpiler=3)
    return passes.run(circuit)


async def run(*pubs: Any, **options: Any) -> tuple[PrimitiveResult, Any]:
    """The result as the client decodes it, and the job."""
    client = open_client()
    sent = sampler(*pubs)
    sent["options"] = options
    job_id = await client.run_job(sent)
    text = (await client.call("GET", f"/jobs/{job_id}/results")).text
    PrimitiveResultWrapperModel.model_validate_json(text)
    return json.loads(text, cls=RuntimeDecoder), client.endpoint.job(job_id)


@pytest.mark.parametrize(
    "options",
    [
        {"twirling": TWIRLED},
        {"twirling": {"enable_measure": True}},
        {"twirling": TWIRLED | {"strategy": "all"}, "dynamical_decoupling": {"enable": True}},
        {"dynamical_decoupling": {"enable": True, "sequence_type": "XpXm"}},
        {"dynamical_decoupling": {"enable": True, "sequence_type": "XY4", "scheduling_method": "asap"}},
    ],
)
def test_the_circuit_is_the_same_and_so_are_its_bits(options: Any) -> None:
    async def scenario() -> None:
        result, _ = await run((make_sweep(), [[0.0], [3.14159]], 1000), (make_sweep(), [0.0], 300), **options)
        first, second = (pub.data.c for pub in result)
        assert (first.shape, first.num_shots, second.shape, second.num_shots) == ((2,), 1000, (), 300)
        # λ is about 0.05, so that a word of three bits comes out as it should nine times of ten.
        assert first.get_counts(0)["011"] > 880
        assert first.get_counts(1)["111"] > 880
        assert second.get_counts()["011"] > 260
        assert [pub.metadata["circuit_metadata"] for pub in result] == [{"mine": 1}, {"mine": 1}]

    run_virtual(scenario())


def test_randomizations_take_time_and_shots_are_those_asked_for() -> None:
    async def scenario() -> None:
        pubs = (
            (make_sweep(), [0.0], 1000),
            (make_sweep(), [0.0], 100),
            (make_sweep(), [0.0]),
        )
        result, job = await run(*pubs, twirling=TWIRLED, default_shots=640)
        assert [pub.data.c.num_shots for pub in result] == [1000, 100, 640]
        # 64 shots each at least: 16, 2 and 10 randomizations.
        assert [pub.metadata["num_randomizations"] for pub in result] == [16, 2, 10]
        assert [item.executions * item.shots for item in job.prepared.items] == [1024, 128, 640]
        (span,) = result.metadata["execution"]["execution_spans"]
        assert isinstance(span, TwirledSliceSpanV2)
        assert [span.mask(number).shape for number in range(3)] == [(1000,), (100,), (640,)]

    run_virtual(scenario())


def test_the_product_of_both_numbers_beats_a_default_but_not_a_pubs_shots() -> None:
    async def scenario() -> None:
        twirling = TWIRLED | {"num_randomizations": 4, "shots_per_randomization": 30}
        result, _ = await run((make_sweep(), [0.0]), (make_sweep(), [0.0], 100), twirling=twirling)
        assert [pub.data.c.num_shots for pub in result] == [120, 100]

    run_virtual(scenario())


def test_decoupling_of_a_circuit_with_control_flow_is_refused_at_submit() -> None:
    async def scenario() -> None:
        circuit = QuantumCircuit(133, 1)
        circuit.measure(0, 0)
        with circuit.if_test((circuit.clbits[0], 1)):
            circuit.x(0)
        sent = sampler((circuit, None, 10))
        sent["options"] = {"dynamical_decoupling": {"enable": True}}
        answer = await open_client().submit(sent)
        assert answer.status == 400
        assert "dynamic circuits" in answer.json["errors"][0]["message"]

    run_virtual(scenario())


def test_plain_openqasm_is_decoupled_too() -> None:
    async def scenario() -> None:
        text = 'OPENQASM 3.0; include "stdgates.inc"; bit[2] c; x $3; delay[1000dt] $4; cz $3, $4;'
        pub = [f"{text} c[0] = measure $3; c[1] = measure $4;", None, 400]
        client = open_client()
        options = {"dynamical_decoupling": {"enable": True}}
        job_id = await client.run_job({"pubs": [pub], "version": 2, "options": options})
        text = (await client.call("GET", f"/jobs/{job_id}/results")).text
        assert json.loads(text, cls=RuntimeDecoder)[0].data.c.get_counts()["01"] > 340

    run_virtual(scenario())
