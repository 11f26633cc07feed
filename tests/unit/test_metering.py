"""Usage and money against a formula worked out here, and the TTLs of sessions; on virtual time."""

from __future__ import annotations

import asyncio
import json
from itertools import product
from typing import Any

import pytest

from asgi_endpoint import EndpointClient, documents_of, facts_of, flip_circuit, open_client, sampler
from harness import run_virtual
from shotclock.emulator.rest.metering import Account, UsageInterval, job_usage_s, session_usage_s

SUBJOB_S = 2.0  # onprem-today, Qiskit/documentation#3092


def independent_usage_s(shots: int, rep_delay_s: float, pubs: int) -> float:
    """Sub-jobs × 2 s + shots × Σ(rep_delay + X + read-out + reset) ÷ efficiency, from IBM's own JSON."""
    properties = json.loads(documents_of("heron-torino").properties)
    x_s: float = next(
        value["value"] * 1e-9
        for gate in properties["gates"]
        if gate["gate"] == "x" and gate["qubits"] == [0]
        for value in gate["parameters"]
        if value["name"] == "gate_length"
    )
    read_s: float = next(v["value"] * 1e-9 for v in properties["qubits"][0] if v["name"] == "readout_length")
    facts = facts_of("heron-torino")
    subjobs = -(-pubs // facts.max_circuits)
    column_s = pubs * (rep_delay_s + x_s + read_s + facts.reset_s)
    return subjobs * SUBJOB_S + shots * column_s / facts.efficiency


SETTINGS = [
    *product((1, 256, 4096), (0.0, 250e-6), (1,), ("job",)),
    (1024, 250e-6, 3, "job"),
    (1024, 100e-6, 3, "batch"),
    (64, 500e-6, 301, "job"),
    (100, 250e-6, 2, "dedicated"),
]


async def meter_s(
    endpoint_client: EndpointClient, shots: int, rep_delay_s: float, pubs: int, mode: str
) -> float:
    """What the endpoint charges for one job in this mode."""
    params = sampler(*[(flip_circuit(), None, shots)] * pubs, rep_delay=rep_delay_s)
    more: dict[str, Any] = {}
    if mode != "job":
        opened = await endpoint_client.call("POST", "/sessions", {"mode": mode, "backend": "ibm_torino"})
        more["session_id"] = opened.json["id"]
    job_id = await endpoint_client.run_job(params, **more)
    if mode != "job":
        await endpoint_client.call("PATCH", f"/sessions/{more['session_id']}", {"accepting_jobs": False})
    await asyncio.sleep(5.0)
    if mode == "dedicated":
        return float(
            (await endpoint_client.call("GET", f"/jobs/{job_id}/metrics")).json["usage"][
                "qpu_charge_time_seconds"
            ]
        )
    (charge,) = (await endpoint_client.call("GET", "/emulator/account")).json["charges"]
    return float(charge["seconds"])


def test_metered_usage_is_the_formula_over_ten_settings() -> None:
    assert len(SETTINGS) == 10
    ratios = []
    for shots, rep_delay_s, pubs, mode in SETTINGS:
        metered_s = run_virtual(meter(shots, rep_delay_s, pubs, mode))
        expected_s = independent_usage_s(shots, rep_delay_s, pubs)
        ratios.append(abs(metered_s - expected_s) / expected_s)
    assert max(ratios) < 1e-9, ratios


async def meter(shots: int, rep_delay_s: float, pubs: int, mode: str) -> float:
    return await meter_s(open_client("onprem-today"), shots, rep_delay_s, pubs, mode)


async def open_session(endpoint_client: EndpointClient, mode: str = "dedicated", **more: Any) -> str:
    answer = await endpoint_client.call("POST", "/sessions", {"mode": mode, "backend": "ibm_torino"} | more)
    return str(answer.json["id"])


async def details(endpoint_client: EndpointClient, session_id: str) -> Any:
    return (await endpoint_client.call("GET", f"/sessions/{session_id}")).json


JOB = (flip_circuit(), None, 1000)
JOB_S = independent_usage_s(1000, 250e-6, 1)


def test_a_session_is_charged_by_the_wall_clock_idle_time_included() -> None:
    async def scenario() -> None:
        client = open_client("onprem-today", price_per_s=1.6)
        session_id = await open_session(client)
        await client.run_job(sampler(JOB), session_id=session_id)
        await asyncio.sleep(10.0)
        last = await client.run_job(sampler(JOB), session_id=session_id)
        await client.call("PATCH", f"/sessions/{session_id}", {"accepting_jobs": False})
        account = (await client.call("GET", "/emulator/account")).json
        (charge,) = account["charges"]
        session = client.endpoint.session(session_id)
        assert charge["workload"] == session_id
        first_s, closed_s = session.started_s, session.closed_s
        assert first_s is not None
        assert closed_s is not None
        assert charge["seconds"] == pytest.approx(closed_s - first_s)
        assert charge["seconds"] > 10.0 + 2 * JOB_S
        assert account["money"] == pytest.approx(1.6 * charge["seconds"])
        assert client.endpoint.job(last).usage_s == pytest.approx(JOB_S)

    run_virtual(scenario())


def test_an_idle_session_loses_the_qpu_at_its_interactive_ttl_and_stops_costing() -> None:
    async def scenario() -> None:
        client = open_client("onprem-today")
        session_id = await open_session(client)
        await client.run_job(sampler(JOB), session_id=session_id)
        foreign = (await client.submit(sampler(JOB))).json["id"]
        await asyncio.sleep(30.0)
        assert (await details(client, session_id))["state"] == "active"
        assert await client.state(foreign) == "Queued"
        await asyncio.sleep(40.0)
        session = await details(client, session_id)
        assert session["state"] == "inactive"
        assert session["elapsed_time"] == pytest.approx(JOB_S + 60.0)
        assert await client.state(foreign) == "Completed"
        await client.run_job(sampler(JOB), session_id=session_id)
        assert (await details(client, session_id))["state"] == "active"
        assert client.endpoint.session(session_id).activations == 2

    run_virtual(scenario())


def test_at_its_longest_time_a_session_closes_and_what_waits_fails() -> None:
    async def scenario() -> None:
        client = open_client("onprem-today")
        session_id = await open_session(client, max_ttl=4)
        jobs = [(await client.submit(sampler(JOB), session_id=session_id)).json["id"] for _ in range(4)]
        states = [await client.wait_ended(job) for job in jobs]
        assert states == ["Completed", "Completed", "Failed", "Failed"]
        session = await details(client, session_id)
        assert session["state"] == "closed"
        refused = await client.submit(sampler(JOB), session_id=session_id)
        assert refused.status == 400
        assert "closed" in refused.text

    run_virtual(scenario())


def test_usage_reads_zero_until_it_is_final() -> None:
    async def scenario() -> None:
        client = open_client("onprem-today")
        job_id = await client.run_job(sampler(JOB))
        usage = (await client.call("GET", f"/jobs/{job_id}/metrics")).json["usage"]
        assert usage == {"qpu_charge_time_seconds": 0.0, "status": "pending"}
        await asyncio.sleep(3.0)
        usage = (await client.call("GET", f"/jobs/{job_id}/metrics")).json["usage"]
        assert usage["status"] == "final"
        assert usage["qpu_charge_time_seconds"] == pytest.approx(JOB_S)

    run_virtual(scenario())


def test_a_cancelled_job_costs_what_it_consumed_and_one_that_waited_nothing() -> None:
    async def scenario() -> None:
        client = open_client("onprem-today")
        running = (await client.submit(sampler(JOB))).json["id"]
        waiting = (await client.submit(sampler(JOB))).json["id"]
        await asyncio.sleep(1.0)
        for job_id in (waiting, running):
            assert (await client.call("POST", f"/jobs/{job_id}/cancel")).status == 204
            assert (await client.call("POST", f"/jobs/{job_id}/cancel")).status == 409
        (charge,) = (await client.call("GET", "/emulator/account")).json["charges"]
        assert charge["workload"] == running
        assert 1.0 <= charge["seconds"] < 1.1

    run_virtual(scenario())


def test_a_usage_limit_keeps_jobs_waiting() -> None:
    async def scenario() -> None:
        client = open_client("onprem-today", usage_limit_s=1.0)
        await client.run_job(sampler(JOB))
        usage = (await client.call("GET", "/instances/usage")).json
        assert usage["usage_limit_reached"] is True
        assert usage["usage_consumed_seconds"] == pytest.approx(JOB_S)
        stuck = (await client.submit(sampler(JOB))).json["id"]
        await asyncio.sleep(3600.0)
        assert await client.state(stuck) == "Queued"

    run_virtual(scenario())


def test_an_account_records_a_workload_once_and_shows_a_tag_paid_twice() -> None:
    account = Account(price_per_s=2.0, usage_limit_s=None)
    account.charge("a", "job", 1.0, ("t", "t"))
    assert account.tags_paid_twice() == ()
    with pytest.raises(ValueError, match="twice"):
        account.charge("a", "job", 1.0, ())
    account.charge("b", "job", 0.5, ("t",))
    assert account.tags_paid_twice() == ("t",)
    assert account.money == pytest.approx(3.0)


def test_only_a_system_fault_is_free() -> None:
    locked = (UsageInterval(1.0, 4.0),)
    assert job_usage_s(locked, system_fault=False) == pytest.approx(3.0)
    assert job_usage_s(locked, system_fault=True) == 0.0
    assert job_usage_s((), system_fault=False) == 0.0
    assert session_usage_s((UsageInterval(0.0, 2.0), UsageInterval(5.0, 6.0))) == pytest.approx(3.0)
