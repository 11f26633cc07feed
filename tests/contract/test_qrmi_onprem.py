"""QRMI's on-premises resource, IBMQuantumSystem: QRMI itself, against a stand-in for the machine's API."""

from __future__ import annotations

import asyncio
import os
import warnings
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest

from harness import WallClock
from ibm_endpoint import IMPATIENT, ProfileForecast, on_device
from onprem import RESOURCE, OnPremises, onprem
from shotclock.circuits.packing import compose_pub
from shotclock.domain.errors import FaultKind, ProviderError, SettingsError
from shotclock.domain.ports import Job
from shotclock.emulator.profile import load
from shotclock.emulator.statevector import probabilities
from shotclock.providers import qrmi
from shotclock.providers.money import Price
from shotclock.providers.remote import RemoteProvider, RemoteSetup


@pytest.fixture
def machine() -> Iterator[OnPremises]:
    with onprem() as started:
        yield started


def provider() -> RemoteProvider[Any, Any]:
    return qrmi.build(
        RemoteSetup(
            backend=RESOURCE,
            forecast=ProfileForecast(load("onprem-today"), 100.0),
            price=Price(1.0),
            max_money=10.0,
            circuit_builder=compose_pub,
            clock=WallClock(),
            cadence=IMPATIENT,
        )
    )


def job(shots: int = 500) -> Job:
    return Job.of((on_device(2, 1), on_device(3, 2)), shots, "shotclock:t")


def kind_of_submit() -> tuple[FaultKind, str]:
    with pytest.raises(ProviderError) as caught:
        asyncio.run(provider().submit(job()))
    assert "\n" not in str(caught.value)
    return caught.value.kind, str(caught.value)


def test_a_job_goes_through_the_bucket_and_comes_back(machine: OnPremises) -> None:
    async def main() -> None:
        qrmi = provider()
        assert (qrmi.limits.emulated, qrmi.limits.max_qubits, qrmi.limits.paid) == (True, 133, True)
        await qrmi.ping()
        execution = await qrmi.collect(await qrmi.submit(job()))
        for samples, circuit in zip(execution.samples, job().circuits, strict=True):
            assert samples.shots == 500
            mean = (samples.pool * samples.counts[:, None]).sum(axis=0) / 500
            n = circuit.qubits
            exact = probabilities(circuit.parameters)  # type: ignore[arg-type]
            excited = [sum(exact[i] for i in range(1 << n) if i >> bit & 1) for bit in range(n)]
            assert mean == pytest.approx(excited, abs=0.12)
        assert execution.qpu_s == pytest.approx(2.0)  # the execution span's
        await qrmi.close()

    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        asyncio.run(main())
    assert machine.posts == 1
    (ran,) = machine.jobs.values()
    assert (ran["program_id"], ran["timeout_secs"]) == ("sampler", 100)
    assert sum(key.startswith("/bucket/input_") for key in machine.objects) == 1


def test_a_ping_says_why_no_jobs_are_taken(machine: OnPremises) -> None:
    machine.status = "paused"
    with pytest.raises(ProviderError, match="ibm_torino accepts no jobs now") as caught:
        asyncio.run(provider().ping())
    assert caught.value.kind is FaultKind.TRANSIENT


@pytest.mark.parametrize("outcome", ["Failed", "Cancelled"])
def test_a_job_that_ended_badly_is_not_tried_again(outcome: str, machine: OnPremises) -> None:
    async def main() -> None:
        machine.outcome = outcome
        qrmi = provider()
        accepted = await qrmi.submit(job())
        with pytest.raises(ProviderError, match=outcome.lower()) as caught:
            await qrmi.collect(accepted)
        assert caught.value.kind is FaultKind.PERMANENT

    asyncio.run(main())


def test_a_full_machine_is_asked_again_by_qrmi_itself(machine: OnPremises) -> None:
    """423 and 429 are repeated inside its blocking call; see the decision note."""

    async def main() -> None:
        machine.refusals = [423]
        qrmi = provider()
        execution = await qrmi.collect(await qrmi.submit(job(50)))
        assert execution.samples[0].shots == 50

    asyncio.run(main())
    assert machine.posts == 2


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, FaultKind.PERMANENT),
        (401, FaultKind.PERMANENT),
        (403, FaultKind.PERMANENT),
        (404, FaultKind.PERMANENT),
        (409, FaultKind.TRANSIENT),
        (500, FaultKind.TRANSIENT),
    ],
)
def test_a_refusal_is_what_its_status_says(status: int, kind: FaultKind, machine: OnPremises) -> None:
    machine.refusals = [status] * 8
    kind_found, text = kind_of_submit()
    assert kind_found is kind
    assert f"Busy (status {status})" in text
    assert machine.jobs == {}


def test_an_input_that_never_reached_the_bucket_is_not_a_lost_job(machine: OnPremises) -> None:
    qrmi = provider()
    with mock.patch.dict(os.environ, {f"{RESOURCE}_QRMI_IBM_QS_S3_ENDPOINT": "http://127.0.0.1:9"}):
        kind, _ = kind_of_submit()
    assert kind is FaultKind.TRANSIENT
    assert machine.posts == 0
    asyncio.run(qrmi.close())


@pytest.mark.parametrize("missing", ["QRMI_JOB_TIMEOUT_SECONDS", "QRMI_IBM_QS_S3_BUCKET"])
def test_a_variable_that_is_missing_is_named_at_once(missing: str, machine: OnPremises) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.endswith(missing)}
    with mock.patch.dict(os.environ, environment, clear=True), pytest.raises(SettingsError, match=missing):
        provider()
    assert machine.posts == 0


def test_a_timeout_that_is_no_number_is_a_setting_to_mend(machine: OnPremises) -> None:
    with mock.patch.dict(os.environ, {f"{RESOURCE}_QRMI_JOB_TIMEOUT_SECONDS": "soon"}):
        kind, text = kind_of_submit()
    assert kind is FaultKind.PERMANENT
    assert "QRMI_JOB_TIMEOUT_SECONDS" in text
    assert machine.posts == 0


def test_without_an_address_the_resource_says_which_variables_to_set() -> None:
    with pytest.raises(SettingsError, match="QRMI_IBM_QS_ENDPOINT"):
        provider()
