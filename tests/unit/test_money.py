"""What a remote provider counts as spent: unknown usage is never nothing, and nothing counts twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit

from harness import Inline, LoopClock, random_parameters, run_virtual, without_qpy
from shotclock.domain.circuit import Samples
from shotclock.domain.errors import FaultKind, ProviderError
from shotclock.domain.ports import Accepted, Execution, Job, ProviderLimits
from shotclock.providers.client import DeviceLimits, JobMetrics, SessionGoneError
from shotclock.providers.money import MoneyBudget, Price
from shotclock.providers.polling import Cadence
from shotclock.providers.qpu_intervals import QpuIntervals
from shotclock.providers.remote import RemoteProvider
from shotclock.providers.scripted import random_samples
from shotclock.providers.workload import SharedWorkload, WorkloadPolicy

ESTIMATE_S = 4.0
UNKNOWN: list[Any] = [None, -1.0, float("nan"), float("inf")]


@dataclass(frozen=True)
class NamedJob:
    """A job or a lease of nobody's."""

    id: str
    tag: str = ""


@dataclass
class Account:
    """A Client without a network. usage: of every job as its record has it; session: of every session,
    one reading after the other, the last for ever.
    """

    usage: Any = None
    session: list[Any] = field(default_factory=lambda: [None])
    tells: bool = True
    name: str = "account"
    acquisition: str = ""
    submits: int = 0
    opened: int = 0
    gone: set[str] = field(default_factory=set)
    cancels: int = 0

    def open(self, mode: str, max_time_s: int | None) -> NamedJob:
        del max_time_s
        if mode == "job":
            return NamedJob("")
        self.opened += 1
        return NamedJob(f"session-{self.opened}")

    def close(self, lease: NamedJob) -> None:
        """Nothing to end."""

    def usage_s(self, lease: NamedJob) -> Any:
        del lease
        return self.session.pop(0) if len(self.session) > 1 else self.session[0]

    def submit(self, lease: NamedJob, circuits: Any, shots: int, tag: str, delay: float | None) -> NamedJob:
        if lease.id in self.gone:
            raise SessionGoneError(FaultKind.TRANSIENT, "closed")
        self.submits += 1
        return NamedJob(f"job-{self.submits}", tag)

    def job(self, job_id: str) -> NamedJob:
        return NamedJob(job_id, f"tag-{job_id}")

    def has_ended(self, job: NamedJob) -> bool:
        return True

    def samples(self, job: NamedJob) -> tuple[Samples, ...]:
        return (random_samples(2, 10, np.random.default_rng(1)),)

    def metrics(self, job: NamedJob) -> JobMetrics:
        return JobMetrics(usage_s=self.usage, tells_usage=self.tells)

    def cancel(self, job: NamedJob) -> None:
        self.cancels += 1


class Forecast:
    """Of every job the same, but for its shots."""

    def latency_s(self, job: Job) -> float:
        return 0.01

    def qpu_s(self, job: Job) -> float:
        return ESTIMATE_S * job.shots / 10


def provider_of(client: Any, limit: float, mode: Any = "job", price: float = 1.0) -> RemoteProvider[Any, Any]:
    device = DeviceLimits("d", False, 10, 100, 10, 0.0, (0.0, 0.0))
    budget = MoneyBudget(limit, Price(price))
    inline = Inline()
    return RemoteProvider(
        client,
        device,
        forecast=Forecast(),
        budget=budget,
        workload=SharedWorkload(client, inline, WorkloadPolicy(mode, idle_s=1.0), budget),
        circuit_builder=lambda pub, n: QuantumCircuit(n),
        threads=inline,
        clock=LoopClock(),
        limits=ProviderLimits(1, 100, 10, None, True, False, 10),
        cadence=Cadence(),
    )


def job(tag: str, shots: int = 10) -> Job:
    return Job.of((without_qpy(random_parameters(2, 1)),), shots, tag)


async def run_job(provider: RemoteProvider[Any, Any], tag: str) -> Execution:
    execution = await provider.collect(await provider.submit(job(tag)))
    await provider.wait_settled()
    return execution


def sum_committed(provider: RemoteProvider[Any, Any]) -> float:
    return provider.budget.expenditure + provider.budget.reservation


def virtual(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    run_virtual(work())


@pytest.mark.parametrize("mode", ["job", "batch", "session"])
@pytest.mark.parametrize("tells", [True, False])
@pytest.mark.parametrize("session", [None, 0.0, -5.0, float("nan"), "7"])
def test_a_budget_of_ten_never_pays_for_more_where_nothing_is_reported(
    session: Any, tells: bool, mode: str
) -> None:
    async def main() -> None:
        client = Account(None, [session], tells)
        provider = provider_of(client, 10.0, mode)
        for number in range(2):
            assert (await run_job(provider, f"t{number}")).qpu_s == ESTIMATE_S
        for number in range(2, 10):
            with pytest.raises(ProviderError, match=r"^money: "):
                await provider.submit(job(f"t{number}"))
        assert client.submits == 2  # of 4 each
        await provider.close()
        assert sum_committed(provider) >= 2 * ESTIMATE_S

    virtual(main)


@pytest.mark.parametrize("session", [None, 0.0])
def test_in_a_session_without_usage_the_jobs_own_counts(session: Any) -> None:
    async def main() -> None:
        provider = provider_of(Account(3.0, [session]), 100.0, "session")
        await run_job(provider, "a")
        await run_job(provider, "b")
        assert provider.budget.expenditure == 6.0
        await provider.close()
        assert provider.budget.expenditure == 6.0
        assert provider.charges().sessions_untold == 1

    virtual(main)


def test_what_a_session_reports_covers_its_jobs_and_never_goes_back() -> None:
    async def main() -> None:
        provider = provider_of(Account(3.0, [20.0, 12.0, 5.0]), 100.0, "session")
        await run_job(provider, "a")
        assert provider.budget.expenditure == 20.0
        await run_job(provider, "b")
        assert provider.budget.expenditure == 20.0
        await provider.close()
        assert (provider.budget.expenditure, provider.budget.reservation) == (20.0, 0.0)
        (bill,) = provider.workload.bills
        assert bill.usage_s == 20.0

    virtual(main)


def test_a_final_figure_of_a_session_covers_the_jobs_that_report_nothing() -> None:
    async def main() -> None:
        provider = provider_of(Account(None, [None, 9.0]), 100.0, "session")
        await provider.collect(await provider.submit(job("a")))
        await asyncio.sleep(2.0)  # it idles out, and says nothing at first
        assert sum_committed(provider) == ESTIMATE_S + 1.0  # and the idle time that it may have had
        await provider.wait_settled()
        await provider.close()
        assert (provider.budget.expenditure, provider.budget.reservation) == (9.0, 0.0)

    virtual(main)


def test_the_jobs_of_a_session_that_the_service_closed_stay_counted() -> None:
    async def main() -> None:
        client = Account(3.0)
        provider = provider_of(client, 100.0, "session")
        await run_job(provider, "a")
        client.gone.add("session-1")
        with pytest.raises(SessionGoneError):
            await provider.submit(job("b"))
        await run_job(provider, "c")
        assert provider.budget.expenditure == 6.0
        await provider.close()
        assert provider.budget.expenditure == 6.0
        assert provider.charges().sessions_untold == 2

    virtual(main)


@pytest.mark.parametrize("mode", ["job", "session"])
def test_a_cancel_after_a_collect_counts_nothing_twice(mode: str) -> None:
    async def main() -> None:
        client = Account(3.0)
        provider = provider_of(client, 100.0, mode)
        accepted = await provider.submit(job("a"))
        await provider.collect(accepted)
        await provider.cancel(accepted)
        await provider.wait_settled()
        assert provider.budget.expenditure == 3.0
        assert provider.charges().abandoned == 0
        assert client.cancels == 0

    virtual(main)


def test_a_cancelled_job_counts_once_however_often_it_is_cancelled() -> None:
    async def main() -> None:
        provider = provider_of(Account(3.0), 100.0)
        accepted = await provider.submit(job("a"))
        for _ in range(3):
            await provider.cancel(accepted)
        await provider.wait_settled()
        charges = provider.charges()
        assert (charges.abandoned, charges.abandoned_s, provider.budget.expenditure) == (1, 3.0, 3.0)

    virtual(main)


@pytest.mark.parametrize("tells", [True, False])
def test_an_adopted_job_counts_as_one_of_its_shots(tells: bool) -> None:
    async def main() -> None:
        provider = provider_of(Account(None, tells=tells), 10.0)
        adopted = Accepted("job-before", shots=20)
        assert (await provider.collect(adopted)).qpu_s == 2 * ESTIMATE_S
        await provider.wait_settled()
        assert sum_committed(provider) == 2 * ESTIMATE_S
        with pytest.raises(ProviderError, match=r"^money: "):
            await provider.submit(job("next"))

    virtual(main)


def test_a_job_that_fails_leaves_its_session_to_idle_out() -> None:
    class FailingClient(Account):
        def has_ended(self, job: NamedJob) -> bool:
            raise ProviderError(FaultKind.TRANSIENT, "away")

    async def main() -> None:
        provider = provider_of(FailingClient(3.0, [7.0]), 100.0, "session")
        with pytest.raises(ProviderError) as caught:
            await provider.collect(await provider.submit(job("a")))
        assert caught.value.kind is FaultKind.AMBIGUOUS
        await asyncio.sleep(2.0)  # longer than a session may idle
        assert len(provider.workload.bills) == 1
        assert provider.charges().abandoned_s == 3.0

    virtual(main)


def test_running_time_that_other_jobs_had_the_qpu_is_not_counted_again() -> None:
    intervals = QpuIntervals()
    ended = [
        JobMetrics(running_s=2.0, finished_at_s=102.0),
        JobMetrics(running_s=5.0, finished_at_s=105.0),  # RUNNING since 100, with the QPU since 102
        JobMetrics(running_s=1.0, finished_at_s=110.0),
        JobMetrics(running_s=4.0, finished_at_s=104.0),  # its metrics were read last
        JobMetrics(running_s=4.0, finished_at_s=111.0, usage_s=0.75),
        JobMetrics(running_s=4.0),
        JobMetrics(),
    ]
    assert [intervals.add(metrics, ESTIMATE_S) for metrics in ended] == [2, 3, 1, 2, 0.75, 4, ESTIMATE_S]


def test_an_emulation_that_computes_for_longer_than_it_emulates_counts_as_no_more_than_the_estimate() -> None:
    intervals = QpuIntervals()
    computed_s = 4 * ESTIMATE_S
    late = JobMetrics(running_s=computed_s, finished_at_s=100.0, overrun=True)
    assert intervals.add(late, ESTIMATE_S) == ESTIMATE_S
    following = replace(late, finished_at_s=100.0 + ESTIMATE_S / 2)
    assert intervals.add(following, ESTIMATE_S) == ESTIMATE_S / 2
    on_time = replace(late, finished_at_s=200.0, overrun=False)
    assert intervals.add(on_time, ESTIMATE_S) == computed_s


def test_a_record_that_never_comes_does_not_hold_the_samples() -> None:
    class Threads(Inline):
        async def run(self, work: Any, /, *args: Any, **kwargs: Any) -> Any:
            if getattr(work, "__name__", "") == "metrics":
                await asyncio.sleep(3_600)
            return work(*args, **kwargs)

    async def main() -> None:
        provider = provider_of(Account(3.0), 100.0)
        provider._threads = Threads()
        accepted = await provider.submit(job("a"))
        assert (await provider.collect(accepted)).qpu_s == ESTIMATE_S
        assert asyncio.get_running_loop().time() < 10.0

    virtual(main)


@pytest.mark.parametrize("seconds", UNKNOWN)
def test_what_is_no_length_leaves_a_budget_as_it_is(seconds: float | None) -> None:
    budget = MoneyBudget(10.0, Price(1.0))
    budget.reserve("a", 3.0)
    budget.spend("a", seconds)
    assert (budget.expenditure, budget.reservation) == (0.0, 3.0)
    if seconds is not None:
        with pytest.raises(ProviderError, match=r"^money: "):
            budget.reserve("b", seconds)
    with pytest.raises(ProviderError, match=r"^money: "):
        budget.reserve("c", 8.0)


def test_two_providers_share_a_budget() -> None:
    async def main() -> None:
        first, second = provider_of(Account(None), 10.0), provider_of(Account(None), 10.0)
        second.budget = first.budget
        await first.submit(job("a"))
        await second.submit(job("b"))
        for each_provider in (first, second):
            with pytest.raises(ProviderError, match=r"^money: "):
                await each_provider.submit(job("c"))

    virtual(main)


def test_a_sum_that_reaches_the_limit_is_within_it() -> None:
    budget = MoneyBudget(0.3, Price(1.0))
    for key in "abc":
        budget.reserve(key, 0.1)
    with pytest.raises(ProviderError, match=r"^money: "):
        budget.reserve("d", 0.001)
