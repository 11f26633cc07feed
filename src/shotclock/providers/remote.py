"""A QPU behind a vendor's client: the client makes the requests, everything that waits is here.

One submit is one request with its tag, never repeated here. A look that fails is a look that saw nothing:
the loop goes on until the cadence's patience has passed without an answer, then it is not known what
became of the job (AMBIGUOUS). Only a job that failed by the system's fault is TRANSIENT: it costs nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, Protocol

from qiskit import QuantumCircuit

from shotclock.domain.budget import NS_PER_S
from shotclock.domain.circuit import Pub, Samples
from shotclock.domain.errors import FaultKind, JobEndedError, ProviderError
from shotclock.domain.ports import Accepted, Charges, Clock, Execution, Job, Offload, ProviderLimits
from shotclock.providers.client import (
    Client,
    DeviceLimits,
    J,
    L,
    Metrics,
    SessionGoneError,
    UnreadableError,
    Usage,
)
from shotclock.providers.jobs import check_limits
from shotclock.providers.money import MoneyBudget, Price
from shotclock.providers.polling import Cadence
from shotclock.providers.workload import SharedWorkload, WorkloadPolicy

CircuitBuilder = Callable[[Pub, int], QuantumCircuit]
"""A PUB as one ISA circuit of so many qubits, a classical register for each circuit in it."""

USAGE_LOOKS = 12
READINGS = 3
REMEMBERED = 1024
LAST_LOOK_S = 2.0
"""For the usage of jobs that were given up just before the end; a close waits for it."""


class Forecast(Protocol):
    """What a job is expected to take, seconds of real time."""

    def latency_s(self, job: Job) -> float:
        """The p95 of submit to samples with nothing ahead."""

    def qpu_s(self, job: Job) -> float:
        """The QPU time it will be charged."""


@dataclass(slots=True, eq=False)
class _Flight(Generic[J]):
    """A job under way. began and accepted: of its submit, on our clock; key: its name in the budget.

    expected_s: submit to samples; estimate_s: QPU time, booked where the vendor tells no usage;
    entered: it counts as a job of the workload that is open; abandoned: no samples of it will be handed out.
    """

    job: J
    key: str
    began_ns: int
    accepted_ns: int
    expected_s: float
    estimate_s: float
    entered: bool = True
    given_up: bool = False
    abandoned: bool = False
    over: bool = False


class RemoteProvider(Generic[J, L]):
    """Implements Provider on one back end of one account; `close` ends its session."""

    def __init__(
        self,
        client: Client[J, L],
        device: DeviceLimits,
        *,
        forecast: Forecast,
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
        self._flights: dict[str, _Flight[J]] = {}
        self._speed = 1.0  # of an emulation, once a job has told it
        self._given_up: deque[str] = deque(maxlen=REMEMBERED)
        self._settling: dict[asyncio.Task[None], _Flight[J]] = {}
        self._abandoned = 0
        self._abandoned_told = 0
        self._abandoned_s = 0.0

    def predict_s(self, job: Job) -> float:
        """See `Provider.predict_s`; from the profile's and the device's figures."""
        return self._forecast.latency_s(job) / self._speed

    async def usage(self) -> Usage:
        """What the account has consumed and may consume."""
        return await self._threads.run(self._client.usage)

    async def submit(self, job: Job) -> Accepted:
        """One POST. What is refused before it is PERMANENT: limits of the device, the budget of money."""
        self._check(job)
        estimate_s = self._forecast.qpu_s(job)
        self.budget.reserve(job.tag, estimate_s)
        began = self._clock.now_ns()
        try:
            lease = await self.workload.enter()
            try:
                handle = await self._threads.run(self._hand_over, lease, job)
            except SessionGoneError:
                self.workload.lost(lease)
                raise
            except ProviderError:
                self.workload.leave()
                raise
        except ProviderError as error:
            if error.kind is not FaultKind.AMBIGUOUS:
                self.budget.release(job.tag)
            raise
        accepted = self._clock.now_ns()
        expected_s = max(0.0, self.predict_s(job) - (accepted - began) / NS_PER_S)
        self._flights[handle.id] = _Flight(handle, job.tag, began, accepted, expected_s, estimate_s)
        return Accepted(handle.id)

    async def collect(self, accepted: Accepted) -> Execution:
        """Looks until the job has ended, then fetches samples and stamps side by side."""
        flight = await self._flight(accepted)
        try:
            unseen_ns, seen_ns = await self._ended(flight)
        except ProviderError:
            self._abandoned += not flight.given_up  # else `cancel` has counted it
            raise
        reading = asyncio.ensure_future(self._metrics(flight))
        try:
            samples = await self._samples(flight)
        except ProviderError:
            flight.abandoned = True
            raise
        finally:
            metrics = await reading
            self._over(flight, metrics)
        return self._execution(flight, samples, metrics, unseen_ns, seen_ns)

    async def cancel(self, accepted: Accepted) -> None:
        """Gives the job up; what it has consumed so far may be charged."""
        if accepted.job_id in self._given_up:
            return
        flight = await self._flight(accepted)
        flight.given_up = flight.abandoned = True
        self._given_up.append(accepted.job_id)
        try:
            await self._threads.run(self._client.cancel, flight.job)
        finally:
            self._over(flight, Metrics())

    async def find(self, tag: str) -> tuple[Accepted, ...]:
        """See `Provider.find`: what is under way here, else the vendor's own list, which may lag."""
        known = tuple(Accepted(id_) for id_, flight in self._flights.items() if flight.key == tag)
        if known:
            return known
        return tuple(Accepted(job_id) for job_id in await self._threads.run(self._client.find, tag))

    async def ping(self) -> None:
        """See `Provider.ping`: the device's status and the usage that is left."""
        await self._threads.run(self._client.ping)

    def handle(self, accepted: Accepted) -> J:
        """The vendor's own job while it is under way; KeyError once it is over."""
        return self._flights[accepted.job_id].job

    async def settled(self) -> None:
        """Waits until the usage of every job that has ended is known, or was asked for in vain."""
        while self._settling:
            await asyncio.wait(self._settling)

    async def close(self) -> None:
        """Ends the session, so that it is charged no longer; asks once more for what is counted by nobody
        else, the usage of jobs that were given up.
        """
        settling = dict(self._settling)
        for task in settling:
            task.cancel()
        if settling:
            await asyncio.wait(settling)
        await self.workload.close()
        given_up = [self._look(flight) for flight in settling.values() if flight.abandoned]
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_LOOK_S):
                await asyncio.gather(*given_up)

    def charges(self) -> Charges:
        """See `Charged`."""
        bills = self.workload.bills
        return Charges(
            abandoned=self._abandoned,
            abandoned_s=self._abandoned_s,
            abandoned_untold=self._abandoned - self._abandoned_told,
            sessions=len(bills),
            sessions_s=sum(bill.usage_s for bill in bills),
            sessions_untold=self.workload.untold,
        )

    def _check(self, job: Job) -> None:
        check_limits(job, self.limits)
        if len(job.pubs) > self.limits.max_pubs:
            raise ProviderError(FaultKind.PERMANENT, f"{len(job.pubs)} PUBs, at most {self.limits.max_pubs}")
        low, high = self.device.rep_delay_range_s
        if job.rep_delay_s is not None and not low - 1e-12 <= job.rep_delay_s <= high + 1e-12:
            raise ProviderError(
                FaultKind.PERMANENT,
                f"rep_delay {job.rep_delay_s * 1e6:g} us is outside {self.device.backend}'s range "
                f"{low * 1e6:g} to {high * 1e6:g} us",
            )

    def _hand_over(self, lease: L, job: Job) -> J:
        """Composes and submits; on a thread, for both block."""
        circuits = [self._circuit_builder(pub, self.device.n_qubits) for pub in job.pubs]
        return self._client.submit(lease, circuits, job.shots, job.tag, job.rep_delay_s)

    async def _flight(self, accepted: Accepted) -> _Flight[J]:
        """What is known of the job; one whose submit's answer was lost is looked up."""
        if accepted.job_id in self._given_up:
            raise _cancelled(accepted.job_id)
        known = self._flights.get(accepted.job_id)
        if known is None:
            now = self._clock.now_ns()
            job = await self._threads.run(self._client.job, accepted.job_id)
            known = _Flight(job, job.tag, now, now, 0.0, 0.0, entered=False)
            self._flights[accepted.job_id] = known
        return known

    async def _ended(self, flight: _Flight[J]) -> tuple[int, int]:
        """When the last look that saw it under way was made, and when one saw its end, on our clock."""
        unseen = flight.began_ns
        heard = self._clock.now_ns()
        while True:
            asked = self._clock.now_ns()
            if flight.given_up:
                raise _cancelled(flight.job.id)
            try:
                ended = await self._threads.run(self._client.ended, flight.job)
            except JobEndedError:
                raise
            except ProviderError as error:
                self._lose_patience(flight, heard, error)
            else:
                heard = self._clock.now_ns()
                if ended and not flight.given_up:
                    return unseen, heard
                unseen = asked
            waited_s = (self._clock.now_ns() - flight.accepted_ns) / NS_PER_S
            await asyncio.sleep(self._cadence.wait_s(waited_s, flight.expected_s))

    async def _samples(self, flight: _Flight[J]) -> tuple[Samples, ...]:
        """Reading costs nothing, so a reading that fails is made again; the job never is."""
        heard = self._clock.now_ns()
        unreadable = 0
        while True:
            try:
                return await self._threads.run(self._client.samples, flight.job)
            except JobEndedError:
                raise
            except UnreadableError:
                unreadable += 1
                if unreadable == READINGS:
                    raise
            except ProviderError as error:
                self._lose_patience(flight, heard, error)
            await asyncio.sleep(self._cadence.far_s)

    def _lose_patience(self, flight: _Flight[J], heard_ns: int, error: ProviderError) -> None:
        patience_s = self._cadence.patience_s
        if (self._clock.now_ns() - heard_ns) / NS_PER_S > patience_s:
            raise ProviderError(
                FaultKind.AMBIGUOUS, f"{flight.job.id}: no answer for {patience_s:g} s; last: {error}"
            ) from error

    async def _metrics(self, flight: _Flight[J]) -> Metrics:
        try:
            return await self._threads.run(self._client.metrics, flight.job)
        except ProviderError:
            return Metrics()

    def _execution(
        self, flight: _Flight[J], samples: tuple[Samples, ...], metrics: Metrics, unseen_ns: int, seen_ns: int
    ) -> Execution:
        """The vendor's lengths on our clock. It finished between two looks, and so long after it was
        created; its clock is not ours, so its instants are not used.
        """
        speed = self._speed = metrics.speed or 1.0
        queued_ns, ran_ns = (
            round((s or 0.0) / speed * NS_PER_S) for s in (metrics.queued_s, metrics.running_s)
        )
        finished = seen_ns
        if metrics.running_s is not None:
            finished = min(max(flight.accepted_ns + queued_ns + ran_ns, unseen_ns), seen_ns)
        emulated = self.limits.emulated
        return Execution(
            samples,
            running_at_ns=max(flight.began_ns, finished - ran_ns),
            finished_at_ns=finished,
            collected_at_ns=self._clock.now_ns(),
            queue_emulated_ns=queued_ns if emulated else 0,
            execution_emulated_ns=ran_ns if emulated else 0,
            qpu_s=metrics.qpu_s,
            emulator_overrun=metrics.overrun,
        )

    def _over(self, flight: _Flight[J], metrics: Metrics) -> None:
        """The job has ended for its caller; what it costs is asked for beside."""
        if flight.over:
            return
        flight.over = True
        self._flights.pop(flight.job.id, None)
        self._abandoned += flight.abandoned
        if flight.entered:
            self.workload.leave(metrics.running_s or 0.0)
        task = asyncio.ensure_future(self._settle(flight))
        self._settling[task] = flight
        task.add_done_callback(self._settling.pop)

    async def _look(self, flight: _Flight[J]) -> Metrics:
        """The job's record; the final usage of one that was given up is counted, once."""
        metrics = await self._metrics(flight)
        if flight.abandoned and metrics.usage_s is not None:
            flight.abandoned = False
            self._abandoned_told += 1
            self._abandoned_s += metrics.usage_s
        return metrics

    async def _settle(self, flight: _Flight[J]) -> None:
        """Books the usage when it is final; without an answer the promise stands."""
        wait_s = self._cadence.usage_s
        for _ in range(USAGE_LOOKS):
            metrics = await self._look(flight)
            if metrics.usage_s is not None or not metrics.tells_usage:
                usage_s = flight.estimate_s if metrics.usage_s is None else metrics.usage_s
                await self.workload.book(flight.key, usage_s)
                return
            await asyncio.sleep(wait_s / (metrics.speed or 1.0))
            wait_s *= 2.0


def _cancelled(job_id: str) -> ProviderError:
    return ProviderError(FaultKind.PERMANENT, f"job {job_id} was cancelled")


def assembled(
    client: Client[J, L],
    *,
    forecast: Forecast,
    price: Price,
    max_money: float,
    circuit_builder: CircuitBuilder,
    threads: Offload,
    clock: Clock,
    policy: WorkloadPolicy,
    lanes: int,
    submissions_per_minute: float | None,
    cadence: Cadence,
) -> RemoteProvider[J, L]:
    """The provider around a client; blocking, for it asks the device.

    An emulated endpoint costs nothing and is paid only where max_money is set, so that the way of a paid
    job can be rehearsed.
    """
    device = client.limits()
    budget = MoneyBudget(max_money, price)
    return RemoteProvider(
        client,
        device,
        forecast=forecast,
        budget=budget,
        workload=SharedWorkload(client, threads, policy, budget),
        circuit_builder=circuit_builder,
        threads=threads,
        clock=clock,
        cadence=cadence,
        limits=ProviderLimits(
            lanes=lanes,
            max_shots=device.max_shots,
            max_qubits=device.n_qubits,
            submissions_per_minute=submissions_per_minute,
            paid=not device.emulated or max_money > 0.0,
            emulated=device.emulated,
            max_pubs=device.max_circuits,
            rep_delay_default_s=device.rep_delay_default_s,
        ),
    )
