"""A QPU behind a vendor's client: the client makes single requests, this module waits and polls.

A submit is one request with its tag and is never repeated here. A poll that fails is ignored; only after the
cadence's limit without any answer that is understood does the job's outcome count as unknown (AMBIGUOUS). A
vendor's reads may lag behind its submits, so a job or result that is not found is requested again within the
cadence's grace. Only a job that failed because of the vendor's system is TRANSIENT, since it costs nothing.
`usage_settlement` determines what jobs cost.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic, ParamSpec, Protocol, TypeVar

from qiskit import QuantumCircuit

from shotclock.domain.accounting import Charges, MoneyLeft
from shotclock.domain.budget import NS_PER_S
from shotclock.domain.circuit import Pub, Samples
from shotclock.domain.errors import FaultKind, JobEndedError, ProviderError
from shotclock.domain.ports import Accepted, Clock, Execution, Job, Offload, ProviderLimits
from shotclock.providers.client import (
    Client,
    DeviceLimits,
    J,
    JobMetrics,
    JobNotFoundError,
    L,
    SessionGoneError,
    UnreadableError,
    Usage,
)
from shotclock.providers.edge import describe, translate_errors
from shotclock.providers.jobs import check_limits
from shotclock.providers.money import MoneyBudget, Price
from shotclock.providers.polling import STEADY, Cadence
from shotclock.providers.qpu_intervals import QpuIntervals
from shotclock.providers.submitted_job import SubmittedJob, representative_job
from shotclock.providers.usage_settlement import UsageSettlement
from shotclock.providers.workload import ALONE, SharedWorkload, WorkloadPolicy

P = ParamSpec("P")
T = TypeVar("T")
A = TypeVar("A")

CircuitBuilder = Callable[[Pub, int], QuantumCircuit]
"""Composes a PUB into one ISA circuit of a number of qubits, with a classical register per circuit."""

READINGS = 3
REMEMBERED = 1024


class JobForecast(Protocol):
    """Predicts a job's times, in seconds of real time."""

    def latency_s(self, job: Job) -> float:
        """The p95 of submit to samples with an empty queue."""

    def qpu_s(self, job: Job) -> float:
        """The QPU time that will be charged."""


@dataclass(frozen=True, slots=True)
class RemoteSetup:
    """What a remote provider needs besides its vendor's client.

    backend: the vendor's name of the device; "" lets the vendor's module choose.
    forecast: predicts how long a job takes and what it is charged.
    price: the price of a second of QPU time.
    max_money: the most that may be spent in total, in the price's currency.
    circuit_builder: composes a PUB into the circuit to send.
    clock: times submits and answers.
    policy: job, batch or session, and their limits.
    submissions_per_minute: the vendor's limit; None if it has none.
    cadence: how often a job is polled, and for how long.
    """

    backend: str
    forecast: JobForecast
    price: Price
    max_money: float
    circuit_builder: CircuitBuilder
    clock: Clock
    policy: WorkloadPolicy = ALONE
    submissions_per_minute: float | None = None
    cadence: Cadence = STEADY


class RemoteProvider(Generic[J, L]):
    """Implements Provider on one back end of one account; `close` ends its session."""

    def __init__(
        self,
        client: Client[J, L],
        device: DeviceLimits,
        *,
        forecast: JobForecast,
        budget: MoneyBudget,
        workload: SharedWorkload[J, L],
        circuit_builder: CircuitBuilder,
        threads: Offload,
        clock: Clock,
        limits: ProviderLimits,
        cadence: Cadence,
    ) -> None:
        self.name = client.name
        self.limits = limits
        self.device = device
        self.budget = budget
        self.workload = workload
        self._client = client
        self._forecast = forecast
        self._circuit_builder = circuit_builder
        self._threads = threads
        self._clock = clock
        self._cadence = cadence
        self._settlement = UsageSettlement(workload, cadence, self._metrics)
        self._open_jobs: dict[str, SubmittedJob[J]] = {}
        self._intervals = QpuIntervals()
        self._speed = 1.0  # of an emulated endpoint, once a job has reported it
        self._ended_here: OrderedDict[str, bool] = OrderedDict()

    def predict_s(self, job: Job) -> float:
        """See `Provider.predict_s`; from the profile and the device's parameters."""
        return self._forecast.latency_s(job) / self._speed

    async def usage(self) -> Usage:
        """The account's usage."""
        return await self._ask(self._client.usage)

    async def submit(self, job: Job) -> Accepted:
        """Submits by one POST; a job over the device's limits or the money budget is refused as PERMANENT."""
        self._check(job)
        estimate_s = self._forecast.qpu_s(job)
        self.budget.reserve(job.tag, estimate_s)
        began = self._clock.now_ns()
        try:
            circuits = await self._compose(job)
            lease, handle = await self._enter_and_submit(circuits, job)
        except ProviderError as error:
            if error.kind is not FaultKind.AMBIGUOUS:
                self.budget.release(job.tag)
            raise
        accepted = self._clock.now_ns()
        expected_s = max(0.0, self.predict_s(job) - (accepted - began) / NS_PER_S)
        account = self.workload.account(lease)
        self._open_jobs[handle.id] = SubmittedJob(
            handle,
            job.tag,
            began,
            accepted,
            expected_s,
            estimate_s,
            account,
            acquisition=lease.id or self._client.acquisition,
        )
        return Accepted(handle.id, shots=job.shots)

    async def _compose(self, job: Job) -> list[QuantumCircuit]:
        """Composes the circuits on a thread, since that blocks; a failure here means nothing was sent."""

        def compose() -> list[QuantumCircuit]:
            return [self._circuit_builder(pub, self.device.n_qubits) for pub in job.pubs]

        with translate_errors(
            lambda error: ProviderError(FaultKind.PERMANENT, f"{self.name}: {describe(error)}")
        ):
            return await self._threads.run(compose)

    async def _enter_and_submit(self, circuits: list[QuantumCircuit], job: Job) -> tuple[L, J]:
        lease = await self.workload.enter()
        try:
            with translate_errors(
                lambda error: ProviderError(FaultKind.AMBIGUOUS, f"{self.name}: {describe(error)}")
            ):
                handle = await self._threads.run(
                    self._client.submit, lease, circuits, job.shots, job.tag, job.rep_delay_s
                )
        except SessionGoneError:
            self.workload.drop(lease)
            raise
        except ProviderError as error:
            self.workload.leave(accepted=error.kind is FaultKind.AMBIGUOUS)
            raise
        return lease, handle

    async def collect(self, accepted: Accepted) -> Execution:
        """Polls until the job has ended, then fetches samples and metrics concurrently."""
        job = await self._look_up(accepted)
        try:
            unseen_ns, seen_ns = await self._wait_for_end(job)
            samples, metrics = await self._samples_and_metrics(job)
            if job.cancelled:
                raise _explain_cancelled(job.job.id)
        except ProviderError:
            self._settlement.abandon(job)
            self._end(job, JobMetrics())
            raise
        self._settlement.deliver(job)
        self._end(job, metrics)
        self._remember(job.job.id, cancelled=False)
        return self._execution(job, samples, metrics, unseen_ns, seen_ns)

    async def cancel(self, accepted: Accepted) -> None:
        """Cancels the job; what it has consumed so far may be charged. A collected job is left alone."""
        if accepted.job_id in self._ended_here:
            return
        job = await self._look_up(accepted)
        job.cancelled = True
        self._settlement.abandon(job)
        try:
            await self._until_found(self._client.cancel, job.job, grace_s=self._cadence.cancel_grace_s)
        finally:
            self._end(job, JobMetrics())
        self._remember(accepted.job_id, cancelled=True)

    async def find(self, tag: str) -> tuple[Accepted, ...]:
        """See `Provider.find`: this process's open jobs, else the vendor's list, which may lag."""
        open_jobs = tuple(Accepted(id_) for id_, job in self._open_jobs.items() if job.key == tag)
        if open_jobs:
            return open_jobs
        return tuple(Accepted(job_id) for job_id in await self._ask(self._client.find, tag))

    async def ping(self) -> None:
        """See `Provider.ping`: checks the device's status and the remaining usage."""
        await self._ask(self._client.ping)

    def handle(self, accepted: Accepted) -> J:
        """The vendor's job while it is open; KeyError once it has ended."""
        return self._open_jobs[accepted.job_id].job

    async def wait_settled(self) -> None:
        """Waits until the usage of every ended job is known, or the last request for it has failed."""
        await self._settlement.wait()

    async def close(self) -> None:
        """Ends the session, so that it is charged no longer; requests usage that is not final once more."""
        await self._settlement.close()

    def money_left(self) -> MoneyLeft | None:
        """See `Budgeted`."""
        budget = self.budget
        if not budget.limit:
            return None
        remaining = budget.limit - budget.expenditure - budget.reservation
        return MoneyLeft(budget.limit, remaining, budget.price.currency)

    def estimate_s(self, job: Job) -> float:
        """See `Budgeted`."""
        return self._forecast.qpu_s(job)

    def on_usage(self, report: Callable[[str, float], None]) -> None:
        """See `Budgeted`; of the session's own time beyond its jobs too, under the session's id."""
        self.budget.on_usage(report)

    def charges(self) -> Charges:
        """See `Charged`."""
        return self._settlement.charges()

    def _check(self, job: Job) -> None:
        check_limits(job, self.limits)
        if len(job.pubs) > self.limits.max_pubs:
            raise ProviderError(
                FaultKind.PERMANENT, f"PUBs: must be at most {self.limits.max_pubs} (got {len(job.pubs)})"
            )
        low, high = self.device.rep_delay_range_s
        if job.rep_delay_s is not None and not low - 1e-12 <= job.rep_delay_s <= high + 1e-12:
            raise ProviderError(
                FaultKind.PERMANENT,
                f"rep_delay: must be {low * 1e6:g} to {high * 1e6:g} us on {self.device.backend} "
                f"(got {job.rep_delay_s * 1e6:g} us)",
            )

    async def _ask(self, read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Makes one read. Translates exceptions that the client itself should have translated."""
        with translate_errors(
            lambda error: ProviderError(FaultKind.TRANSIENT, f"{self.name}: {describe(error)}")
        ):
            return await self._threads.run(read, *args, **kwargs)

    async def _until_found(self, ask: Callable[[A], T], about: A, *, grace_s: float) -> T:
        """The answer about a job; repeats the request for `grace_s` while the job is not found."""
        began = self._clock.now_ns()
        while True:
            try:
                return await self._ask(ask, about)
            except JobNotFoundError:
                if (self._clock.now_ns() - began) / NS_PER_S >= grace_s:
                    raise
            await asyncio.sleep(min(self._cadence.far_s, grace_s))

    async def _look_up(self, accepted: Accepted) -> SubmittedJob[J]:
        """The record of the job.

        A job submitted by another process is requested from the vendor, and counts in the budget from now on:
        with the amount reserved for its tag, else with that of a representative job of its shots.
        """
        if self._ended_here.get(accepted.job_id, False):
            raise _explain_cancelled(accepted.job_id)
        job = self._open_jobs.get(accepted.job_id)
        if job is None:
            handle = await self._until_found(self._client.job, accepted.job_id, grace_s=self._cadence.grace_s)
            now = self._clock.now_ns()
            estimate_s = self.budget.reserved_s(handle.tag)
            if estimate_s is None:
                shots = accepted.shots or self.limits.max_shots
                estimate_s = self._forecast.qpu_s(representative_job(shots))
                self.budget.commit(handle.tag, estimate_s)
            adopted = SubmittedJob(handle, handle.tag, now, now, 0.0, estimate_s, entered=False)
            job = self._open_jobs.setdefault(accepted.job_id, adopted)
        return job

    async def _wait_for_end(self, job: SubmittedJob[J]) -> tuple[int, int]:
        """Polls until the job has ended.

        Returns when the last poll that saw it running was sent, and when one saw its end, on our clock.
        """
        unseen = job.began_ns
        heard = found_at_ns = self._clock.now_ns()
        while True:
            asked_at_ns = self._clock.now_ns()
            if job.cancelled:
                raise _explain_cancelled(job.job.id)
            pause_s = 0.0
            try:
                ended = await self._ask(self._client.has_ended, job.job)
            except ProviderError as error:
                pause_s = self._raise_if_hopeless(job, error, heard, found_at_ns)
                found_at_ns = found_at_ns if isinstance(error, JobNotFoundError) else self._clock.now_ns()
            else:
                heard = found_at_ns = self._clock.now_ns()
                if ended and not job.cancelled:
                    return unseen, heard
                unseen = asked_at_ns
            waited_s = (self._clock.now_ns() - job.accepted_ns) / NS_PER_S
            await asyncio.sleep(max(pause_s, self._cadence.wait_s(waited_s, job.expected_s)))

    async def _samples_and_metrics(self, job: SubmittedJob[J]) -> tuple[tuple[Samples, ...], JobMetrics]:
        """Fetches both concurrently; paid samples must not be late because of the metrics."""
        metrics = asyncio.ensure_future(self._metrics(job))
        try:
            samples = await self._samples(job)
            await asyncio.wait({metrics}, timeout=self._cadence.metrics_s)
            return samples, metrics.result() if metrics.done() else JobMetrics()
        finally:
            metrics.cancel()

    async def _samples(self, job: SubmittedJob[J]) -> tuple[Samples, ...]:
        """Reads the samples; a read is free, so a failed one is repeated, but the job never is."""
        heard = self._clock.now_ns()
        unreadable = 0
        while True:
            pause_s = 0.0
            try:
                return await self._ask(self._client.samples, job.job)
            except UnreadableError:
                unreadable += 1
                if unreadable == READINGS:
                    raise
            except ProviderError as error:
                pause_s = self._raise_if_hopeless(job, error, heard, heard)
            await asyncio.sleep(max(pause_s, self._cadence.far_s))

    def _raise_if_hopeless(
        self, job: SubmittedJob[J], error: ProviderError, heard_ns: int, found_ns: int
    ) -> float:
        """Raises if polling again is useless, else returns the wait the vendor requests, seconds.

        heard_ns: when an answer was last understood.
        found_ns: when the job was last found.
        """
        now, cadence = self._clock.now_ns(), self._cadence
        if isinstance(error, JobNotFoundError):
            if (now - found_ns) / NS_PER_S >= cadence.grace_s:
                raise error
        elif isinstance(error, JobEndedError):
            raise error
        if (now - heard_ns) / NS_PER_S > cadence.patience_s:
            raise ProviderError(
                FaultKind.AMBIGUOUS,
                f"{job.job.id}: no answer for {cadence.patience_s:g} s; last error: {error}",
            ) from error
        return min(error.retry_after_s, cadence.patience_s)

    async def _metrics(self, job: SubmittedJob[J]) -> JobMetrics:
        try:
            return await self._ask(self._client.metrics, job.job)
        except ProviderError:
            return JobMetrics()

    def _execution(
        self,
        job: SubmittedJob[J],
        samples: tuple[Samples, ...],
        metrics: JobMetrics,
        unseen_ns: int,
        seen_ns: int,
    ) -> Execution:
        """Places the vendor's durations on our clock.

        The vendor's clock is not ours, so its instants are not used: the job finished between two polls, and
        its reported durations after its submit.
        """
        speed = self._speed = metrics.speed or self._speed
        queued_ns, ran_ns = (
            round((s or 0.0) / speed * NS_PER_S) for s in (metrics.queued_s, metrics.running_s)
        )
        finished = seen_ns
        if metrics.running_s is not None:
            finished = min(max(job.accepted_ns + queued_ns + ran_ns, unseen_ns), seen_ns)
        emulated = self.limits.emulated
        return Execution(
            tuple(replace(each, simulation=metrics.simulation) for each in samples),
            running_at_ns=max(job.began_ns, finished - ran_ns),
            finished_at_ns=finished,
            collected_at_ns=self._clock.now_ns(),
            queue_emulated_ns=queued_ns if emulated else 0,
            execution_emulated_ns=ran_ns if emulated else 0,
            qpu_s=self._intervals.add(metrics, job.estimate_s),
            emulator_overrun=metrics.overrun,
            acquisition=job.acquisition,
        )

    def _end(self, job: SubmittedJob[J], metrics: JobMetrics) -> None:
        """Ends the job for its caller; its usage is requested in the background."""
        if job.over:
            return
        job.over = True
        self._open_jobs.pop(job.job.id, None)
        if job.entered:
            self.workload.leave(metrics.running_s or 0.0, job.account)
        self._settlement.start(job)

    def _remember(self, job_id: str, *, cancelled: bool) -> None:
        """Remembers the latest ended jobs, so that a repeated collect or cancel counts none twice."""
        self._ended_here[job_id] = cancelled
        while len(self._ended_here) > REMEMBERED:
            self._ended_here.popitem(last=False)


def _explain_cancelled(job_id: str) -> ProviderError:
    return ProviderError(FaultKind.PERMANENT, f"job {job_id} was cancelled")


def build_provider(
    client: Client[J, L], setup: RemoteSetup, threads: Offload, lanes: int
) -> RemoteProvider[J, L]:
    """The provider around a client; blocking: it requests the device's limits.

    An emulated endpoint costs nothing, and counts as paid only if max_money is set, so that the handling of
    paid jobs can be rehearsed.
    """
    device = client.limits()
    budget = MoneyBudget(setup.max_money, setup.price)
    return RemoteProvider(
        client,
        device,
        forecast=setup.forecast,
        budget=budget,
        workload=SharedWorkload(client, threads, setup.policy, budget),
        circuit_builder=setup.circuit_builder,
        threads=threads,
        clock=setup.clock,
        cadence=setup.cadence,
        limits=ProviderLimits(
            lanes=lanes,
            max_shots=device.max_shots,
            max_qubits=device.n_qubits,
            submissions_per_minute=setup.submissions_per_minute,
            paid=not device.emulated or setup.max_money > 0.0,
            emulated=device.emulated,
            max_pubs=device.max_circuits,
            rep_delay_default_s=device.rep_delay_default_s,
            lists_jobs=client.lists_jobs,
        ),
    )
