"""Requests that make no sense: each is refused as IBM's API does, and none is remembered."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import zlib
from dataclasses import replace
from typing import Any, NoReturn

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit_ibm_runtime.options_models.executor import ExecutorOptions
from qiskit_ibm_runtime.quantum_program import QuantumProgram
from qiskit_ibm_runtime.quantum_program.converters.converters_2_0 import quantum_program_to_2_0
from starlette.requests import Request

from asgi_endpoint import STARTED_UNIX_S, flip_circuit, open_client, sampler
from harness import Inline, run_virtual
from heavy_circuits import hostile
from shotclock.domain.errors import WorkerError, WorkerFault
from shotclock.emulator.rest import bodies, programs
from shotclock.emulator.rest.errors import refuse

INFINITE = float("inf")
QASM = 'OPENQASM 3.0; include "stdgates.inc"; bit[1] c; x $0; c[0] = measure $0;'

TURNED = 'OPENQASM 3.0; include "stdgates.inc"; input float[64] a; bit[1] c; rz(a) $0; c[0] = measure $0;'


def plain(*pub: Any, **more: Any) -> Any:
    return {"pubs": [list(pub)], "version": 2} | more


def make_rotation() -> QuantumCircuit:
    """One parameter, one bit."""
    circuit = QuantumCircuit(133, 1)
    circuit.rz(Parameter("a"), 0)
    circuit.measure(0, 0)
    return circuit


def make_typed_pub(values: Any) -> Any:
    """A PUB as SamplerV2 sends it, with these values whatever they are."""
    content = io.BytesIO()
    np.save(content, values)
    params = sampler((make_rotation(), [0.1], 10))
    packed = base64.b64encode(zlib.compress(content.getvalue())).decode()
    params["pubs"][0][1] = {"__type__": "ndarray", "__value__": packed}
    return params


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"", "JSON"),
        (b"{]", "JSON"),
        (b"\xff\xfe", "JSON"),
        (b"[" * 100_000, "nested"),
        (b"[]", "dictionary"),
        (b"null", "dictionary"),
    ],
)
def test_a_body_that_is_no_job_is_refused(body: bytes, word: str) -> None:
    async def scenario() -> None:
        answer = await open_client().call("POST", "/jobs", body)
        assert answer.status == 400
        (error,) = answer.json["errors"]
        assert error["code"] == 1208
        assert word in error["message"]

    run_virtual(scenario())


def test_an_input_larger_than_ibm_takes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "MAX_BYTES", 1_000)

    async def scenario() -> None:
        answer = await open_client().submit(plain(QASM + "//" + "x" * 1_000))
        assert answer.status == 413
        assert "1000" in answer.json["errors"][0]["message"]

    run_virtual(scenario())


@pytest.mark.parametrize(
    ("params", "word"),
    [
        (plain(QASM, options=[1]), "options"),
        (plain(QASM, options="none"), "options"),
        (plain(QASM, None, 0), "greater than 0"),
        (plain(QASM, shots=0), "greater than 0"),
        (plain(QASM, None, 10, "more"), "pubs.0"),
        (plain("garbage"), "line 1:7"),
        (sampler((make_rotation(), [[0.1]] * 101, 100_000)), "10000000"),
        (sampler((make_rotation(), [[0.1], [float("nan")]], 10)), "finite"),
        (make_typed_pub(np.array([0.1 + 3j])), "complex"),
        (make_typed_pub(np.array(["3.1"])), "real numbers"),
        (make_typed_pub(np.array(["2020-01-01"], dtype="M8[D]")), "real numbers"),
        (make_typed_pub(np.zeros(1, dtype=[("a", float)])), "real numbers"),
        (make_typed_pub(np.zeros((0, 1))), "at least one row"),
        (plain(TURNED, [10**400], 10), "too large"),
        (plain(TURNED.replace("rz(a)", "rz(1/a)"), [[0.5], [0.0]], 10), "no value"),
    ],
)
def test_a_program_that_cannot_run_is_refused_with_the_reason(params: Any, word: str) -> None:
    async def scenario() -> None:
        client = open_client()
        answer = await client.submit(params)
        assert answer.status == 400
        (error,) = answer.json["errors"]
        assert word in error["message"]
        assert not client.endpoint.workloads.jobs

    run_virtual(scenario())


def make_doubling_circuit(levels: int) -> QuantumCircuit:
    """Gates of which each is the one before, twice: small as QPY."""
    circuit = QuantumCircuit(1)
    circuit.x(0)
    for _ in range(levels):
        gate, circuit = circuit.to_gate(), QuantumCircuit(1)
        circuit.append(gate, [0])
        circuit.append(gate, [0])
    circuit.measure_all()
    return circuit


def make_program(circuit: QuantumCircuit) -> Any:
    """As the executor takes it."""
    program = QuantumProgram(shots=10)
    program.append_circuit_item(circuit)
    return quantum_program_to_2_0(program, ExecutorOptions()).model_dump(mode="json")


HOSTILE = [("sampler", plain(source), word) for word, source in hostile().items()] + [
    ("sampler", sampler((make_doubling_circuit(6), None, 10)), "of definitions, at most 100"),
    ("executor", make_program(make_doubling_circuit(6)), "of definitions, at most 100"),
    ("sampler", make_typed_pub(np.zeros(9 * 2**20)), "more than 67108864 bytes unpacked"),
]


@pytest.mark.parametrize(("program", "params", "word"), HOSTILE)
def test_a_program_that_would_grow_beyond_every_limit_is_refused_before_it_does(
    program: str, params: Any, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "LIMITS", replace(programs.LIMITS, gates=100))

    async def scenario() -> None:
        answer = await open_client().submit(params, program)
        assert answer.status == 400
        (error,) = answer.json["errors"]
        assert word in error["message"]

    run_virtual(scenario())


def test_a_limit_without_an_end_is_refused_and_listings_go_on() -> None:
    async def scenario() -> None:
        client = open_client()
        assert (await client.submit(sampler((flip_circuit(), None, 10)), cost=INFINITE)).status == 400
        endless = {"backend": "ibm_torino", "max_ttl": INFINITE}
        assert (await client.call("POST", "/sessions", endless)).status == 400
        assert (await client.call("GET", "/jobs")).json["count"] == 0

    run_virtual(scenario())


@pytest.mark.parametrize("query", ["limit=%C2%B2", "limit=-1", "offset=x", f"limit={'9' * 5_000}"])
def test_a_page_that_is_no_number_is_refused(query: str) -> None:
    async def scenario() -> None:
        assert (await open_client().call("GET", f"/jobs?{query}")).status == 400

    run_virtual(scenario())


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/programs", 404), ("PUT", "/jobs", 405), ("POST", "/emulator/account", 404)],
)
def test_missing_things_are_reported_as_ibm_reports_errors(method: str, path: str, status: int) -> None:
    async def scenario() -> None:
        answer = await open_client().call(method, path)
        assert answer.status == status
        assert path in answer.json["errors"][0]["message"]

    run_virtual(scenario())


def test_a_program_that_is_not_emulated_is_refused_with_those_that_are() -> None:
    async def scenario() -> None:
        answer = await open_client().submit(sampler((flip_circuit(), None, 10)), "circuit-runner")
        assert answer.status == 404
        (error,) = answer.json["errors"]
        assert "'circuit-runner'" in error["message"]
        assert "sampler, estimator, executor, noise-learner" in error["solution"]

    run_virtual(scenario())


def test_a_worker_that_died_is_a_server_error_and_the_next_submit_passes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def raise_dead_worker(*arguments: Any) -> NoReturn:
        raise WorkerError(WorkerFault.DIED, "the worker process died")

    async def scenario() -> None:
        client = open_client()
        with monkeypatch.context() as patched:
            patched.setattr(Inline, "run", raise_dead_worker)
            answer = await client.submit(plain(QASM, None, 10))
        assert (answer.status, answer.json["errors"][0]["code"]) == (500, 1000)
        assert (await client.submit(plain(QASM, None, 10))).status == 200

    run_virtual(scenario())


def test_what_nobody_has_foreseen_is_a_server_error_as_ibm_writes_it() -> None:
    answer = asyncio.run(refuse(Request({"type": "http"}), LookupError("a defect")))
    assert answer.status_code == 500
    assert json.loads(bytes(answer.body))["errors"][0]["code"] == 1000


def test_a_fault_at_a_request_beyond_all_counting_is_one_line() -> None:
    async def scenario() -> None:
        answer = await open_client().call("POST", "/emulator/faults", {"fault": "slow@" + "9" * 5_000})
        assert answer.status == 400
        assert answer.text.count("\n") == 1

    run_virtual(scenario())


def test_a_job_of_an_earlier_start_is_not_found_nor_taken_for_another() -> None:
    async def scenario() -> None:
        before, after = open_client(), open_client(started_unix_s=STARTED_UNIX_S + 60.0)
        job_id = (await before.submit(plain(QASM, None, 10))).json["id"]
        await after.submit(plain(QASM, None, 20))
        answer = await after.call("GET", f"/jobs/{job_id}")
        assert answer.status == 404
        assert answer.json["errors"][0]["code"] == "not_found"

    run_virtual(scenario())


def test_documents_of_errors_have_ibms_members() -> None:
    async def scenario() -> None:
        document = json.loads((await open_client().call("GET", "/jobs/none")).text)
        assert set(document) == {"errors", "trace"}
        assert set(document["errors"][0]) == {"code", "message", "solution", "more_info"}

    run_virtual(scenario())
