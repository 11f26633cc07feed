"""EstimatorV2 at the endpoint: values against Qiskit's own estimator, time, options, refusals.

The device's noise replaces a measured bit by a random one with chance λ, so that a Pauli term of weight w
keeps (1−λ)^w of its value. Seeds are fixed: every test is deterministic.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from ibm_quantum_schemas.estimator.version_0_1 import PrimitiveResultWrapperModel
from qiskit import QuantumCircuit, generate_preset_pass_manager
from qiskit.circuit import ParameterVector
from qiskit.primitives import PrimitiveResult, StatevectorEstimator
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.quantum_info import SparsePauliOp
from qiskit_ibm_runtime import EstimatorV2, QiskitRuntimeService, SamplerV2, Session
from qiskit_ibm_runtime.exceptions import IBMRuntimeError
from qiskit_ibm_runtime.executor_estimator import Estimator
from qiskit_ibm_runtime.json import RuntimeDecoder, RuntimeEncoder

from asgi_endpoint import EndpointClient, open_client
from harness import run_virtual
from ibm_endpoint import start_endpoint
from shotclock.emulator import device

TARGET = device.target("heron-torino")
READ_OUT = device.describe("heron-torino").noise_base
SIGMAS = 5.0
# No term of these is the same after a permutation of the qubits, in either direction.
OBSERVABLES = (
    SparsePauliOp.from_list([("ZIIX", 0.7), ("IYIZ", -1.3), ("IIII", 0.25)]),
    SparsePauliOp.from_list([("XIZI", 1.0)]),
    SparsePauliOp.from_list([("IIZY", -0.5), ("ZZII", 2.0)]),
)


def ansatz() -> QuantumCircuit:
    """Four qubits in unlike states, twelve parameters: t[10] and t[11] sort before t[2] as words."""
    angles = ParameterVector("t", 12)
    circuit = QuantumCircuit(4, metadata={"mine": 3})
    for number in range(12):
        circuit.ry(angles[number], number % 4)
        if number % 4 == 3:
            circuit.cx(0, 1)
            circuit.cx(2, 3)
    circuit.rx(0.4, 3)
    return circuit


def compile_circuit(circuit: QuantumCircuit) -> QuantumCircuit:
    """On qubits of the device that are in no order."""
    passes = generate_preset_pass_manager(1, target=TARGET, initial_layout=[6, 4, 5, 3], seed_transpiler=1)
    return passes.run(circuit)


def ideal(circuit: QuantumCircuit, observable: SparsePauliOp, values: Any, share_kept: float = 1.0) -> Any:
    """The expectation value where each Pauli keeps this share of its value."""
    weights = [sum(letter != "I" for letter in label) for label in observable.paulis.to_labels()]
    faded = SparsePauliOp(observable.paulis, observable.coeffs * np.power(share_kept, weights))
    return StatevectorEstimator().run([(circuit, faded, values)]).result()[0].data.evs


def params(*pubs: Any, level: int = 0, **options: Any) -> Any:
    """Params as EstimatorV2 sends them."""
    document = {
        "pubs": [EstimatorPub.coerce(pub) for pub in pubs],
        "version": 2,
        "support_qiskit": True,
        "options": options,
        "resilience_level": level,
    }
    return json.loads(json.dumps(document, cls=RuntimeEncoder))


async def estimate(endpoint_client: EndpointClient, sent: Any) -> tuple[PrimitiveResult, Any]:
    """The result as the client decodes it, and the job."""
    job_id = await endpoint_client.run_job(sent, "estimator")
    text = (await endpoint_client.call("GET", f"/jobs/{job_id}/results")).text
    PrimitiveResultWrapperModel.model_validate_json(text)
    return json.loads(text, cls=RuntimeDecoder), endpoint_client.endpoint.job(job_id)


def lay_out(isa: QuantumCircuit, observables: Sequence[SparsePauliOp] = OBSERVABLES) -> list[SparsePauliOp]:
    return [observable.apply_layout(isa.layout) for observable in observables]


@pytest.mark.parametrize("level", [0, 1])
def test_values_are_those_of_qiskits_estimator_but_for_the_devices_noise(level: int) -> None:
    async def scenario() -> None:
        circuit, values = ansatz(), np.linspace(0.2, 2.4, 24).reshape(2, 12)
        isa = compile_circuit(circuit)
        observables = [[observable] for observable in lay_out(isa)]
        result, job = await estimate(open_client(), params((isa, observables, values), level=level))
        data = result[0].data
        assert data.evs.shape == data.stds.shape == data.ensemble_standard_error.shape == (3, 2)
        share_kept = 1.0 - job.plan.flip_probabilities[0]
        # Level 1 divides by what a read-out without gates keeps.
        share_kept = share_kept / (1.0 - READ_OUT) if level else share_kept
        expected = [ideal(circuit, observable, values, share_kept) for observable in OBSERVABLES]
        assert np.all(np.abs(data.evs - expected) < SIGMAS * data.ensemble_standard_error + 0.01)
        assert np.all(data.ensemble_standard_error < 0.06)
        assert np.std(expected) > 0.2

    run_virtual(scenario())


def test_level_2_extrapolates_circuits_that_were_folded() -> None:
    async def scenario() -> None:
        circuit = QuantumCircuit(2)
        circuit.ry(0.8, 0)
        for _ in range(9):
            circuit.cx(0, 1)
        passes = generate_preset_pass_manager(0, target=TARGET, initial_layout=[5, 6])
        isa = passes.run(circuit)
        observable = SparsePauliOp("ZI")
        sent = params((isa, observable.apply_layout(isa.layout)), level=2, default_shots=20_000)
        result, job = await estimate(open_client(), sent)
        data = result[0].data
        assert data.evs_noise_factors.shape == (3,)
        assert data.evs_extrapolated.shape == (2, 4)
        once, thrice, five_times = (
            1.0 - flip_probability for flip_probability in job.plan.flip_probabilities[:3]
        )
        exact = float(ideal(circuit, observable, []))
        expected = exact * np.array([once, thrice, five_times]) / (1.0 - READ_OUT)
        assert np.all(np.abs(data.evs_noise_factors - expected) < SIGMAS * data.stds_noise_factors)
        assert abs(float(data.evs) - exact) < SIGMAS * float(data.stds)
        assert result[0].metadata["resilience"]["zne"]["extrapolator"] == ["exponential"]
        assert result.metadata["resilience"]["zne"]["noise_factors"] == [1.0, 3.0, 5.0]

    run_virtual(scenario())


@pytest.mark.parametrize("source", ["learned", "given"])
def test_pec_undoes_the_noise_of_layers_that_the_job_learns_or_brings(source: str) -> None:
    async def scenario() -> None:
        circuit = QuantumCircuit(2)
        circuit.ry(0.8, 0)
        for _ in range(31):
            circuit.cx(0, 1)
        isa = generate_preset_pass_manager(0, target=TARGET, initial_layout=[5, 6]).run(circuit)
        observable = SparsePauliOp("ZI")
        client = open_client()
        resilience: dict[str, Any] = {"pec_mitigation": True}
        if source == "given":
            learner = json.loads(json.dumps({"circuits": [isa], "version": 2}, cls=RuntimeEncoder))
            job_id = await client.run_job(learner, "noise-learner")
            document = json.loads((await client.call("GET", f"/jobs/{job_id}/results")).text)
            resilience["layer_noise_model"] = document["data"]
        pub = (isa, observable.apply_layout(isa.layout))
        sent = params(pub, level=1, default_shots=20_000, resilience=resilience)
        result, job = await estimate(client, sent)
        raw, _ = await estimate(open_client(), params(pub, level=1, default_shots=20_000))
        exact, data = float(ideal(circuit, observable, [])), result[0].data
        assert abs(float(data.evs) - exact) < 4.0 * float(data.stds)
        assert abs(float(raw[0].data.evs) - exact) > 0.03
        learning = [item for item in job.prepared.items if item.shape[:1] == (9,)]
        assert len(learning) == (6 if source == "learned" else 0)

    run_virtual(scenario())


def test_each_measurement_basis_is_a_circuit_that_takes_its_time() -> None:
    async def scenario() -> None:
        isa = compile_circuit(ansatz())
        values = np.zeros(12)
        bases = ("ZZII", "XXII", "YYII")
        client_alone, client_of_three = open_client(), open_client()
        alone = params((isa, lay_out(isa, [SparsePauliOp(bases[0])]), values), default_shots=1000)
        apart = lay_out(isa, [SparsePauliOp(label) for label in bases])
        _, first = await estimate(client_alone, alone)
        _, second = await estimate(client_of_three, params((isa, apart, values), default_shots=1000))
        metrics = (await client_of_three.call("GET", f"/jobs/{second.id}/metrics")).json
        assert metrics["executions"] == 3000
        # A Y basis has two RZ more than an X basis, which take no time, and one SX more than Z.
        assert second.plan.shooting_s == pytest.approx(3 * first.plan.shooting_s, rel=1e-3)
        assert client_of_three.endpoint.account.consumed_s == pytest.approx(second.plan.qpu_s)

    run_virtual(scenario())


def test_observables_and_values_are_broadcast_in_any_dimension() -> None:
    async def scenario() -> None:
        circuit, values = ansatz(), np.linspace(0.0, 3.0, 36).reshape(3, 12)
        isa = compile_circuit(circuit)
        first, second, third = lay_out(isa)
        observables = [[[first], [second]], [[third], [first]]]
        result, job = await estimate(open_client(), params((isa, observables, values), default_shots=2000))
        data = result[0].data
        assert data.shape == data.evs.shape == (2, 2, 3)
        share_kept = 1.0 - job.plan.flip_probabilities[0]
        for place, number in {(0, 0): 0, (0, 1): 1, (1, 0): 2, (1, 1): 0}.items():
            expected = ideal(circuit, OBSERVABLES[number], values, share_kept)
            assert np.all(np.abs(data.evs[place] - expected) < SIGMAS * data.stds[place] + 0.01)

    run_virtual(scenario())


def test_precision_and_shots_are_those_asked_for_pub_by_pub() -> None:
    async def scenario() -> None:
        isa = compile_circuit(QuantumCircuit(4))
        observable = SparsePauliOp("ZZZZ").apply_layout(isa.layout)
        pubs = [(isa, observable, None, precision) for precision in (0.1, None, 0.05, 0.1)]
        result, _ = await estimate(open_client(), params(*pubs, default_shots=900))
        assert [pub.metadata["shots"] for pub in result] == [100, 900, 400, 100]
        assert [pub.metadata["target_precision"] for pub in result] == [0.1, pytest.approx(1 / 30), 0.05, 0.1]
        by_precision, _ = await estimate(open_client(), params((isa, observable), default_precision=0.02))
        assert by_precision[0].metadata["shots"] == 2500
        # Both numbers of the twirling options give way to shots that were asked for, not to a default.
        twirling = {"enable_measure": True, "num_randomizations": 5, "shots_per_randomization": 10}
        pubs = [(isa, observable, None, 0.1), (isa, observable, None, None)]
        twirled, _ = await estimate(open_client(), params(*pubs, twirling=twirling))
        assert [pub.metadata["shots"] for pub in twirled] == [100, 50]
        assert [pub.metadata["num_randomizations"] for pub in twirled] == [5, 5]

    run_virtual(scenario())


def test_metadata_say_what_was_applied() -> None:
    async def scenario() -> None:
        circuit = ansatz()
        isa = compile_circuit(circuit)
        pub = (isa, lay_out(isa), np.zeros(12), 0.1)
        result, _ = await estimate(open_client(), params(pub, level=1, dynamical_decoupling={"enable": True}))
        assert result[0].metadata["circuit_metadata"] == {"mine": 3}
        assert result.metadata["version"] == 2
        assert result.metadata["dynamical_decoupling"]["enable"] is True
        assert result.metadata["twirling"]["enable_measure"] is True
        assert result.metadata["resilience"]["measure_mitigation"] is True
        assert result.metadata["resilience"]["zne_mitigation"] is False

    run_virtual(scenario())


def change_params(**members: Any) -> Any:
    return params((compile_circuit(QuantumCircuit(4)), SparsePauliOp("Z" * 133))) | members


def with_pub(place: int, member: Any) -> Any:
    sent = change_params()
    sent["pubs"][0][place] = member
    return sent


REFUSED: list[tuple[Any, str]] = [
    (
        change_params(options={"resilience": {"pec_mitigation": True, "zne_mitigation": True}}),
        "pec_mitigation",
    ),
    (change_params(options={"experimental": {"any": 1}}), "experimental"),
    (
        change_params(options={"resilience": {"measure_noise_learning": {"shots_per_randomization": 7}}}),
        "measure_noise_learning",
    ),
    (change_params(options={"resilience": {"zne_mitigation": True, "zne": {"amplifier": "pea"}}}), "pea"),
    (change_params(options={"nothing": 1}), "nothing"),
    (change_params(resilience_level=3), "resilience_level"),
    (change_params(pubs=[]), "pubs"),
    (change_params(pubs=[[1]]), "pub 0"),
    (with_pub(1, [{"Z": 1.0}]), "133"),
    (with_pub(1, {"Q" * 133: 1.0}), "Only I, X, Y, Z"),
    (with_pub(2, [0.5]), "0 parameters"),
    (with_pub(3, 0.0), "greater than 0"),
    (with_pub(0, 'OPENQASM 3.0; include "stdgates.inc"; qubit[1] q; h q[0];'), "pub 0"),
]


@pytest.mark.parametrize(("sent", "word"), REFUSED)
def test_what_is_not_applied_or_not_valid_is_refused_at_submit_in_ibms_form(sent: Any, word: str) -> None:
    async def scenario() -> None:
        client = open_client()
        answer = await client.submit(sent, "estimator")
        assert answer.status == 400
        (error,) = answer.json["errors"]
        assert error["code"] == 1208
        assert word in error["message"]
        assert "\n" not in error["message"]
        assert not client.endpoint.workloads.jobs

    run_virtual(scenario())


def test_a_failed_estimator_job_costs_nothing_and_a_cancelled_one_what_it_used() -> None:
    async def scenario() -> None:
        isa = compile_circuit(QuantumCircuit(4))
        sent = params((isa, SparsePauliOp("ZIIX").apply_layout(isa.layout)))
        client = open_client("colocated", "fail@1")
        job_id = (await client.submit(sent, "estimator")).json["id"]
        assert await client.wait_ended(job_id) == "Failed"
        assert client.endpoint.account.consumed_s == 0.0
        job_id = (await client.submit(sent, "estimator", cost=1)).json["id"]
        assert await client.wait_ended(job_id) == "Cancelled"
        assert client.endpoint.account.consumed_s == pytest.approx(1.0)

    run_virtual(scenario())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_ibms_client_runs_both_estimators_in_a_session_and_reads_a_job_of_the_past() -> None:
    with start_endpoint(speed=100.0):
        service = QiskitRuntimeService()
        backend = service.backend("ibm_torino")
        circuit, values = ansatz(), np.linspace(0.2, 2.4, 12)
        isa = compile_circuit(circuit)
        pub = (isa, lay_out(isa), values)
        exact = np.array([float(ideal(circuit, observable, values)) for observable in OBSERVABLES])
        with Session(backend=backend) as session:
            old = EstimatorV2(mode=session).run([pub])
            new = Estimator(mode=session).run([pub])
            for job in (old, new):
                data = job.result()[0].data
                assert np.all(np.abs(data.evs - exact) < SIGMAS * data.stds + 0.1)
        past = service.job(old.job_id())
        assert past.primitive_id == "estimator"
        assert past.session_id == session.session_id
        assert np.array_equal(past.result()[0].data.evs, old.result()[0].data.evs)
        assert np.array_equal(past.inputs["pubs"][0][2], values)
        estimator = EstimatorV2(mode=backend, options={"experimental": {"any": 1}})
        with pytest.raises(IBMRuntimeError, match=r"options\.experimental is not emulated"):
            estimator.run([pub])
        sampler = SamplerV2(mode=backend)
        sampler.options.dynamical_decoupling.enable = True
        flipped = QuantumCircuit(133, 1)
        flipped.x(0)
        flipped.measure(0, 0)
        assert sampler.run([flipped], shots=200).result()[0].data.c.get_counts()["1"] > 170
