"""Every fault the endpoint can be asked for, by schedule and by request, on virtual time."""

from __future__ import annotations

import asyncio
import json

import pytest

from asgi_endpoint import EndpointClient, flip_circuit, open_client, sampler
from harness import run_virtual
from shotclock.domain.errors import SettingsError
from shotclock.emulator.rest.faults import MEANINGS, FaultPlan, FaultRule, InjectedFault, Scope, parse
from shotclock.emulator.rest.jobs import EndpointJob

JOB = (flip_circuit(), None, 1000)


async def job_of(endpoint_client: EndpointClient) -> EndpointJob:
    """The one job there is, ended."""
    (job_id,) = endpoint_client.endpoint.workloads.jobs
    await endpoint_client.wait_ended(job_id)
    return endpoint_client.endpoint.job(job_id)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("500", FaultRule(InjectedFault.SERVER_ERROR, first=1, last=1)),
        ("slow@3", FaultRule(InjectedFault.SLOW, first=3, last=3)),
        ("503@2-6", FaultRule(InjectedFault.UNAVAILABLE, first=2, last=6)),
        ("drop-before/4", FaultRule(InjectedFault.DROP_BEFORE, every=4)),
        ("FAIL:0.25", FaultRule(InjectedFault.FAIL, rate=0.25)),
        ("429@1", FaultRule(InjectedFault.TOO_MANY_REQUESTS, first=1, last=1)),
        ("timeout", FaultRule(InjectedFault.RAN_TOO_LONG, first=1, last=1)),
    ],
)
def test_a_rule_says_what_and_when(text: str, rule: FaultRule) -> None:
    assert parse(text) == rule


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("droop@2", ("'drop'",)),
        ("maintenence", ("'maintenance'",)),
        ("slow@0", ("from 1",)),
        ("slow@5-2", ("range",)),
        ("slow:2", ("between 0 and 1",)),
        ("slow:1.2.3", ("rate",)),
        ("slow at 3", ("KIND@N",)),
    ],
)
def test_a_rule_that_cannot_be_read_is_one_line_with_the_nearest(text: str, words: tuple[str, ...]) -> None:
    with pytest.raises(SettingsError) as refused:
        parse(text)
    message = str(refused.value)
    assert all(word in message for word in (*words, repr(text)))
    assert "\n" not in message


def test_rules_count_requests_of_their_scope_from_when_they_were_made() -> None:
    plan = FaultPlan((parse("500@2-3"), parse("drop/2")), seed=0)
    assert [plan.strike(Scope.REQUEST) for _ in range(4)] == [
        (),
        (InjectedFault.SERVER_ERROR,),
        (InjectedFault.SERVER_ERROR,),
        (),
    ]
    assert [plan.strike(Scope.SUBMIT) for _ in range(4)] == [
        (),
        (InjectedFault.DROP,),
        (),
        (InjectedFault.DROP,),
    ]
    plan.add(parse("slow"))
    assert plan.strike(Scope.REQUEST) == (InjectedFault.SLOW,)
    plan.clear()
    assert plan.strike(Scope.SUBMIT) == ()


def test_a_rate_is_the_same_for_the_same_seed() -> None:
    def count_hits(seed: int) -> list[bool]:
        plan = FaultPlan((parse("502:0.3"),), seed)
        return [bool(plan.strike(Scope.REQUEST)) for _ in range(1000)]

    assert count_hits(1) == count_hits(1) != count_hits(2)
    assert 240 < sum(count_hits(1)) < 360


def test_every_fault_has_a_meaning() -> None:
    assert set(MEANINGS) == set(InjectedFault)


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [("403", 403, "forbidden"), ("409", 409, "conflict"), ("1202", 429, 1202), ("3458", 429, 3458)],
)
def test_a_refused_submit_leaves_nothing_behind(kind: str, status: int, code: int | str) -> None:
    async def scenario() -> None:
        client = open_client("colocated", f"{kind}@1")
        answer = await client.submit(sampler(JOB))
        assert answer.status == status
        assert answer.json["errors"][0]["code"] == code
        assert not client.endpoint.workloads.jobs
        assert (await client.submit(sampler(JOB))).status == 200

    run_virtual(scenario())


@pytest.mark.parametrize("kind", ["401", "500", "502", "503", "504"])
def test_any_request_may_be_refused_for_a_while(kind: str) -> None:
    async def scenario() -> None:
        client = open_client("colocated", f"{kind}@2-4")
        statuses = [(await client.call("GET", "/backends")).status for _ in range(5)]
        assert statuses == [200, int(kind), int(kind), int(kind), 200]

    run_virtual(scenario())


def test_a_slow_answer_comes_late() -> None:
    async def scenario() -> None:
        client = open_client("colocated", "slow@1")
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert (await client.call("GET", "/backends")).status == 200
        assert loop.time() - began >= 3.0

    run_virtual(scenario())


def test_a_cut_connection_leaves_a_job_that_its_tag_finds() -> None:
    async def scenario() -> None:
        client = open_client("colocated", "drop@1", "drop-before@2")
        await client.submit(sampler(JOB), tags=["mine"])
        assert client.cut == 1
        (job,) = (await client.call("GET", "/jobs?tags=mine")).json["jobs"]
        assert await client.wait_ended(job["id"]) == "Completed"
        await client.submit(sampler(JOB), tags=["other"])
        assert client.cut == 2
        assert (await client.call("GET", "/jobs?tags=other")).json["count"] == 0
        account = (await client.call("GET", "/emulator/account")).json
        assert [charge["tags"] for charge in account["charges"]] == [["mine"]]
        assert account["tags_paid_twice"] == []

    run_virtual(scenario())


def test_a_submit_repeated_after_a_cut_shows_in_the_account() -> None:
    async def scenario() -> None:
        client = open_client("colocated", "drop@1")
        for _ in range(2):
            await client.submit(sampler(JOB), tags=["mine"])
        await asyncio.sleep(10.0)
        assert (await client.call("GET", "/emulator/account")).json["tags_paid_twice"] == ["mine"]

    run_virtual(scenario())


@pytest.mark.parametrize(
    ("kind", "state", "code", "share"),
    [("fail", "Failed", 1010, 0.0), ("cancel", "Cancelled", None, 0.0), ("1305", "Cancelled", 1305, 0.5)],
)
def test_a_job_may_end_badly_and_is_charged_as_ibm_would(
    kind: str, state: str, code: int | None, share: float
) -> None:
    async def scenario() -> None:
        client = open_client("onprem-today", f"{kind}@1")
        await client.submit(sampler(JOB))
        job = await job_of(client)
        document = (await client.call("GET", f"/jobs/{job.id}")).json
        assert document["state"]["status"] == state
        assert document["state"]["reason_code"] == code
        assert job.usage_s == pytest.approx(share * job.plan.qpu_s)
        assert client.endpoint.account.consumed_s == pytest.approx(job.usage_s)
        text = (await client.call("GET", f"/jobs/{job.id}/results")).text
        assert text == document["state"]["reason"]

    run_virtual(scenario())


def test_results_may_be_corrupted() -> None:
    async def scenario() -> None:
        client = open_client("colocated", "corrupt@1")
        await client.submit(sampler(JOB))
        job = await job_of(client)
        text = (await client.call("GET", f"/jobs/{job.id}/results")).text
        with pytest.raises(json.JSONDecodeError):
            json.loads(text)

    run_virtual(scenario())


def test_an_end_may_show_late_and_keeps_its_stamp() -> None:
    async def scenario() -> None:
        client = open_client("onprem-today", "late@1")
        await client.submit(sampler(JOB))
        job = await job_of(client)
        ended_s = job.locked[0].end_s
        assert job.finished_s == pytest.approx(ended_s)
        assert client.endpoint.time.now_s() >= ended_s + 30.0

    run_virtual(scenario())


def test_in_maintenance_jobs_wait_and_the_status_says_so() -> None:
    async def scenario() -> None:
        client = open_client("colocated")
        assert (await client.call("POST", "/emulator/faults", {"fault": "maintenance"})).status == 200
        status = (await client.call("GET", "/backends/ibm_torino/status")).json
        assert (status["state"], status["status"]) == (False, "maintenance")
        (device,) = (await client.call("GET", "/backends")).json["devices"]
        assert device["status"]["name"] == "paused"
        job_id = (await client.submit(sampler(JOB))).json["id"]
        await asyncio.sleep(50.0)
        assert await client.state(job_id) == "Queued"
        await asyncio.sleep(15.0)
        assert await client.state(job_id) == "Completed"

    run_virtual(scenario())


def test_a_calibration_changes_values_and_date_while_a_job_runs() -> None:
    async def scenario() -> None:
        client = open_client("onprem-today")
        before = (await client.call("GET", "/backends/ibm_torino/properties")).json
        job_id = (await client.submit(sampler(JOB))).json["id"]
        await client.call("POST", "/emulator/faults", {"fault": "calibration"})
        after = (await client.call("GET", "/backends/ibm_torino/properties")).json
        assert after["last_update_date"] != before["last_update_date"]
        errors = [
            [
                value["value"]
                for gate in properties["gates"]
                for value in gate["parameters"]
                if value["name"] == "gate_error"
            ]
            for properties in (before, after)
        ]
        assert errors[0] != errors[1]
        assert [x == 1 for x in errors[0]] == [x == 1 for x in errors[1]]
        assert max(errors[1]) <= 1.0
        assert await client.wait_ended(job_id) == "Completed"

    run_virtual(scenario())


def test_an_exhausted_instance_keeps_jobs_waiting_until_faults_are_cleared() -> None:
    async def scenario() -> None:
        client = open_client("colocated")
        await client.call("POST", "/emulator/faults", {"fault": "exhausted"})
        assert (await client.call("GET", "/instances/usage")).json["usage_limit_reached"] is True
        job_id = (await client.submit(sampler(JOB))).json["id"]
        await asyncio.sleep(100.0)
        assert await client.state(job_id) == "Queued"
        assert (await client.call("DELETE", "/emulator/faults")).json["rules"] == []
        assert await client.wait_ended(job_id) == "Completed"

    run_virtual(scenario())


def test_an_unknown_fault_by_request_is_one_line_with_the_nearest() -> None:
    async def scenario() -> None:
        answer = await open_client().call("POST", "/emulator/faults", {"fault": "corupt"})
        assert answer.status == 400
        assert "'corrupt'" in answer.text
        assert answer.text.count("\n") == 1

    run_virtual(scenario())
