"""One job from binding to samples: bind → submit → collect, timed stage by stage, written down if paid."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from shotclock.domain.budget import NS_PER_S, Deadline
from shotclock.domain.circuit import DeviceCircuit, Pub, Samples
from shotclock.domain.errors import FaultKind, ProviderError, ShotclockError
from shotclock.domain.ledger import LedgerError
from shotclock.domain.outcome import ProviderFault, Rejection
from shotclock.domain.ports import Accepted, Clock, Execution, Job, Provider, Recorder, Synthesizer
from shotclock.domain.stages import Stage, StageTiming
from shotclock.domain.subproblem import Subproblem
from shotclock.orchestrator.bucket import TokenBucket
from shotclock.orchestrator.call import Call, OwnCircuit, Sampled
from shotclock.orchestrator.flight import Flight, Manifest, Passenger, Seat
from shotclock.orchestrator.health import Health
from shotclock.orchestrator.paid import JobBook
from shotclock.orchestrator.planning import Fit, ShotLimits, fit_shots, fit_shots_and_delay
from shotclock.orchestrator.retry import backoff_ns

T = TypeVar("T")

RETURN_MARGIN_NS = 5_000_000
"""Kept back when a job is fitted to a budget: decoding, and the answer's way to the caller."""

LOOKS_FOR_A_LOST_JOB = 7
"""A few seconds of them: a vendor's list may lag behind a submit."""

CANCEL_LIMIT_S = 2.0
"""A cancel that takes longer has failed: a stop waits for it."""

GONE_LIMIT_S = 4.0
"""For a submit's answer and then the cancel: one that hangs must not hold a stop for ever, and an operator
waits 5 s beyond a drain's budget."""


@dataclass(frozen=True, slots=True)
class ShotPolicy:
    """How a job is run. shots: as many as the budget allows between the two; equal, they are fixed.

    rep_delay_s None is the device's default; shorter_rep_delays_s: what may be taken instead where the
    budget leaves no room, in descending order; attempts: submits a job.
    """

    shots: ShotLimits
    rep_delay_s: float | None
    attempts: int
    shorter_rep_delays_s: tuple[float, ...] = ()


Foresight = Callable[[Subproblem, DeviceCircuit, float, int], Awaitable[float]]
"""The gain that so many shots of a circuit promise over an energy already in hand, in units of E."""


async def unforeseen(subproblem: Subproblem, circuit: DeviceCircuit, in_hand: float, shots: int) -> float:
    """No pre-evaluation: anything may be gained."""
    del subproblem, circuit, in_hand, shots
    return math.inf


class Pipeline:
    """Runs jobs on one provider; a vendor's fault ends the calls in it as a value."""

    def __init__(
        self,
        synthesizer: Synthesizer,
        provider: Provider,
        *,
        clock: Clock,
        policy: ShotPolicy,
        health: Health,
        book: JobBook,
        recorder: Recorder,
        rng: random.Random,
        foresight: Foresight = unforeseen,
    ) -> None:
        self.synthesizer = synthesizer
        self.provider = provider
        self.policy = policy
        self.health = health
        self.book = book
        self.bucket = TokenBucket(provider.limits.submissions_per_minute)
        self._clock = clock
        self._recorder = recorder
        self._rng = rng
        self._foresight = foresight
        self._typical: dict[int, DeviceCircuit] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._inflight = 0

    async def warm(self, sample: Subproblem) -> None:
        """Compiles what subproblems of this size need, off the event loop."""
        await self.synthesizer.warm(sample.n)
        self._typical[sample.n] = await self.synthesizer.bind(sample)

    def typical_job(self) -> Job:
        """The job that the first warming sample would be, alone."""
        if not self._typical:
            raise RuntimeError("warm the pipeline first")
        first = next(iter(self._typical))
        return self._job((self.stand_in(first),), self.policy.shots.minimum, self.policy.rep_delay_s)

    @property
    def side_by_side(self) -> int:
        """How many calls one PUB carries, of the warmed size that takes the most room; 1 until it is warm."""
        return max(1, min((len(self.synthesizer.lines(n)) for n in self._typical), default=1))

    def stand_in(self, n: int) -> Pub:
        """A PUB as wide and as long as one of a subproblem of n variables, as far as that is known."""
        return Pub((self._typical.get(n) or next(iter(self._typical.values())),))

    def predict_s(self, pubs: tuple[Pub, ...], shots: int) -> float:
        """p95 of submit to samples with nothing ahead, at the policy's rep_delay, seconds."""
        return self.provider.predict_s(self._job(pubs, shots, self.policy.rep_delay_s))

    def predicted_p95_s(self) -> float:
        """What the shortest job that is allowed takes here, with nothing ahead of it, seconds.

        The provider's prediction, plus how much longer than predicted the jobs of late have taken; 0 until
        something is warm.
        """
        if not self._typical:
            return 0.0
        policy = self.policy
        delay = policy.shorter_rep_delays_s[-1] if policy.shorter_rep_delays_s else policy.rep_delay_s
        first = self.stand_in(next(iter(self._typical)))
        predicted = self.provider.predict_s(self._job((first,), policy.shots.minimum, delay))
        return max(0.0, predicted + self.health.slowness.p95_s(self._clock.now_ns()))

    def as_asked(self, pubs: tuple[Pub, ...], shots: int) -> Fit:
        """So many shots at the policy's own rep_delay, whatever they take."""
        return self._fit(shots, self.policy.rep_delay_s, self.predict_s(pubs, shots))

    def fitted(
        self, pubs: tuple[Pub, ...], deadline: Deadline, ahead_ns: int, limits: ShotLimits
    ) -> Fit | Rejection:
        """How the job fits what its deadline leaves behind the jobs ahead, or that it does not."""
        policy = self.policy
        remaining = deadline.remaining_ns(self._clock.now_ns()) - RETURN_MARGIN_NS - ahead_ns
        if policy.shorter_rep_delays_s:
            usual = self.provider.limits.rep_delay_default_s
            return fit_shots_and_delay(
                lambda shots, delay: self.provider.predict_s(self._job(pubs, shots, delay)),
                remaining,
                limits,
                (policy.rep_delay_s or usual, *policy.shorter_rep_delays_s),
            )
        shots = fit_shots(lambda shots: self.predict_s(pubs, shots), remaining, limits)
        if isinstance(shots, Rejection):
            return shots
        return self._fit(shots, policy.rep_delay_s, self.predict_s(pubs, shots))

    def _fit(self, shots: int, rep_delay_s: float | None, predicted_s: float) -> Fit:
        usual = self.provider.limits.rep_delay_default_s
        return Fit(shots, rep_delay_s, predicted_s, rep_delay_s is not None and rep_delay_s < usual)

    async def run(self, flight: Flight) -> None:
        """Ends every call of the flight, by samples or by the reason why there are none."""
        began = self._clock.now_ns()
        bound = await self._bound(flight)
        calls = bound.calls
        self._timed(
            (call for call in calls if not isinstance(call.work, OwnCircuit)),
            Stage.BIND,
            began,
            emulated_ns=0,
        )
        for call in calls:
            call.progress.sharers = len(calls)
            call.progress.penalised = flight.penalised
        try:
            await self._attempt(bound, flight)
        except (ProviderError, LedgerError) as error:
            for call in calls:
                call.end(ProviderFault(str(error)))

    async def gone(self) -> None:
        """Waits for the jobs that are being given up, `GONE_LIMIT_S` at the most.

        A paid job whose submit has no answer by then keeps its intent: the next start looks for its tag.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(GONE_LIMIT_S):
                while self._leaving:
                    await asyncio.wait(self._leaving)

    async def _bound(self, flight: Flight) -> Manifest:
        rows = []
        for row in flight.rows:
            seated = [await self._seated(seat, flight.shots) for seat in row]
            rows.append(tuple(one for one in seated if one is not None))
        return Manifest(tuple(rows)).boarding()

    async def _seated(self, seat: Seat, shots: int) -> Passenger | None:
        """The call with its circuit; None where it ended instead."""
        call, work = seat.call, seat.call.work
        if isinstance(work, OwnCircuit):
            return Passenger(call, work.circuit)
        try:
            circuit = await self.synthesizer.bind(work, seat.line)
            call.progress.template_key = circuit.template.key
            self._typical.setdefault(work.n, circuit)
            gain = await self._foresight(work, circuit, call.in_hand, shots)
        except ProviderError as error:
            call.end(ProviderFault(str(error)))
        except ShotclockError as error:
            call.fail(error)
        else:
            if gain > 0.0:
                return Passenger(call, circuit)
            call.end(Rejection("expected_gain", 0.0, gain, "expected gain", 0.0))
        return None

    async def _attempt(self, bound: Manifest, flight: Flight) -> None:
        attempt = 0
        while (manifest := bound.boarding()).rows:
            attempt += 1
            for call in manifest.calls:
                call.progress.attempts = attempt
            try:
                await self._once(manifest, flight, first_attempt=attempt == 1)
            except ProviderError as error:
                self.health.failed(error)
                wait = self._backoff_ns(error, attempt, manifest.calls)
                if wait is None:
                    raise
                await asyncio.sleep(wait / NS_PER_S)
                await self._take_token(manifest.calls)
                if self.health.refuses() is not None:  # others have failed meanwhile
                    self.bucket.give_back()
                    raise
                self._recorder.retried()
            else:
                return

    def _backoff_ns(self, error: ProviderError, attempt: int, calls: tuple[Call, ...]) -> int | None:
        now = self._clock.now_ns()
        remaining = max(call.deadline.remaining_ns(now) for call in calls)
        wait = backoff_ns(error, attempt, self.policy.attempts, remaining, self._rng)
        return wait if wait is not None and self.health.retries.take() else None

    async def _take_token(self, calls: tuple[Call, ...]) -> None:
        began = self._clock.now_ns()
        wait = self.bucket.reserve_ns(began)
        if wait:
            await asyncio.sleep(wait / NS_PER_S)
        emulated = wait if self.provider.limits.emulated else 0
        self._timed(calls, Stage.SUBMISSION_BUCKET_WAIT, began, emulated)

    async def _once(self, manifest: Manifest, flight: Flight, *, first_attempt: bool) -> None:
        tag = f"shotclock:{self._rng.getrandbits(96):024x}"
        job = self._job(manifest.pubs, flight.shots, flight.rep_delay_s, tag)
        calls = manifest.calls
        began = self._clock.now_ns()
        for call in calls:
            call.progress.with_provider_since_ns = began
        self._inflight += 1
        try:
            accepted = await self._submitted(job, calls)
            self._timed(calls, Stage.CIRCUIT_SUBMIT_LATENCY, began, accepted.submit_emulated_ns)
            submitted = self._clock.now_ns()
            self._recorder.submitted(submitted - began)
            for call in calls:
                call.progress.job_id = accepted.job_id
                call.progress.with_provider_since_ns = submitted
            execution = await self._collected(job, accepted)
            self.health.finished(began, flight.predicted_s, self._inflight, first_attempt=first_attempt)
        except asyncio.CancelledError:
            now = self._clock.now_ns()
            late_ns = now - max(call.deadline.at_ns for call in calls)
            self.health.timed_out(now - began, flight.predicted_s, late_ns)
            raise
        finally:
            self._inflight -= 1
        self.book.result(tag, _names(calls))
        _deliver(job, execution, calls, _on_the_qpu(submitted, execution))

    async def _submitted(self, job: Job, calls: tuple[Call, ...]) -> Accepted:
        """Hands the job over. Who is cancelled meanwhile leaves the rest to `_give_up`."""
        handing_over = asyncio.ensure_future(self._hand_over(job, calls))
        try:
            return await asyncio.shield(handing_over)
        except asyncio.CancelledError:
            if not handing_over.cancelled():
                self._leave(self._give_up(job.tag, handing_over))
            raise

    async def _hand_over(self, job: Job, calls: tuple[Call, ...]) -> Accepted:
        await self.book.intend(job.tag, _names(calls), job.shots)
        if not any(call.wanted for call in calls):
            self.book.failed(job.tag, "not submitted: its callers had gone")
            raise ProviderError(FaultKind.PERMANENT, "not submitted: its callers had gone")
        try:
            accepted = await self._asked("submit", self.provider.submit(job))
        except ProviderError as error:
            if error.kind is not FaultKind.AMBIGUOUS:
                self.book.failed(job.tag, str(error))
                raise
            accepted = await self._adopted(job.tag, error)
        self.book.submitted(job.tag, accepted.job_id)
        return accepted

    async def _adopted(self, tag: str, lost: ProviderError) -> Accepted:
        """The job whose submit's answer was lost, found by its tag; never submitted again."""
        found: tuple[Accepted, ...] = ()
        for look in range(LOOKS_FOR_A_LOST_JOB):
            if look:
                await asyncio.sleep(self._rng.random() * 0.1 * 2 ** (look - 1))
            try:
                found = await self._asked("find", self.provider.find(tag))
            except ProviderError as error:
                if error.kind is FaultKind.PERMANENT:
                    break  # it keeps no tags
            if len(found) == 1:
                return found[0]
        how_many = f"{len(found)} jobs carry the tag" if found else "no job carries the tag"
        self.book.parked(tag, f"the submit's answer was lost ({lost}) and {how_many}")
        raise lost

    async def _asked(self, what: str, answer: Awaitable[T]) -> T:
        """The provider's answer. What no provider may raise leaves it unknown whether anything took effect,
        so it ends like a lost answer: the record is closed and the calls have their fallback.
        """
        try:
            return await answer
        except ProviderError:
            raise
        except Exception as error:
            name = self.provider.name
            asyncio.get_running_loop().call_exception_handler(
                {"message": f"{name}: {what} raised what a provider may not", "exception": error}
            )
            words = " ".join(f"{type(error).__name__}: {error}".split())
            raise ProviderError(FaultKind.AMBIGUOUS, f"{name}: {what} raised {words}") from error

    def _leave(self, work: Coroutine[Any, Any, None]) -> None:
        """Goes on after the job's own task was cancelled, even twice; `gone` waits for it."""
        leaving = asyncio.ensure_future(work)
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)

    async def _give_up(self, tag: str, handing_over: asyncio.Future[Accepted]) -> None:
        try:
            accepted = await handing_over
        except (ProviderError, LedgerError):
            return  # what was known of the job is written where it was raised
        await self._call_off(tag, accepted)

    async def _call_off(self, tag: str, accepted: Accepted) -> None:
        try:
            async with asyncio.timeout(CANCEL_LIMIT_S):
                await self._asked("cancel", self.provider.cancel(accepted))
        except (ProviderError, TimeoutError) as error:
            why = str(error) or f"no answer within {CANCEL_LIMIT_S:g} s"
            self.book.parked(tag, f"its callers had gone, and the cancel failed: {why}")
        else:
            self.book.failed(tag, "cancelled: its callers had gone")

    async def _collected(self, job: Job, accepted: Accepted) -> Execution:
        try:
            execution = await self._asked("collect", self.provider.collect(accepted))
        except asyncio.CancelledError:
            self._leave(self._call_off(job.tag, accepted))
            raise
        except ProviderError as error:
            if error.kind is FaultKind.AMBIGUOUS:
                self.book.parked(job.tag, str(error))
            else:
                self.book.failed(job.tag, str(error))
            raise
        if len(execution.samples) != len(job.circuits):
            self.book.failed(job.tag, "another number of samples than of circuits came back")
            raise ProviderError(
                FaultKind.PERMANENT, f"{len(execution.samples)} samples for {len(job.circuits)} circuits"
            )
        return execution

    def _job(
        self, pubs: tuple[Pub, ...], shots: int, rep_delay_s: float | None, tag: str = "prediction"
    ) -> Job:
        return Job(pubs, shots, tag, rep_delay_s)

    def _timed(self, calls: Iterable[Call], stage: Stage, began_ns: int, emulated_ns: int) -> None:
        timing = StageTiming(stage, began_ns, self._clock.now_ns() - began_ns, emulated_ns)
        for call in calls:
            call.progress.stages.append(timing)


def _names(calls: tuple[Call, ...]) -> tuple[str, ...]:
    return tuple(call.work.request_id for call in calls)


def _deliver(job: Job, execution: Execution, calls: tuple[Call, ...], timings: list[StageTiming]) -> None:
    """Each call's own samples, checked to be as many and as wide as was asked for."""
    for call, circuit, samples in zip(calls, job.circuits, execution.samples, strict=True):
        progress = call.progress
        progress.with_provider_since_ns = None
        progress.stages.extend(timings)
        progress.qpu_s += execution.qpu_s / len(calls)
        progress.emulator_overrun |= execution.emulator_overrun
        fault = _misfit(samples, job.shots, circuit.parameters.n)
        call.end(ProviderFault(fault) if fault else Sampled(samples, execution.collected_at_ns))


def _misfit(samples: Samples, shots: int, n: int) -> str:
    if samples.shots != shots:
        return f"{samples.shots} shots came back, {shots} were asked for"
    if samples.pool.shape[1] != n:
        return f"samples of {samples.pool.shape[1]} bits came back, {n} were asked for"
    return ""


def _on_the_qpu(submitted_ns: int, execution: Execution) -> list[StageTiming]:
    """Queue, execution and collection end to end from the submit's return.

    A planned instant may lie before a timer that fired late, so each stage starts no earlier than the
    one before it ended, and no stage has waited longer than it lasted.
    """
    timings = []
    start = submitted_ns
    for stage, end, emulated in (
        (Stage.QPU_QUEUE_WAIT, execution.running_at_ns, execution.queue_emulated_ns),
        (Stage.QPU_EXEC_TIME, execution.finished_at_ns, execution.execution_emulated_ns),
        (Stage.COLLECT, execution.collected_at_ns, execution.collect_emulated_ns),
    ):
        duration = max(0, end - start)
        timings.append(StageTiming(stage, start, duration, min(emulated, duration)))
        start += duration
    return timings
