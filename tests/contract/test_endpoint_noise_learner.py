"""NoiseLearner and NoiseLearnerV3 at the endpoint: the device's own rates, after the learning's time."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from ibm_quantum_schemas.noise_learner_v2.version_0_1 import ResultsModel
from qiskit import QuantumCircuit, generate_preset_pass_manager
from qiskit.circuit import CircuitInstruction
from qiskit_ibm_runtime.decoders.noise_learner import NoiseLearnerResultDecoder
from qiskit_ibm_runtime.decoders.noise_learner_v3.decoder import NoiseLearnerV3ResultDecoder
from qiskit_ibm_runtime.json import RuntimeEncoder
from qiskit_ibm_runtime.noise_learner_v3.params_converters import NOISE_LEARNER_V3_PARAMS_CONVERTERS
from qiskit_ibm_runtime.options_models.noise_learner_v3 import NoiseLearnerV3Options
from samplomatic.transpiler import generate_boxing_pass_manager
from samplomatic.utils import find_unique_box_instructions

from asgi_endpoint import EndpointClient, facts_of, open_client
from harness import run_virtual
from shotclock.emulator import device

TARGET = device.target("heron-torino")
FACTS = facts_of("heron-torino")
LAYER = FACTS.noise_per_gate_layer * FACTS.noise_exposure
PAULI_RATE = -0.25 * math.log(1.0 - LAYER)
READ_OUT_RATE = -0.5 * math.log(1.0 - FACTS.noise_base)
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def make_layers() -> QuantumCircuit:
    """CZ on (5, 6) three times and on (3, 4) once, apart."""
    circuit = QuantumCircuit(4)
    for pair in ((2, 3), (0, 1), (2, 3), (2, 3)):
        circuit.sx(range(4))
        circuit.cz(*pair)
        circuit.barrier()
    passes = generate_preset_pass_manager(0, target=TARGET, initial_layout=[3, 4, 5, 6])
    return passes.run(circuit)


def version_2(**options: Any) -> Any:
    document = {"circuits": [make_layers()], "version": 2, "options": options}
    return json.loads(json.dumps(document, cls=RuntimeEncoder))


def boxes() -> list[CircuitInstruction]:
    circuit = make_layers()
    circuit.measure_active()
    boxed = generate_boxing_pass_manager(twirling_strategy="active").run(circuit)
    return list(find_unique_box_instructions(boxed))


def version_3(schema: str, **options: Any) -> Any:
    encode = NOISE_LEARNER_V3_PARAMS_CONVERTERS[schema].encoder
    document = encode(boxes(), NoiseLearnerV3Options(**options))
    return document.model_dump(mode="json") | {"version": 3}


async def learn(endpoint_client: EndpointClient, sent: Any) -> tuple[str, Any]:
    job_id = await endpoint_client.run_job(sent, "noise-learner")
    return (await endpoint_client.call("GET", f"/jobs/{job_id}/results")).text, endpoint_client.endpoint.job(
        job_id
    )


def test_layers_come_with_the_most_frequent_first_and_the_devices_own_rates() -> None:
    async def scenario() -> None:
        text, job = await learn(open_client(), version_2(twirling_strategy="active"))
        ResultsModel.model_validate_json(text)
        result = NoiseLearnerResultDecoder.decode(text)
        assert [sorted(layer.qubits) for layer in result.data] == [[5, 6], [3, 4]]
        for layer in result.data:
            (gate,) = [instruction for instruction in layer.circuit.data if instruction.name != "barrier"]
            assert gate.name == "cz"
            error = layer.error
            assert sorted(error.generators.to_labels()) == ["IX", "IY", "IZ", "XI", "YI", "ZI"]
            assert np.allclose(error.rates, PAULI_RATE)
        assert result.metadata["backend"] == "ibm_torino"
        assert result.metadata["input_options"]["num_randomizations"] == 32
        # Two layers, six depths, nine bases, 32 randomizations, 128 shots.
        executions = sum(item.executions * item.shots for item in job.prepared.items)
        assert executions == 2 * 6 * 9 * 32 * 128

    run_virtual(scenario())


def test_what_a_layer_does_to_a_pauli_is_what_the_samples_show() -> None:
    """Of weight w, exp(−4rw) = (1−λ')^w: what the emulator's depth adds to λ."""
    step = FACTS.flip_probability_at_depth(1, FACTS.rep_delay_default_s) - FACTS.noise_base
    assert math.exp(-4.0 * PAULI_RATE) == pytest.approx(1.0 - step)


def test_fewer_layers_depths_and_shots_take_less_time() -> None:
    async def scenario() -> None:
        client_a, client_b = open_client(), open_client()
        _, all_of_it = await learn(client_a, version_2(layer_pair_depths=[0, 4]))
        text, less = await learn(client_b, version_2(layer_pair_depths=[0, 4], max_layers_to_learn=1))
        assert len(NoiseLearnerResultDecoder.decode(text).data) == 1
        assert less.plan.shooting_s < 0.6 * all_of_it.plan.shooting_s
        assert client_b.endpoint.account.consumed_s == pytest.approx(less.plan.qpu_s)
        shallow, deep = less.prepared.items
        cz_s = TARGET["cz"][(5, 6)].duration
        assert deep.duration_s - shallow.duration_s == pytest.approx(8 * cz_s)

    run_virtual(scenario())


@pytest.mark.parametrize("schema", ["v0.1", "v0.2", "v0.3"])
def test_boxes_are_learned_one_by_one_with_the_read_out(schema: str) -> None:
    async def scenario() -> None:
        text, _ = await learn(open_client(), version_3(schema))
        results = NoiseLearnerV3ResultDecoder.decode(text).data
        kinds = [result.metadata["learning_protocol"] for result in results]
        assert sorted(set(kinds)) == ["lindblad", "trex"]
        for kind, box, result in zip(kinds, boxes(), results, strict=True):
            learned_map = result.to_pauli_lindblad_map()
            assert learned_map.num_qubits == len(box.qubits)
            layer = any(instruction.name == "cz" for instruction in box.operation.body)
            rate = READ_OUT_RATE if kind == "trex" else PAULI_RATE if layer else 0.0
            assert np.allclose(learned_map.rates, rate)
            assert learned_map.num_terms == len(box.qubits) * (1 if kind == "trex" else 3)

    run_virtual(scenario())


REFUSED: list[tuple[Any, str]] = [
    (version_2() | {"circuits": []}, "no layer"),
    (version_2(experimental={"any": 1}), "experimental"),
    (version_2(nothing=1), "nothing"),
    (version_3("v0.3", bit_flip_checks={"post_circuit": {"enable": True}}), "bit_flip_checks"),
    (version_3("v0.3") | {"options": {"post_selection": {"enable": True}}}, "post_selection"),
    (version_3("v0.3") | {"schema_version": "v9.9"}, "v9.9"),
]


@pytest.mark.parametrize(("sent", "word"), REFUSED)
def test_what_cannot_be_learned_is_refused_at_submit(sent: Any, word: str) -> None:
    async def scenario() -> None:
        answer = await open_client().submit(sent, "noise-learner")
        assert answer.status == 400
        (error,) = answer.json["errors"]
        assert error["code"] == 1208
        assert word in error["message"]

    run_virtual(scenario())
