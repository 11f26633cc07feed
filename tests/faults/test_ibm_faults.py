"""Every fault of the emulated endpoint, through the real clients: the right kind, nothing paid twice."""

from __future__ import annotations

import asyncio
import itertools
import random
import uuid
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from typing import Any

import pytest

from ibm_endpoint import IMPATIENT, IbmEndpoint, on_device, start_endpoint, template
from shotclock.domain.circuit import DeviceCircuit, QaoaCircuit, QaoaParameters
from shotclock.domain.errors import FaultKind, ProviderError
from shotclock.domain.ledger import LedgerState
from shotclock.domain.outcome import Degraded, Done, Outcome
from shotclock.domain.ports import Job
from shotclock.domain.subproblem import Subproblem
from shotclock.orchestrator.ledger.memory import MemoryLedger
from shotclock.providers.remote import RemoteProvider
from virtual_orchestrator import NullSynthesizer, System, make_subproblem

NUMBERS = itertools.count(int(uuid.uuid4()) % 2**64)
Provider = RemoteProvider[Any, Any]

# Of a submit, by the request that is struck: usage, status, then the POST (qiskit-ibm-runtime);
# status, then the POST (QRMI).
REFUSED = {
    "401": FaultKind.PERMANENT,
    "403": FaultKind.PERMANENT,
    "409": FaultKind.TRANSIENT,
    "1202": FaultKind.TRANSIENT,
    "3458": FaultKind.TRANSIENT,
    "500": FaultKind.TRANSIENT,
    "502@2": FaultKind.TRANSIENT,
    "503@1-3": FaultKind.TRANSIENT,
    "504@2": FaultKind.TRANSIENT,
    "drop": FaultKind.AMBIGUOUS,
    "drop-before": FaultKind.AMBIGUOUS,
}
ENDED = {
    "fail": FaultKind.TRANSIENT,
    "cancel": FaultKind.PERMANENT,
    "1305": FaultKind.PERMANENT,
    "corrupt": FaultKind.PERMANENT,
}
BORNE = ["slow", "late", "calibration", "maintenance", "503@4-12", "401@4-6"]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[IbmEndpoint]:
    with start_endpoint(speed=40.0) as started:
        yield started


@pytest.fixture(params=["ibm", "qrmi"])
def make(request: pytest.FixtureRequest, endpoint: IbmEndpoint) -> Callable[..., Provider]:
    return endpoint.ibm if request.param == "ibm" else endpoint.qrmi


@pytest.fixture(autouse=True)
def healthy_endpoint(endpoint: IbmEndpoint) -> Iterator[None]:
    """Each test starts without faults, and leaves nothing that was paid twice."""
    endpoint.heal()
    yield
    endpoint.heal()
    assert endpoint.account["tags_paid_twice"] == []


def job() -> Job:
    return Job.of((on_device(3),), 100, f"shotclock:{next(NUMBERS):024x}", rep_delay_s=0.0)


async def kind_of(work: Coroutine[Any, Any, Any]) -> FaultKind:
    with pytest.raises(ProviderError) as caught:
        await work
    assert "\n" not in str(caught.value)
    return caught.value.kind


def charges(endpoint: IbmEndpoint, tag: str) -> int:
    return sum(tag in charge["tags"] for charge in endpoint.account["charges"])


@pytest.mark.parametrize("fault", REFUSED)
def test_what_stops_a_submit(fault: str, make: Callable[..., Provider], endpoint: IbmEndpoint) -> None:
    async def main() -> None:
        provider, asked_for = make(max_money=10.0), job()
        endpoint.fault(fault)
        assert await kind_of(provider.submit(asked_for)) is REFUSED[fault]
        endpoint.heal()
        # Only what may have taken effect keeps its share of the money.
        assert (provider.budget.reservation > 0.0) == (REFUSED[fault] is FaultKind.AMBIGUOUS)
        assert (await provider.collect(await provider.submit(job()))).samples[0].shots == 100

    asyncio.run(main())


@pytest.mark.parametrize(("fault", "jobs"), [("drop", 1), ("drop-before", 0)])
def test_a_lost_answer_is_looked_up_by_the_tag(fault: str, jobs: int, endpoint: IbmEndpoint) -> None:
    async def main() -> None:
        provider, lost = endpoint.ibm(max_money=10.0), job()
        endpoint.fault(fault)
        assert await kind_of(provider.submit(lost)) is FaultKind.AMBIGUOUS
        adopted = await provider.find(lost.tag)
        assert len(adopted) == jobs
        for accepted in adopted:
            assert (await provider.collect(accepted)).samples[0].shots == 100
            await provider.wait_settled()
            assert provider.budget.reservation == 0.0
        assert charges(endpoint, lost.tag) == jobs

    asyncio.run(main())


def test_qrmi_says_that_a_lost_answer_cannot_be_looked_up(endpoint: IbmEndpoint) -> None:
    async def main() -> None:
        provider, lost = endpoint.qrmi(), job()
        endpoint.fault("drop")
        assert await kind_of(provider.submit(lost)) is FaultKind.AMBIGUOUS
        with pytest.raises(ProviderError, match="keeps no tags"):
            await provider.find(lost.tag)

    asyncio.run(main())


@pytest.mark.parametrize("fault", ENDED)
def test_how_a_job_ends_without_samples(
    fault: str, make: Callable[..., Provider], endpoint: IbmEndpoint
) -> None:
    async def main() -> None:
        provider = make()
        endpoint.fault(fault)
        accepted = await provider.submit(job())
        # QRMI does not say why a job failed, so nothing may be repeated.
        kind = ENDED[fault] if provider.name == "ibm" else FaultKind.PERMANENT
        assert await kind_of(provider.collect(accepted)) is kind

    asyncio.run(main())


@pytest.mark.parametrize("fault", BORNE)
def test_what_only_takes_longer(fault: str, make: Callable[..., Provider], endpoint: IbmEndpoint) -> None:
    async def main() -> None:
        provider = make()
        endpoint.fault(fault)
        assert (await provider.collect(await provider.submit(job()))).samples[0].shots == 100

    asyncio.run(main())


def test_without_any_answer_nobody_knows(make: Callable[..., Provider], endpoint: IbmEndpoint) -> None:
    async def main() -> None:
        provider = make(cadence=replace(IMPATIENT, patience_s=0.5))
        accepted = await provider.submit(job())
        endpoint.fault("503/1")
        assert await kind_of(provider.collect(accepted)) is FaultKind.AMBIGUOUS

    asyncio.run(main())


def test_a_ping_says_when_no_jobs_are_taken(make: Callable[..., Provider], endpoint: IbmEndpoint) -> None:
    async def main() -> None:
        provider = make()
        await provider.ping()
        endpoint.fault("maintenance")
        assert await kind_of(provider.ping()) is FaultKind.TRANSIENT

    asyncio.run(main())


def test_without_usage_left_nothing_is_submitted(endpoint: IbmEndpoint) -> None:
    async def main() -> None:
        provider, refused = endpoint.ibm(), job()
        endpoint.fault("exhausted")
        with pytest.raises(ProviderError, match="no usage left") as caught:
            await provider.submit(refused)
        assert caught.value.kind is FaultKind.PERMANENT
        assert await kind_of(provider.ping()) is FaultKind.PERMANENT
        assert await provider.find(refused.tag) == ()

    asyncio.run(main())


class IsaSynthesizer(NullSynthesizer):
    """The tests' synthesizer with templates that a real back end can run."""

    async def bind(self, subproblem: Subproblem, line: tuple[int, ...] = ()) -> DeviceCircuit:
        n = subproblem.n
        return QaoaCircuit(template(line or tuple(range(n))), QaoaParameters.idle(n))


def solve_once(provider: Provider, ledger: MemoryLedger) -> Outcome:
    """One call through the whole orchestrator, with its ledger."""

    async def main() -> Outcome:
        system: Any = System(provider, ledger=ledger)  # type: ignore[arg-type]
        system.pipeline.synthesizer = IsaSynthesizer()
        system.pipeline._rng = random.Random()  # tags are unique for ever, as where a provider is paid
        await system.orchestrator.start(make_subproblem())
        try:
            outcome: Outcome = await system.orchestrator.solve(make_subproblem(budget_ms=120_000))
            return outcome
        finally:
            await system.orchestrator.stop()
            await provider.wait_settled()
            await provider.close()

    return asyncio.run(main())


# Outcome, how often the call is charged in all, whether its record waits for a person.
WHOLE: dict[str, tuple[type[Done | Degraded], int, bool]] = {
    "401": (Degraded, 0, False),
    "403": (Degraded, 0, False),
    "409": (Done, 1, False),
    "1202@1-2": (Done, 1, False),
    "3458": (Done, 1, False),
    "500": (Done, 1, False),
    "503@3": (Done, 1, False),
    "drop": (Done, 1, False),
    "drop-before": (Degraded, 0, True),
    "fail": (Done, 1, False),
    "cancel": (Degraded, 0, False),
    "1305": (Degraded, 1, False),
    "corrupt": (Degraded, 1, False),
    "late": (Done, 1, False),
    "slow": (Done, 1, False),
    "maintenance": (Done, 1, False),
    "exhausted": (Degraded, 0, False),
}


@pytest.mark.parametrize("fault", WHOLE)
def test_every_fault_ends_in_its_outcome_and_is_paid_once_at_most(fault: str, endpoint: IbmEndpoint) -> None:
    expected, paid, parked = WHOLE[fault]
    before = len(endpoint.account["charges"])
    provider, ledger = endpoint.ibm(max_money=100.0), MemoryLedger(lambda: 0.0)
    endpoint.fault(fault)
    outcome = solve_once(provider, ledger)
    assert isinstance(outcome, expected), outcome
    assert len(endpoint.account["charges"]) - before == paid
    records = asyncio.run(ledger.jobs())
    assert (LedgerState.PARKED in {record.state for record in records}) == parked
    assert provider.limits.paid
    assert outcome.provenance.emulated


def test_a_budget_of_money_stops_submitting(endpoint: IbmEndpoint) -> None:
    async def main() -> None:
        provider = endpoint.ibm(max_money=0.006, price=1.0)
        first, refused = job(), job()
        await provider.collect(await provider.submit(first))
        with pytest.raises(ProviderError, match=r"^money: .* USD, .* of the limit 0.006") as caught:
            await provider.submit(refused)
        assert caught.value.kind is FaultKind.PERMANENT
        await provider.wait_settled()
        assert 0.0 < provider.budget.expenditure <= 0.006
        assert await provider.find(refused.tag) == ()
        assert charges(endpoint, refused.tag) == 0

    asyncio.run(main())
