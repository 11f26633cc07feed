"""Calibration windows, in process and at the endpoint: jobs wait, values change, a running job goes on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import ValidationError

from asgi_endpoint import flip_circuit, open_client, sampler
from harness import FACTS, Inline, LoopClock, random_parameters, run_virtual, without_qpy
from shotclock.domain.ports import Job
from shotclock.emulator.profile import Profile, load
from shotclock.emulator.provider import EmulatedProvider
from shotclock.emulator.windows import CalibrationWindows

SOURCE = {"tag": "assumed", "source": "a number for this test"}


def windows(every_s: float, lasts_s: float) -> CalibrationWindows:
    return CalibrationWindows.model_validate(
        {"every": {"value": every_s, "unit": "s"} | SOURCE, "lasts": {"value": lasts_s, "unit": "s"} | SOURCE}
    )


def profile(every_s: float, lasts_s: float) -> Profile:
    document = load("onprem-today").model_dump(by_alias=True)
    document["calibration"] = windows(every_s, lasts_s).model_dump()
    document["not_modelled"] = [gap for gap in document["not_modelled"] if gap["component"] != "calibration"]
    return Profile.model_validate(document)


@pytest.mark.parametrize(
    ("at_s", "free_s"),
    [
        (0.0, 0.0),
        (5.0, 5.0),
        (9.99, 9.99),
        (10.0, 12.0),
        (11.0, 12.0),
        (12.0, 12.0),
        (35.0, 35.0),
        (41.5, 42.0),
    ],
)
def test_a_window_pushes_back_what_falls_into_it(at_s: float, free_s: float) -> None:
    assert windows(10.0, 2.0).free_s(at_s) == pytest.approx(free_s)


@pytest.mark.parametrize(("every_s", "lasts_s"), [(10.0, 0.0), (10.0, 10.0), (1.0, 5.0)])
def test_windows_leave_time_for_jobs(every_s: float, lasts_s: float) -> None:
    with pytest.raises(ValidationError, match="leave time for jobs"):
        windows(every_s, lasts_s)


def test_a_modelled_calibration_is_not_listed_as_left_out() -> None:
    document = load("onprem-today").model_dump(by_alias=True)
    assert "calibration" in {gap["component"] for gap in document["not_modelled"]}
    document["calibration"] = windows(10.0, 2.0).model_dump()
    with pytest.raises(ValidationError, match="calibration must be either modelled or listed"):
        Profile.model_validate(document)
    names = {named.name for named in profile(10.0, 2.0).figures()}
    assert {"calibration.every", "calibration.lasts"} <= names


def test_in_process_a_job_waits_for_the_windows_end() -> None:
    """Jobs of 2 s and a bit, one a 4 s; a window at 10 s, 5 s long, meets the third."""

    async def scenario() -> list[tuple[float, float]]:
        provider = EmulatedProvider(FACTS, profile(10.0, 5.0), Inline(), LoopClock(), seed=1)
        ran = []
        for number in range(4):
            await asyncio.sleep(max(0.0, 4.5 * number - asyncio.get_running_loop().time()))
            job = Job.of((without_qpy(random_parameters(2, 1)),), 100, f"t{number}")
            execution = await provider.collect(await provider.submit(job))
            ran.append((execution.running_at_ns * 1e-9, execution.queue_emulated_ns * 1e-9))
        return ran

    first, second, third, fourth = run_virtual(scenario())
    assert (first[0], second[0]) == pytest.approx((0.002, 4.502), abs=1e-3)
    assert third[0] == pytest.approx(9.002, abs=1e-3)  # had the QPU before the window, and keeps it
    assert fourth[0] == pytest.approx(15.0, abs=1e-6)
    assert fourth[1] == pytest.approx(15.0 - 13.502, abs=1e-3)


def test_at_the_endpoint_the_qpu_is_taken_between_two_jobs_and_comes_back_with_new_values() -> None:
    async def scenario() -> None:
        client = open_client("onprem-today", calibration=windows(10.0, 5.0))
        client.endpoint.begin()
        before = await properties(client)
        job = (flip_circuit(), None, 1000)
        await asyncio.sleep(9.5)
        running = (await client.submit(sampler(job))).json["id"]  # 2 s and a bit, across the window's begin
        waiting = (await client.submit(sampler(job))).json["id"]
        await asyncio.sleep(3.0)
        assert await client.state(running) == "Completed"
        assert (await properties(client))["last_update_date"] == before["last_update_date"]
        assert await client.wait_ended(waiting) == "Completed"
        spans = [client.endpoint.job(job_id).locked[0] for job_id in (running, waiting)]
        assert spans[0].start_s < 10.0 < spans[0].end_s
        assert spans[1].start_s == pytest.approx(spans[0].end_s + 5.0, abs=1e-6)
        after = await properties(client)
        assert after["last_update_date"] != before["last_update_date"]
        assert errors(after) != errors(before)
        # what waited for the QPU is not paid for
        assert client.endpoint.account.consumed_s == pytest.approx(sum(span.seconds for span in spans))
        await client.endpoint.end()

    run_virtual(scenario())


def test_a_session_keeps_a_calibration_out_until_it_ends() -> None:
    async def scenario() -> None:
        client = open_client("onprem-today", calibration=windows(10.0, 5.0))
        client.endpoint.begin()
        before = await properties(client)
        opened = await client.call("POST", "/sessions", {"mode": "dedicated", "backend": "ibm_torino"})
        session_id = opened.json["id"]
        await asyncio.sleep(8.0)
        for _ in range(3):
            job_id = (await client.submit(sampler((flip_circuit(), None, 10)), session_id=session_id)).json[
                "id"
            ]
            assert await client.wait_ended(job_id) == "Completed"
        assert client.endpoint.time.now_s() < 16.0
        assert await properties(client) == before
        await client.call("DELETE", f"/sessions/{session_id}/close")
        await asyncio.sleep(6.0)
        assert (await properties(client))["last_update_date"] != before["last_update_date"]
        await client.endpoint.end()

    run_virtual(scenario())


async def properties(client: Any) -> Any:
    return (await client.call("GET", "/backends/ibm_torino/properties")).json


def errors(document: Any) -> list[float]:
    return [
        value["value"]
        for gate in document["gates"]
        for value in gate["parameters"]
        if value["name"] == "gate_error"
    ]
