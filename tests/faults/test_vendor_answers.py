"""Answers of the wrong shape, late or missing, through the real clients: what was paid for is not lost."""

from __future__ import annotations

import asyncio
import itertools
import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from ibm_endpoint import IMPATIENT, IbmEndpoint, on_device, start_endpoint
from shotclock.domain.errors import FaultKind, JobEndedError, ProviderError, ShotclockError
from shotclock.domain.ports import Job
from shotclock.providers.device_facts import identify
from shotclock.providers.remote import RemoteProvider
from shotclock.providers.workload import WorkloadPolicy
from tampering import DROPPED, NONSENSE, Answer, Change, Tampering, document, refusal, tampering

NUMBERS = itertools.count(int(uuid.uuid4()) % 2**64)
Provider = RemoteProvider[Any, Any]

SUBMIT = "POST /jobs$"
STATE = "GET /jobs/[^/]+$"
RESULTS = "GET /jobs/[^/]+/results$"
METRICS = "GET /jobs/[^/]+/metrics$"
USAGE = "GET /instances/usage$"
STATUS = "GET /backends/[^/]+/status$"

every_nonsense = pytest.mark.parametrize("what", NONSENSE)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[IbmEndpoint]:
    with start_endpoint(speed=40.0) as started:
        yield started


@pytest.fixture
def proxy(endpoint: IbmEndpoint) -> Iterator[Tampering]:
    with tampering(endpoint) as started:
        yield started
    assert endpoint.account["tags_paid_twice"] == []


@pytest.fixture(params=["ibm", "qrmi"])
def make(request: pytest.FixtureRequest, endpoint: IbmEndpoint) -> Callable[..., Provider]:
    return endpoint.ibm if request.param == "ibm" else endpoint.qrmi


def job() -> Job:
    return Job.of((on_device(3),), 100, f"shotclock:{next(NUMBERS):024x}", rep_delay_s=0.0)


async def expect_refusal(work: Any) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await work
    assert "\n" not in str(caught.value)
    return caught.value


@every_nonsense
@pytest.mark.parametrize("read", [USAGE, STATUS, "GET /backends/[^/]+/configuration$", "GET /backends$"])
def test_connecting_ends_in_one_line_whatever_is_answered(
    read: str, what: str, endpoint: IbmEndpoint, proxy: Tampering
) -> None:
    proxy.answer(read, NONSENSE[what])
    text = ""
    try:
        asyncio.run(endpoint.ibm().close())
    except ShotclockError as error:
        text = str(error)
    assert "\n" not in text


CONFIGURATIONS = [
    {"n_qubits": None},
    {"n_qubits": float("nan")},
    {"n_qubits": -5},
    {"n_qubits": True},
    {"max_shots": "many"},
    {"max_experiments": 0},
    {"default_rep_delay": float("nan")},
    {"default_rep_delay": -1.0},
    {"rep_delay_range": [1.0]},
    {"rep_delay_range": [5.0, 1.0]},
    {"rep_delay_range": 7},
    {"rep_delay_range": ["a", None]},
]


@pytest.mark.parametrize("odd", CONFIGURATIONS, ids=str)
def test_a_configuration_that_no_device_has_is_refused(
    odd: dict[str, Any], make: Callable[..., Provider], proxy: Tampering
) -> None:
    proxy.answer("GET /backends/[^/]+/configuration$", _change(odd))
    with pytest.raises(ProviderError, match="configuration") as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "kind", "says"),
    [
        (Answer(503, b"{}"), FaultKind.TRANSIENT, "503"),
        (Answer(200, b"<html>"), FaultKind.TRANSIENT, "not understood"),
        (document({"errorMessage": "no such key"}, 400), FaultKind.PERMANENT, "quantum.credentials_file"),
    ],
)
def test_connecting_names_what_is_wrong_with_the_identity_service(
    answer: Answer, kind: FaultKind, says: str, endpoint: IbmEndpoint, proxy: Tampering
) -> None:
    """IBM's client calls all of it a wrong key."""
    proxy.answer("POST /identity/token$", answer)
    with pytest.raises(ProviderError) as caught:
        endpoint.ibm()
    assert says in str(caught.value)
    assert ("the key was refused" in str(caught.value)) == (kind is FaultKind.PERMANENT)
    assert caught.value.kind is kind
    assert proxy.count("POST /identity/token$") == 1


def _change(values: dict[str, Any]) -> Callable[[Answer], Answer]:
    return lambda answer: document({**json.loads(answer.body), **values})


ODD_METRICS = {
    **NONSENSE,
    "null parts": document({"timestamps": None, "usage": None, "emulated": None}),
    "list parts": document({"timestamps": [], "usage": [], "emulated": []}),
    "mixed zones": document(
        {"timestamps": {"created": "2026-01-01T00:00:00Z", "running": "2026-01-01T00:00:01", "finished": 7}}
    ),
    "nan": document({"usage": {"status": "final", "qpu_charge_time_seconds": float("nan")}}),
    "negative": document({"usage": {"status": "final", "qpu_charge_time_seconds": -40.0}}),
    "huge": document({"usage": {"status": "final", "qpu_charge_time_seconds": 10**400}}),
    "boolean": document({"usage": {"status": "final", "qpu_charge_time_seconds": True}}),
    "string": document({"usage": {"status": "final", "qpu_charge_time_seconds": "4"}}),
    "speed": document({"emulated": {"speed": "fast", "overrun": None}}),
    "500": Answer(500, b"x"),
    "dropped": DROPPED,
}


@pytest.mark.parametrize("what", ODD_METRICS)
def test_no_record_of_a_job_loses_its_samples_and_unknown_usage_is_never_nothing(
    what: str, endpoint: IbmEndpoint, proxy: Tampering
) -> None:
    async def main() -> None:
        cadence = replace(IMPATIENT, usage_s=1e-6)
        provider, paid = endpoint.ibm(max_money=1e6, cadence=cadence), job()
        proxy.answer(METRICS, ODD_METRICS[what])
        execution = await provider.collect(await provider.submit(paid))
        assert execution.samples[0].shots == 100
        await provider.wait_settled()
        assert provider.budget.expenditure == 0.0
        assert provider.budget.reservation > 0.0
        # what the call is said to have cost is the estimate, in seconds as in money at a price of 1
        assert execution.qpu_s == pytest.approx(provider.budget.reservation)
        await provider.close()

    asyncio.run(main())


@every_nonsense
def test_no_answer_about_the_usage_stops_a_submit(what: str, endpoint: IbmEndpoint, proxy: Tampering) -> None:
    async def main() -> None:
        provider = endpoint.ibm()
        proxy.answer(USAGE, NONSENSE[what])
        assert (await provider.collect(await provider.submit(job()))).samples[0].shots == 100

    asyncio.run(main())


@every_nonsense
def test_no_answer_about_the_device_breaks_its_identity(
    what: str, endpoint: IbmEndpoint, proxy: Tampering
) -> None:
    provider = endpoint.ibm()
    proxy.answer("GET /backends/[^/]+/properties$", NONSENSE[what])
    proxy.answer(USAGE, NONSENSE[what])
    text = ""
    try:
        assert identify(provider).backend == "ibm_torino"
    except ProviderError as error:
        text = str(error)
    assert "\n" not in text


BROKEN = {**{name: NONSENSE[name] for name in ("null", "list", "not json")}, "dropped": DROPPED}


@pytest.mark.parametrize("what", BROKEN)
@pytest.mark.parametrize("read", [STATUS, USAGE])
def test_what_breaks_before_the_post_has_submitted_nothing(
    read: str, what: str, endpoint: IbmEndpoint, proxy: Tampering
) -> None:
    async def main() -> None:
        provider = endpoint.ibm(max_money=10.0)
        proxy.answer(read, BROKEN[what])
        posted = proxy.count(SUBMIT)
        if read == USAGE and what != "dropped":
            await provider.submit(job())  # which does without it
            return
        assert (await expect_refusal(provider.submit(job()))).kind is FaultKind.TRANSIENT
        assert proxy.count(SUBMIT) == posted
        assert provider.budget.reservation == 0.0

    asyncio.run(main())


ODD_ANSWERS: dict[str, Answer | Change] = {
    **NONSENSE,
    "no id": document({"backend": "ibm_torino"}),
    "null id": document({"id": None, "backend": "ibm_torino"}),
    "number": document({"id": 7, "backend": "ibm_torino"}),
    "other device": lambda answer: document({"id": json.loads(answer.body)["id"], "backend": "ibm_mars"}),
    "dropped": DROPPED,
}


@pytest.mark.parametrize("what", ODD_ANSWERS)
def test_a_submit_whose_answer_is_not_understood_is_found_by_its_tag(
    what: str, endpoint: IbmEndpoint, proxy: Tampering
) -> None:
    async def main() -> None:
        provider, lost = endpoint.ibm(max_money=10.0), job()
        proxy.answer(SUBMIT, ODD_ANSWERS[what])
        assert (await expect_refusal(provider.submit(lost))).kind is FaultKind.AMBIGUOUS
        promised = provider.budget.reservation
        assert promised > 0.0
        (adopted,) = await provider.find(lost.tag)
        assert (await provider.collect(adopted)).samples[0].shots == 100
        assert proxy.count(SUBMIT) == 1

    asyncio.run(main())


@pytest.mark.parametrize("state", [STATE, RESULTS])
@every_nonsense
def test_reads_of_a_paid_job_are_made_again_until_they_are_understood(
    what: str, state: str, endpoint: IbmEndpoint, proxy: Tampering
) -> None:
    async def main() -> None:
        provider = endpoint.ibm()
        accepted = await provider.submit(job())
        proxy.answer(state, NONSENSE[what], times=2)
        assert (await provider.collect(accepted)).samples[0].shots == 100

    asyncio.run(main())


@every_nonsense
def test_results_that_stay_unreadable_end_the_job(
    what: str, make: Callable[..., Provider], proxy: Tampering
) -> None:
    async def main() -> None:
        provider = make(cadence=replace(IMPATIENT, patience_s=0.3))
        accepted = await provider.submit(job())
        proxy.answer(RESULTS, NONSENSE[what])
        error = await expect_refusal(provider.collect(accepted))
        # QRMI does not distinguish an unreadable response from a missing one.
        assert error.kind is FaultKind.PERMANENT or provider.name == "qrmi"
        assert error.kind is not FaultKind.TRANSIENT

    asyncio.run(main())


@pytest.mark.parametrize("state", ["Paused", "Thinking"])
def test_a_state_that_nobody_knows_is_not_polled_for_ever(
    state: str, endpoint: IbmEndpoint, proxy: Tampering
) -> None:
    async def main() -> None:
        provider = endpoint.ibm(cadence=replace(IMPATIENT, patience_s=0.3))
        accepted = await provider.submit(job())
        proxy.answer(STATE, _change({"state": {"status": state}}))
        error = await expect_refusal(provider.collect(accepted))
        assert error.kind is FaultKind.AMBIGUOUS
        assert state.upper() in str(error)

    asyncio.run(main())


def test_a_job_that_was_cancelled_for_its_time_has_ended(endpoint: IbmEndpoint, proxy: Tampering) -> None:
    async def main() -> None:
        provider = endpoint.ibm()
        accepted = await provider.submit(job())
        proxy.answer(STATE, _change({"state": {"status": "Cancelled - Ran too long"}}))
        error = await expect_refusal(provider.collect(accepted))
        assert isinstance(error, JobEndedError)
        assert error.kind is FaultKind.PERMANENT

    asyncio.run(main())


@pytest.mark.parametrize("read", [STATE, RESULTS])
def test_a_job_and_a_result_that_are_not_found_yet_are_asked_for_again(
    read: str, make: Callable[..., Provider], proxy: Tampering
) -> None:
    async def main() -> None:
        provider = make(cadence=replace(IMPATIENT, grace_s=30.0, patience_s=5.0))
        accepted = await provider.submit(job())
        proxy.answer(read, refusal(404, "not_found", "job not found"), times=3)
        assert (await provider.collect(accepted)).samples[0].shots == 100

    asyncio.run(main())


def test_a_job_that_is_never_found_has_ended(endpoint: IbmEndpoint, proxy: Tampering) -> None:
    async def main() -> None:
        provider = endpoint.ibm(max_money=10.0)
        accepted = await provider.submit(job())
        proxy.answer(STATE, refusal(404))
        error = await expect_refusal(provider.collect(accepted))
        assert isinstance(error, JobEndedError)
        assert provider.charges().abandoned == 1

    asyncio.run(main())


def program_ids(proxy: Tampering) -> list[str]:
    return [json.loads(body)["program_id"] for path, body in proxy.bodies if path.endswith("/jobs")]


def test_a_404_that_names_no_program_keeps_the_executor(endpoint: IbmEndpoint, proxy: Tampering) -> None:
    async def main() -> None:
        provider = endpoint.ibm(max_money=10.0)
        proxy.answer(SUBMIT, refusal(404, "not_found", "no such route"), times=1, forwarded=False)
        assert (await expect_refusal(provider.submit(job()))).kind is FaultKind.TRANSIENT
        assert provider.budget.reservation == 0.0
        await provider.collect(await provider.submit(job()))

    asyncio.run(main())
    assert program_ids(proxy) == ["executor", "executor"]


def test_only_the_job_whose_program_is_unknown_goes_to_the_older_sampler(
    endpoint: IbmEndpoint, proxy: Tampering
) -> None:
    async def main() -> None:
        provider = endpoint.ibm()
        unknown = refusal(404, 1207, "Program executor not found")
        proxy.answer(SUBMIT, unknown, times=1, forwarded=False)
        for _ in range(2):
            assert (await provider.collect(await provider.submit(job()))).samples[0].shots == 100

    asyncio.run(main())
    assert program_ids(proxy) == ["executor", "sampler", "executor"]


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"Retry_After": "7"}, 7.0),
        (
            {"Retry_After": "Sun, 06 Nov 1994 08:50:07 GMT", "Date": "Sun, 06 Nov 1994 08:49:37 GMT"},
            30.0,
        ),
        ({"Retry_After": "soon"}, 0.0),
        ({"Retry_After": "-4"}, 0.0),
        ({}, 0.0),
    ],
)
def test_a_refusal_says_when_to_come_back(
    headers: dict[str, str], wait_s: float, status: int, endpoint: IbmEndpoint, proxy: Tampering
) -> None:
    async def main() -> None:
        provider = endpoint.ibm()
        proxy.answer(SUBMIT, refusal(status, 1202, "too many", **headers), forwarded=False)
        error = await expect_refusal(provider.submit(job()))
        assert (error.kind, error.retry_after_s) == (FaultKind.TRANSIENT, wait_s)

    asyncio.run(main())


@pytest.mark.parametrize("failure", [Answer(503, b"{}"), Answer(200, b"<html>"), document(None), DROPPED])
def test_a_token_that_cannot_be_renewed_fails_its_own_call_and_no_other(
    failure: Answer, endpoint: IbmEndpoint, proxy: Tampering
) -> None:
    """IBM's manager would hold the second call back for a minute, then send the key instead of a token."""

    async def main() -> None:
        provider = endpoint.ibm(max_money=10.0)
        client: Any = provider._client
        client._backend._api_client._session.auth.tm.expire()
        before = proxy.count("POST /identity/token$")
        proxy.answer("POST /identity/token$", failure, times=3)
        for _ in range(3):
            assert (await expect_refusal(provider.submit(job()))).kind is FaultKind.TRANSIENT
        assert proxy.count("POST /identity/token$") == before + 3
        assert proxy.count(SUBMIT) == 0
        assert (await provider.collect(await provider.submit(job()))).samples[0].shots == 100
        assert proxy.count("POST /identity/token$") == before + 4

    asyncio.run(main())


def test_a_key_that_is_refused_later_says_so(endpoint: IbmEndpoint, proxy: Tampering) -> None:
    async def main() -> None:
        provider = endpoint.ibm()
        client: Any = provider._client
        client._backend._api_client._session.auth.tm.expire()
        proxy.answer("POST /identity/token$", document({"errorMessage": "Provided API key is gone"}, 400))
        error = await expect_refusal(provider.submit(job()))
        assert error.kind is FaultKind.PERMANENT
        assert "quantum.credentials_file" in str(error)
        assert "Provided API key is gone" in str(error)

    asyncio.run(main())


@pytest.mark.parametrize("usage", [None, "4", -3.0, float("nan"), 10**400, [], 0])
def test_a_session_that_does_not_report_its_usage_costs_what_its_jobs_do(
    usage: Any, endpoint: IbmEndpoint, proxy: Tampering
) -> None:
    async def main() -> None:
        provider = endpoint.ibm(max_money=1e6, policy=WorkloadPolicy("session", idle_s=60.0))
        proxy.answer("GET /sessions/[^/]+$", _change({"elapsed_time": usage}))
        charged = 0.0
        for _ in range(2):
            execution = await provider.collect(await provider.submit(job()))
            charged += execution.qpu_s
            await provider.wait_settled()
        assert provider.budget.expenditure == pytest.approx(charged, rel=0.1)
        await provider.close()
        assert provider.budget.expenditure == pytest.approx(charged, rel=0.1)
        assert provider.charges().sessions_untold == 1

    asyncio.run(main())


@every_nonsense
@pytest.mark.parametrize("request_", ["POST /sessions$"])
def test_a_session_without_an_id_is_not_used(
    request_: str, what: str, endpoint: IbmEndpoint, proxy: Tampering
) -> None:
    """A job that names no session would run alone, and nobody would know."""

    async def main() -> None:
        provider = endpoint.ibm(max_money=10.0, policy=WorkloadPolicy("session"))
        proxy.answer(request_, NONSENSE[what])
        assert (await expect_refusal(provider.submit(job()))).kind is FaultKind.TRANSIENT
        assert provider.budget.reservation == 0.0
        assert proxy.count(SUBMIT) == 0

    asyncio.run(main())
