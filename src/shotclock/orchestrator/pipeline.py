"""One job from binding to samples: bind → submit → collect, timed stage by stage, written down if paid."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from typing import Any

from shotclock.domain.budget import NS_PER_S
from shotclock.domain.circuit import DeviceCircuit, Samples
from shotclock.domain.errors import FaultKind, ProviderError, ShotclockError
from shotclock.domain.ledger import LedgerError
from shotclock.domain.outcome import ProviderFault, Rejection
from shotclock.domain.ports import Accepted, Clock, Execution, Job, Recorder
from shotclock.domain.stages import Stage, StageTiming
from shotclock.domain.subproblem import Subproblem
from shotclock.orchestrator.batching import Placement
from shotclock.orchestrator.call import Call, Sampled, UserCircuit
from shotclock.orchestrator.forecast import Forecast
from shotclock.orchestrator.health.health import Health
from shotclock.orchestrator.health.retry import backoff_ns
from shotclock.orchestrator.job_plan import BoundJob, JobPlan
from shotclock.orchestrator.ledger.job_journal import JobJournal
from shotclock.orchestrator.planning import Fit
from shotclock.orchestrator.provider_answers import answer_of

LOOKS_FOR_A_LOST_JOB = 7
"""A few seconds of them: a vendor's list may lag behind a submit."""

CANCEL_LIMIT_S = 2.0
"""A cancel that takes longer has failed: a stop waits for it."""

CANCELLED_LIMIT_S = 4.0
"""For a submit's answer and then the cancel: one that hangs must not hold a stop for ever, and an operator
waits 5 s beyond a drain's budget."""


GainEstimator = Callable[[Subproblem, DeviceCircuit, float, int], Awaitable[float]]
"""The gain, in units of E, that so many shots of a circuit promise over the best answer without a QPU."""


async def no_estimate(
    subproblem: Subproblem, circuit: DeviceCircuit, incumbent_energy: float, shots: int
) -> float:
    """No pre-evaluation: anything may be gained."""
    del subproblem, circuit, incumbent_energy, shots
    return math.inf


class Pipeline:
    """Runs jobs on one provider; a vendor's fault ends the calls in it as a value."""

    def __init__(
        self,
        forecast: Forecast,
        health: Health,
        *,
        clock: Clock,
        book: JobJournal,
        recorder: Recorder,
        rng: random.Random,
        gain_estimator: GainEstimator = no_estimate,
    ) -> None:
        self.synthesizer = forecast.synthesizer
        self.provider = forecast.provider
        self.book = book
        self._forecast = forecast
        self._health = health
        self._attempts = forecast.policy.attempts
        self._clock = clock
        self._recorder = recorder
        self._rng = rng
        self._gain_estimator = gain_estimator
        self._cancelling: set[asyncio.Task[None]] = set()
        self._inflight = 0

    async def run(self, plan: JobPlan) -> None:
        """Ends every call of the job, by samples or by the reason why there are none."""
        began = self._clock.now_ns()
        bound = await self._bind(plan)
        calls = bound.calls
        # A user circuit was compiled before it was admitted, and its BIND is already recorded.
        subproblems = [call for call in calls if not isinstance(call.work, UserCircuit)]
        self._record_stage(subproblems, Stage.BIND, began, emulated_ns=0)
        for call in calls:
            call.progress.sharers = len(calls)
            call.progress.penalised = plan.fit.penalised
        try:
            await self._attempt(bound, plan.fit)
        except (ProviderError, LedgerError) as error:
            for call in calls:
                call.end(ProviderFault(str(error)))

    async def wait_cancelled(self) -> None:
        """Waits for the jobs that are being cancelled, `CANCELLED_LIMIT_S` at the most.

        A paid job whose submit has no answer by then keeps its intent: the next start looks for its tag.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(CANCELLED_LIMIT_S):
                while self._cancelling:
                    await asyncio.wait(self._cancelling)

    async def _bind(self, plan: JobPlan) -> BoundJob:
        pubs = []
        for pub in plan.pubs:
            bound = [(placement.call, await self._bind_call(placement, plan.fit.shots)) for placement in pub]
            pubs.append(tuple((call, circuit) for call, circuit in bound if circuit is not None))
        # Binding awaits, so a caller may have left since.
        return BoundJob(tuple(pubs)).without_cancelled()

    async def _bind_call(self, placement: Placement[Call], shots: int) -> DeviceCircuit | None:
        """The call's circuit; None where the call ended instead."""
        call, work = placement.call, placement.call.work
        if isinstance(work, UserCircuit):
            return work.circuit
        try:
            circuit = await self.synthesizer.bind(work, placement.line)
            call.progress.template_key = circuit.template.key
            self._forecast.learn(work.n, circuit)
            gain = await self._gain_estimator(work, circuit, call.incumbent_energy, shots)
        except ProviderError as error:
            call.end(ProviderFault(str(error)))
        except ShotclockError as error:
            call.fail(error)
        else:
            if gain > 0.0:
                return circuit
            call.end(Rejection("expected_gain", 0.0, gain, "expected gain", 0.0))
        return None

    async def _attempt(self, bound: BoundJob, fit: Fit) -> None:
        """Submits and collects, again after a transient fault while deadline, budget and breaker allow."""
        attempt = 0
        while (job := bound.without_cancelled()).bound:
            attempt += 1
            for call in job.calls:
                call.progress.attempts = attempt
            try:
                await self._run_once(job, fit, first_attempt=attempt == 1)
            except ProviderError as error:
                self._health.record_failure(error)
                wait = self._backoff_ns(error, attempt, job.calls)
                if wait is None:
                    raise
                await asyncio.sleep(wait / NS_PER_S)
                # A retry is a submit like any other: it takes a token, or bursts would pass the limit.
                await self._take_token(job.calls)
                if self._health.refuses() is not None:
                    # Jobs beside this one failed during the backoff: the breaker forbids what was allowed.
                    self._health.submissions.give_back()
                    raise
                self._recorder.record_retry()
            else:
                return

    def _backoff_ns(self, error: ProviderError, attempt: int, calls: tuple[Call, ...]) -> int | None:
        now = self._clock.now_ns()
        remaining = max(call.deadline.remaining_ns(now) for call in calls)
        wait = backoff_ns(error, attempt, self._attempts, remaining, self._rng)
        return wait if wait is not None and self._health.retries.take() else None

    async def _take_token(self, calls: tuple[Call, ...]) -> None:
        began = self._clock.now_ns()
        wait = self._health.submissions.reserve_ns(began)
        if wait:
            await asyncio.sleep(wait / NS_PER_S)
        emulated = wait if self.provider.limits.emulated else 0
        self._record_stage(calls, Stage.SUBMISSION_BUCKET_WAIT, began, emulated)

    async def _run_once(self, bound: BoundJob, fit: Fit, *, first_attempt: bool) -> None:
        # A tag names one submit, not one call: a second attempt must be told apart from a lost first.
        tag = f"shotclock:{self._rng.getrandbits(96):024x}"
        job = Job(bound.pubs, fit.shots, tag, fit.rep_delay_s)
        calls = bound.calls
        began = self._clock.now_ns()
        for call in calls:
            call.progress.with_provider_since_ns = began
        self._inflight += 1
        try:
            accepted = await self._submit(job, calls)
            self._record_stage(calls, Stage.CIRCUIT_SUBMIT_LATENCY, began, accepted.submit_emulated_ns)
            submitted = self._clock.now_ns()
            self._recorder.record_submit(submitted - began)
            for call in calls:
                call.progress.job_id = accepted.job_id
                call.progress.with_provider_since_ns = submitted
            execution = await self._collect(job, accepted)
            self._health.record_finish(began, fit.predicted_s, self._inflight, first_attempt=first_attempt)
        except asyncio.CancelledError:
            # Only every caller's deadline cancels a job: slow beyond its prediction, it counts as a fault.
            now = self._clock.now_ns()
            late_ns = now - max(call.deadline.at_ns for call in calls)
            self._health.record_timeout(now - began, fit.predicted_s, late_ns)
            raise
        finally:
            self._inflight -= 1
        self.book.result(tag, _request_ids(calls))
        _deliver(job, execution, calls, _split_stages(submitted, execution))

    async def _submit(self, job: Job, calls: tuple[Call, ...]) -> Accepted:
        """Hands the job over. A cancelled caller leaves the rest to `_abandon`."""
        handing_over = asyncio.ensure_future(self._hand_over(job, calls))
        try:
            return await asyncio.shield(handing_over)
        except asyncio.CancelledError:
            if not handing_over.cancelled():
                self._cancel_in_background(self._abandon(job.tag, handing_over))
            raise

    async def _hand_over(self, job: Job, calls: tuple[Call, ...]) -> Accepted:
        await self.book.intend(job.tag, _request_ids(calls), job.shots)
        if not any(call.is_wanted for call in calls):
            self.book.record_failure(job.tag, "not submitted: its callers had gone")
            raise ProviderError(FaultKind.PERMANENT, "not submitted: its callers had gone")
        try:
            accepted = await answer_of(self.provider.name, "submit", self.provider.submit(job))
        except ProviderError as error:
            if error.kind is not FaultKind.AMBIGUOUS:
                self.book.record_failure(job.tag, str(error))
                raise
            accepted = await self._adopt(job.tag, error)
        self.book.record_submit(job.tag, accepted.job_id)
        return accepted

    async def _adopt(self, tag: str, lost: ProviderError) -> Accepted:
        """The job whose submit's answer was lost, found by its tag; never submitted again."""
        found: tuple[Accepted, ...] = ()
        for look in range(LOOKS_FOR_A_LOST_JOB):
            if look:
                await asyncio.sleep(self._rng.random() * 0.1 * 2 ** (look - 1))
            try:
                found = await answer_of(self.provider.name, "find", self.provider.find(tag))
            except ProviderError as error:
                if error.kind is FaultKind.PERMANENT:
                    break  # it keeps no tags
            if len(found) == 1:
                return found[0]
        how_many = f"{len(found)} jobs carry the tag" if found else "no job carries the tag"
        self.book.park(tag, f"the submit's answer was lost ({lost}) and {how_many}")
        raise lost

    def _cancel_in_background(self, work: Coroutine[Any, Any, None]) -> None:
        """Goes on after the job's own task was cancelled, even twice; `wait_cancelled` waits for it."""
        # The set holds the task: the event loop itself keeps only weak references.
        cancelling = asyncio.ensure_future(work)
        self._cancelling.add(cancelling)
        cancelling.add_done_callback(self._cancelling.discard)

    async def _abandon(self, tag: str, handing_over: asyncio.Future[Accepted]) -> None:
        try:
            accepted = await handing_over
        except (ProviderError, LedgerError):
            return  # what was known of the job is written where it was raised
        await self._cancel_job(tag, accepted)

    async def _cancel_job(self, tag: str, accepted: Accepted) -> None:
        try:
            async with asyncio.timeout(CANCEL_LIMIT_S):
                await answer_of(self.provider.name, "cancel", self.provider.cancel(accepted))
        except (ProviderError, TimeoutError) as error:
            why = str(error) or f"no answer within {CANCEL_LIMIT_S:g} s"
            self.book.park(tag, f"its callers had gone, and the cancel failed: {why}")
        else:
            self.book.record_failure(tag, "cancelled: its callers had gone")

    async def _collect(self, job: Job, accepted: Accepted) -> Execution:
        try:
            execution = await answer_of(self.provider.name, "collect", self.provider.collect(accepted))
        except asyncio.CancelledError:
            self._cancel_in_background(self._cancel_job(job.tag, accepted))
            raise
        except ProviderError as error:
            if error.kind is FaultKind.AMBIGUOUS:
                self.book.park(job.tag, str(error))
            else:
                self.book.record_failure(job.tag, str(error))
            raise
        if len(execution.samples) != len(job.circuits):
            self.book.record_failure(job.tag, "another number of samples than of circuits came back")
            raise ProviderError(
                FaultKind.PERMANENT, f"{len(execution.samples)} samples for {len(job.circuits)} circuits"
            )
        return execution

    def _record_stage(self, calls: Iterable[Call], stage: Stage, began_ns: int, emulated_ns: int) -> None:
        timing = StageTiming(stage, began_ns, self._clock.now_ns() - began_ns, emulated_ns)
        for call in calls:
            call.progress.stages.append(timing)


def _request_ids(calls: tuple[Call, ...]) -> tuple[str, ...]:
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


def _split_stages(submitted_ns: int, execution: Execution) -> list[StageTiming]:
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
