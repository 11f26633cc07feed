"""What IBM's client reads beside results: instances, calibrations, private jobs, metrics, versions."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import pytest

from asgi_endpoint import EndpointClient, flip_circuit, open_client, sampler
from harness import run_virtual
from shotclock.emulator.rest.backends import KEPT_CALIBRATIONS

JOB = (flip_circuit(), None, 100)
CONFIGURATION = "/backends/ibm_torino/configuration"
PROPERTIES = "/backends/ibm_torino/properties"


async def calibrate(endpoint_client: EndpointClient, times: int = 1) -> None:
    for _ in range(times):
        assert (
            await endpoint_client.call("POST", "/emulator/faults", {"fault": "calibration"})
        ).status == 200


def test_a_private_job_shows_no_inputs_and_its_results_once() -> None:
    async def scenario() -> None:
        client = open_client()
        job_id = await client.run_job(sampler(JOB), private=True)
        document = (await client.call("GET", f"/jobs/{job_id}")).json
        assert document["private"] is True
        assert "params" not in document
        first = await client.call("GET", f"/jobs/{job_id}/results")
        second = await client.call("GET", f"/jobs/{job_id}/results")
        assert (first.status, second.status) == (200, 404)
        assert "private" in second.json["errors"][0]["message"]
        assert (await client.call("GET", f"/jobs/{job_id}")).json["state"]["status"] == "Completed"

    run_virtual(scenario())


def test_any_other_job_shows_its_inputs_and_its_results_again() -> None:
    async def scenario() -> None:
        client = open_client()
        params = sampler(JOB)
        job_id = await client.run_job(params)
        assert (await client.call("GET", f"/jobs/{job_id}")).json["params"] == params
        texts = [(await client.call("GET", f"/jobs/{job_id}/results")).text for _ in range(2)]
        assert texts[0] == texts[1]

    run_virtual(scenario())


def test_why_a_private_job_failed_may_be_read_again() -> None:
    async def scenario() -> None:
        client = open_client("colocated", "fail@1")
        job_id = (await client.submit(sampler(JOB), private=True)).json["id"]
        assert await client.wait_ended(job_id) == "Failed"
        assert [(await client.call("GET", f"/jobs/{job_id}/results")).status for _ in range(2)] == [200, 200]

    run_virtual(scenario())


def test_metrics_and_the_job_say_what_ran_it() -> None:
    async def scenario() -> None:
        client = open_client()
        job_id = await client.run_job(sampler(JOB), runtime="mine:1")
        assert (await client.call("GET", f"/jobs/{job_id}/metrics")).json["qiskit_version"] == version(
            "qiskit"
        )
        assert (await client.call("GET", f"/jobs/{job_id}")).json["runtime"] == "mine:1"
        plain = await client.run_job(sampler(JOB))
        assert (await client.call("GET", f"/jobs/{plain}")).json["runtime"] == ""

    run_virtual(scenario())


def test_a_calibration_is_served_and_taken_by_its_id() -> None:
    async def scenario() -> None:
        client = open_client()
        before = (await client.call("GET", PROPERTIES)).json
        await calibrate(client)
        after = (await client.call("GET", PROPERTIES)).json
        assert after != before
        ids = (await client.call("GET", "/emulator")).json["calibrations"]["ibm_torino"]
        assert len(ids) == 2
        served = [(await client.call("GET", f"{PROPERTIES}?calibration_id={one_id}")).json for one_id in ids]
        assert served == [before, after]
        assert (await client.call("GET", f"{CONFIGURATION}?calibration_id={ids[0]}")).status == 200
        job_id = await client.run_job(sampler(JOB), calibration_id=ids[0])
        assert (await client.call("GET", f"/jobs/{job_id}")).json["calibration_id"] == ids[0]

    run_virtual(scenario())


def test_a_calibration_that_does_not_exist_is_refused_with_those_that_do() -> None:
    async def scenario() -> None:
        client = open_client()
        refused: list[Any] = [
            await client.call("GET", f"{CONFIGURATION}?calibration_id=mine"),
            await client.call("GET", f"{PROPERTIES}?calibration_id=mine"),
            await client.submit(sampler(JOB), calibration_id="mine"),
        ]
        assert [answer.status for answer in refused] == [404, 404, 400]
        for answer in refused:
            message = answer.json["errors"][0]["message"]
            assert "'mine'" in message
            assert "ibm_torino-0" in message
        assert not client.endpoint.workloads.jobs

    run_virtual(scenario())


def test_properties_of_a_date_are_the_latest_before_it() -> None:
    async def scenario() -> None:
        client = open_client()
        snapshot = (await client.call("GET", PROPERTIES)).json
        await calibrate(client)
        now = client.endpoint.time.stamp(client.endpoint.time.now_s() + 1.0).replace("+", "%2B")

        async def at(moment: str) -> Any:
            return (await client.call("GET", f"{PROPERTIES}?updated_before={moment}")).json

        assert await at("2026-01-01T00:00:00") == snapshot
        assert (await at(now))["last_update_date"] != snapshot["last_update_date"]
        assert await at("2020-01-01T00:00:00Z") == {}
        assert (await client.call("GET", f"{PROPERTIES}?updated_before=soon")).status == 400

    run_virtual(scenario())


def test_calibrations_are_kept_for_a_while_and_not_for_ever() -> None:
    async def scenario() -> None:
        client = open_client()
        await calibrate(client, KEPT_CALIBRATIONS)
        ids = (await client.call("GET", "/emulator")).json["calibrations"]["ibm_torino"]
        assert len(ids) == KEPT_CALIBRATIONS
        assert "ibm_torino-0" not in ids

    run_virtual(scenario())


@pytest.mark.parametrize(("price", "kind"), [(0.0, "free"), (1.6, "paygo")])
def test_the_instance_is_listed_as_the_cloud_lists_instances(price: float, kind: str) -> None:
    async def scenario() -> None:
        client = open_client("colocated", "500@1-9", price_per_s=price)
        client.headers = {}
        response = await client.call("POST", "/global-search/v3/resources/search?limit=100", {"query": "x"})
        (instance,) = response.json["items"]
        assert instance["crn"].startswith("crn:v1:bluemix:public:quantum-computing:us-east:")
        assert instance["doc"]["extensions"]
        plan = await client.call("GET", f"/global-catalog/{instance['service_plan_unique_id']}")
        assert plan.json["metadata"]["pricing"]["type"] == kind
        assert plan.json["overview_ui"]["en"]["display_name"] == "emulated"
        assert (await client.call("GET", "/global-catalog/none")).status == 404

    run_virtual(scenario())


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("qiskit-version-2/qiskit_ibm_runtime-0.48.2,qiskit-2.5.0*/qiskit", 400),
        ("qiskit-version-2/qiskit_ibm_runtime-0.9.0,qiskit-0.46.0*/qiskit", 400),
        ("qiskit-version-2/qiskit_ibm_runtime-0.49.0,qiskit-2.6.0*/qiskit", 200),
        ("qiskit-version-2/qiskit_ibm_runtime-0.51.0,qiskit-2.6.2*/qiskit", 200),
        ("qiskit-version-2/qiskit_ibm_runtime-1.0.0,qiskit-2.6.2*/qiskit", 200),
        ("/qiskit", 200),
        ("", 200),
    ],
)
def test_a_client_that_is_too_old_is_refused_with_its_version(header: str, status: int) -> None:
    async def scenario() -> None:
        client = open_client()
        client.headers["x-qx-client-application"] = header
        answer = await client.call("GET", "/backends")
        assert answer.status == status
        if status == 400:
            (error,) = answer.json["errors"]
            assert "older than 0.49" in error["message"]
            assert "pip install" in error["solution"]

    run_virtual(scenario())
