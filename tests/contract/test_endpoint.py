"""The API's contract, on virtual time: documents, results, lanes, the queue, determinism."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
from typing import Any

import numpy as np
import pytest
from ibm_quantum_schemas.executor.version_2_0 import QuantumProgramResultModel
from ibm_quantum_schemas.sampler.version_0_1 import PrimitiveResultWrapperModel
from qiskit import QuantumCircuit, generate_preset_pass_manager, qasm3
from qiskit.circuit import ClassicalRegister, Parameter, QuantumRegister
from qiskit_ibm_runtime.json import RuntimeDecoder
from qiskit_ibm_runtime.options_models.executor import ExecutorOptions
from qiskit_ibm_runtime.quantum_program import QuantumProgram
from qiskit_ibm_runtime.quantum_program.converters.converters_2_0 import quantum_program_to_2_0

from asgi_endpoint import EndpointClient, facts_of, flip_circuit, open_client, sampler
from harness import run_virtual
from shotclock.emulator import device
from shotclock.emulator.figures import Lognormal

JOB = (flip_circuit(), None, 1000)


def make_sweep() -> QuantumCircuit:
    """Two registers and a parameter on three qubits, compiled for the device."""
    angle = Parameter("a")
    first, second = ClassicalRegister(2, "first"), ClassicalRegister(1, "second")
    circuit = QuantumCircuit(QuantumRegister(3), first, second)
    circuit.x(0)
    circuit.cx(0, 1)
    circuit.rx(angle, 2)
    circuit.measure([0, 1], first)
    circuit.measure(2, second)
    target = device.target("heron-torino")
    return generate_preset_pass_manager(1, target=target, seed_transpiler=1).run(circuit)


def waits(median_s: float, p99_s: float) -> Lognormal:
    source = {"unit": "s", "tag": "assumed", "source": "a number for this test"}
    return Lognormal.model_validate(
        {"kind": "lognormal", "median": {"value": median_s} | source, "p99": {"value": p99_s} | source}
    )


async def results(endpoint_client: EndpointClient, job_id: str) -> str:
    answer = await endpoint_client.call("GET", f"/jobs/{job_id}/results")
    assert answer.status == 200
    return answer.text


def test_a_token_says_when_it_was_issued_and_when_it_ends() -> None:
    async def scenario() -> None:
        answer = (await open_client().call("POST", "/identity/token")).json
        claims = json.loads(base64.urlsafe_b64decode(answer["access_token"].split(".")[1] + "=="))
        assert claims["exp"] - claims["iat"] == answer["expires_in"]
        assert answer["expiration"] == claims["exp"]

    run_virtual(scenario())


@pytest.mark.parametrize("prefix", ["", "/experimental", "/api/v1", "/v1"])
def test_every_address_clients_use_leads_to_the_api(prefix: str) -> None:
    async def scenario() -> None:
        client = open_client()
        (device,) = (await client.call("GET", f"{prefix}/backends")).json["devices"]
        assert device["name"] == "ibm_torino"
        assert device["qubits"] == 133
        status = (await client.call("GET", f"{prefix}/backends/ibm_torino/status")).json
        assert (status["state"], status["status"], status["message"]) == (True, "active", "EMULATED")
        configuration = (await client.call("GET", f"{prefix}/backends/ibm_torino/configuration")).json
        assert configuration["n_qubits"] == 133

    run_virtual(scenario())


def test_sampler_results_keep_ibms_schema_with_sweeps_and_several_registers() -> None:
    async def scenario() -> None:
        client = open_client()
        circuit = make_sweep()
        params = sampler((circuit, [[0.0], [np.pi]], 200), (flip_circuit(2), None, 100))
        job_id = await client.run_job(params)
        text = await results(client, job_id)
        PrimitiveResultWrapperModel.model_validate_json(text)
        decoded = json.loads(text, cls=RuntimeDecoder)
        first = decoded[0].data
        assert first.shape == (2,)
        assert first.first.num_bits == 2
        assert first.second.num_shots == 200
        read = [first.second.get_counts(row).get("1", 0) for row in range(2)]
        assert read[0] < 40
        assert read[1] > 160
        assert decoded[1].data.c.get_counts()["11"] > 80
        (span,) = decoded.metadata["execution"]["execution_spans"]
        shooting_s = (span.stop - span.start).total_seconds()
        assert shooting_s == pytest.approx(client.endpoint.job(job_id).plan.shooting_s, abs=1e-5)
        assert span.size == 2 * 200 + 100

    run_virtual(scenario())


def test_executor_results_keep_ibms_schema_and_echo_what_came_with_them() -> None:
    async def scenario() -> None:
        client = open_client()
        program = QuantumProgram(shots=50, passthrough_data={"mine": [1, "two"]})
        program.append_circuit_item(make_sweep(), circuit_arguments=np.zeros((4, 1)))
        program._semantic_role = "sampler_v2"
        params = quantum_program_to_2_0(program, ExecutorOptions()).model_dump(mode="json")
        job_id = await client.run_job(params, "executor")
        model = QuantumProgramResultModel.model_validate_json(await results(client, job_id))
        assert model.passthrough_data == {"mine": [1, "two"]}
        assert model.semantic_role == "sampler_v2"
        assert model.data[0].results["first"].to_numpy().shape == (4, 50, 2)
        (part,) = model.metadata.chunk_timing[0].parts
        assert part.size == 4

    run_virtual(scenario())


def test_the_rest_apis_plain_pubs_are_taken_as_qrmi_sends_them() -> None:
    async def scenario() -> None:
        client = open_client()
        pub = [qasm3.dumps(make_sweep()), [[3.14159]]]
        text = await results(
            client, await client.run_job({"pubs": [pub], "version": 2, "shots": 77, "options": {}})
        )
        data = json.loads(text, cls=RuntimeDecoder)[0].data
        assert data.second.num_shots == 77
        assert data.second.get_counts(0)["1"] > 60

    run_virtual(scenario())


BAD: list[tuple[dict[str, Any], int, str]] = [
    ({"params": {"pubs": [], "version": 3}}, 400, "version"),
    ({"params": {"pubs": [], "version": 2}}, 400, "pubs"),
    ({"params": {"pubs": [["OPENQASM 3; what"]], "version": 2}}, 400, "OpenQASM 3"),
    (
        {
            "params": {
                "pubs": [['OPENQASM 3.0; include "stdgates.inc"; bit c; h $0; c = measure $0;']],
                "version": 2,
            }
        },
        400,
        "pub 0",
    ),
    ({"params": sampler((flip_circuit(), None, 200_000))}, 400, "200000"),
    ({"params": sampler(JOB, rep_delay=1.0)}, 400, "rep_delay"),
    ({"params": sampler(JOB, meas_type="kerneled")}, 400, "kerneled"),
    ({"program_id": "circuit-runner"}, 404, "circuit-runner"),
    ({"backend": "ibm_nowhere"}, 404, "ibm_nowhere"),
    ({"session_id": "none"}, 404, "none"),
    ({"cost": -1}, 400, "cost"),
    ({"params": "text"}, 400, "params"),
    ({"params": sampler((flip_circuit(), None, 1), rep_delay=-1.0)}, 400, "rep_delay"),
]


@pytest.mark.parametrize(("wrong", "status", "word"), BAD)
def test_a_bad_request_is_refused_in_ibms_shape(wrong: dict[str, Any], status: int, word: str) -> None:
    async def scenario() -> None:
        client = open_client()
        body = {"program_id": "sampler", "backend": "ibm_torino", "params": sampler(JOB)} | wrong
        answer = await client.call("POST", "/jobs", body)
        assert answer.status == status, answer.text
        (error,) = answer.json["errors"]
        assert {"code", "message", "solution", "more_info"} <= error.keys()
        assert word in error["message"]
        assert "trace" in answer.json
        assert (await client.call("GET", "/jobs")).json["count"] == 0

    run_virtual(scenario())


def test_without_a_token_nothing_is_served() -> None:
    async def scenario() -> None:
        client = open_client()
        client.headers = {}
        assert (await client.call("GET", "/backends")).status == 401

    run_virtual(scenario())


def test_jobs_are_found_by_their_tags_and_filters() -> None:
    async def scenario() -> None:
        client = open_client()
        first = (await client.submit(sampler(JOB), tags=["a", "b"])).json["id"]
        second = (await client.submit(sampler(JOB), tags=["a"])).json["id"]

        async def find_jobs(query: str) -> list[str]:
            return [job["id"] for job in (await client.call("GET", f"/jobs?{query}")).json["jobs"]]

        assert await find_jobs("tags=a") == [second, first]
        assert await find_jobs("tags=a&tags=b") == [first]
        assert await find_jobs("tags=a&sort=ASC&limit=1&offset=1") == [second]
        assert await find_jobs("pending=true") == [second, first]
        assert await find_jobs("session_id=none") == []
        await client.wait_ended(first)
        await client.wait_ended(second)
        assert await find_jobs("pending=true") == []
        assert (await client.call("PUT", f"/jobs/{first}/tags", {"tags": ["new"]})).status == 204
        assert await find_jobs("tags=new") == [first]

    run_virtual(scenario())


def test_five_jobs_are_running_and_one_at_a_time_has_the_qpu() -> None:
    async def scenario() -> None:
        client = open_client("onprem-today")
        jobs = [(await client.submit(sampler(JOB))).json["id"] for _ in range(7)]
        await asyncio.sleep(0.1)
        states = [await client.state(job_id) for job_id in jobs]
        assert states == ["Running"] * 5 + ["Queued"] * 2
        assert (await client.call("GET", "/backends/ibm_torino/status")).json["length_queue"] == 2
        for job_id in jobs:
            await client.wait_ended(job_id)
        locked = [client.endpoint.job(job_id).locked[0] for job_id in jobs]
        assert all(before.end_s <= after.start_s for before, after in itertools.pairwise(locked))
        assert facts_of("heron-torino").lanes == 5

    run_virtual(scenario())


def test_the_public_queue_keeps_no_order_and_its_positions_are_recomputed() -> None:
    async def scenario() -> None:
        client = open_client("onprem-today", queue=waits(60.0, 3600.0))
        jobs = [(await client.submit(sampler(JOB))).json["id"] for _ in range(12)]
        positions: dict[str, list[int]] = {job_id: [] for job_id in jobs}
        while any([await client.state(job_id) == "Queued" for job_id in jobs]):
            for job_id in jobs:
                metrics = (await client.call("GET", f"/jobs/{job_id}/metrics")).json
                if "position_in_queue" in metrics:
                    positions[job_id].append(metrics["position_in_queue"])
            await asyncio.sleep(10.0)
        started = [client.endpoint.job(job_id).locked[0].start_s for job_id in jobs]
        assert started != sorted(started)
        worse = [
            after > before for places in positions.values() for before, after in itertools.pairwise(places)
        ]
        assert any(worse)
        assert not all(worse)

    run_virtual(scenario())


def test_the_same_seed_and_requests_give_the_same_times_and_samples() -> None:
    async def scenario(seed: int) -> tuple[str, str]:
        client = open_client("colocated", seed=seed, queue=waits(5.0, 60.0))
        job_id = await client.run_job(sampler((make_sweep(), [[1.0]], 300)))
        return (await client.call("GET", f"/jobs/{job_id}/metrics")).text, await results(client, job_id)

    assert run_virtual(scenario(3)) == run_virtual(scenario(3))
    assert run_virtual(scenario(3))[1] != run_virtual(scenario(4))[1]


def test_a_speed_shortens_waiting_and_no_stamp() -> None:
    async def scenario(speed: float) -> tuple[float, Any]:
        client = open_client("onprem-today", speed=speed)
        loop = asyncio.get_running_loop()
        began = loop.time()
        job_id = (await client.submit(sampler(JOB))).json["id"]
        await client.wait_ended(job_id, poll_s=0.001)
        job = (await client.call("GET", f"/jobs/{job_id}")).json
        assert job["emulated"]["speed"] == speed
        return loop.time() - began, client.endpoint.job(job_id).locked[0].seconds

    slow, slow_s = run_virtual(scenario(1.0))
    fast, fast_s = run_virtual(scenario(100.0))
    assert slow > 2.0
    assert fast < slow / 50
    assert slow_s == pytest.approx(fast_s)


@pytest.mark.parametrize("speed", [1.0, 10.0])
def test_every_request_takes_the_networks_round_trip(speed: float) -> None:
    async def scenario() -> list[float]:
        client = open_client("public-cloud", speed=speed)
        loop = asyncio.get_running_loop()
        round_trips_s = []
        for path in ("/backends", "/instances/usage", "/emulator/account"):
            began = loop.time()
            assert (await client.call("GET", path)).status == 200
            round_trips_s.append(loop.time() - began)
        return round_trips_s

    # the emulator's own pages are not part of what is emulated
    assert run_virtual(scenario()) == pytest.approx([0.025 / speed, 0.025 / speed, 0.0], abs=1e-6)


def test_the_sixth_submit_of_a_minute_is_too_many_on_the_public_cloud() -> None:
    async def scenario() -> None:
        client = open_client("public-cloud")
        answers = [await client.submit(sampler(JOB)) for _ in range(6)]
        assert [answer.status for answer in answers] == [200] * 5 + [429]
        assert answers[-1].json["errors"][0]["code"] == 1202
        await asyncio.sleep(12.0)
        assert (await client.submit(sampler(JOB))).status == 200

    run_virtual(scenario())


def test_usage_has_the_words_of_the_version_that_asks() -> None:
    async def scenario() -> None:
        client = open_client()
        job_id = await client.run_job(sampler(JOB))
        await asyncio.sleep(3.0)
        assert set((await client.call("GET", f"/jobs/{job_id}/metrics")).json["usage"]) == {
            "qpu_charge_time_seconds",
            "status",
        }
        client.headers["ibm-api-version"] = "2025-05-01"
        usage = (await client.call("GET", f"/jobs/{job_id}/metrics")).json["usage"]
        assert usage["quantum_seconds"] == usage["seconds"] == usage["qpu_charge_time_seconds"] > 0

    run_virtual(scenario())


def test_what_a_client_asks_to_pay_at_most_ends_its_job_with_1305() -> None:
    async def scenario() -> None:
        client = open_client("onprem-today")
        job_id = (await client.submit(sampler((flip_circuit(), None, 100_000)), cost=10)).json["id"]
        assert await client.wait_ended(job_id) == "Cancelled"
        job = (await client.call("GET", f"/jobs/{job_id}")).json
        assert job["state"]["reason_code"] == 1305
        assert job["status"] == "Cancelled - Ran too long"
        (charge,) = (await client.call("GET", "/emulator/account")).json["charges"]
        assert charge["seconds"] == pytest.approx(10.0)

    run_virtual(scenario())


def test_a_closed_session_finishes_its_jobs_and_a_cancelled_one_drops_those_that_wait() -> None:
    async def scenario() -> None:
        client = open_client("onprem-today")
        for leave, states in (("PATCH", ["Completed", "Completed"]), ("DELETE", ["Completed", "Cancelled"])):
            opened = await client.call("POST", "/sessions", {"mode": "dedicated", "backend": "ibm_torino"})
            session_id = opened.json["id"]
            jobs = [(await client.submit(sampler(JOB), session_id=session_id)).json["id"] for _ in range(2)]
            await asyncio.sleep(1.0)
            path = f"/sessions/{session_id}" + ("/close" if leave == "DELETE" else "")
            assert (await client.call(leave, path, {"accepting_jobs": False})).status == 204
            assert [await client.wait_ended(job_id) for job_id in jobs] == states
            assert (await client.call("GET", f"/sessions/{session_id}")).json["state"] == "closed"

    run_virtual(scenario())
