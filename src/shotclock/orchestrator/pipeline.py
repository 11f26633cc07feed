"""Runs one job from binding to samples: bind → submit → collect, timed by stage, journalled if paid."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from typing import Any

from shotclock.domain.budget import NS_PER_S
from shotclock.domain.circuit import DeviceCircuit
from shotclock.domain.errors import (
    FaultKind,
    ProviderError,
    ShotclockError,
    TooManyErrorsError,
    WorkerError,
    WorkerFault,
)
from shotclock.domain.ledger import LedgerError
from shotclock.domain.outcome import (
    ERROR_FREE_SHOTS,
    EXPECTED_GAIN,
    TENANT_QUOTA,
    Decision,
    PreEvaluation,
    ProviderFault,
    Rejection,
    SubmitDecision,
)
from shotclock.domain.ports import Accepted, Clock, Emulating, Execution, Job
from shotclock.domain.recorders import Recorder
from shotclock.domain.stages import Stage, StageTiming
from shotclock.domain.subproblem import Subproblem
from shotclock.domain.trace import SpanName, Tracer, open_span
from shotclock.orchestrator.batching import Placement
from shotclock.orchestrator.call import Call, UserCircuits
from shotclock.orchestrator.delivery import deliver, split_stages
from shotclock.orchestrator.forecast import Forecast
from shotclock.orchestrator.health.health import Health
from shotclock.orchestrator.health.retry import backoff_ns
from shotclock.orchestrator.job_plan import BoundJob, JobPlan, has_user_circuit
from shotclock.orchestrator.ledger.accounts import OverQuotaError, RepeatedCallError
from shotclock.orchestrator.ledger.charges import estimate_account, read_usage
from shotclock.orchestrator.ledger.job_journal import JobJournal
from shotclock.orchestrator.ledger.transitions import LanesBusyError
from shotclock.orchestrator.planning import Fit
from shotclock.orchestrator.provider_answers import answer_of
from shotclock.orchestrator.rejoin import Rejoining
from shotclock.orchestrator.side_by_side import group_side_by_side
from shotclock.orchestrator.worker_faults import reject

SEARCHES_FOR_LOST_JOB = 7
"""Together they take a few seconds, because a vendor's job list may lag behind a submit."""

TENANT_RETRY_S = 60.0
"""Suggested to a caller whose quota is used up: it may be raised, or its period may end."""

CANCEL_LIMIT_S = 2.0
"""A cancel that takes longer counts as failed, because a stop waits for it."""

CANCELLED_LIMIT_S = 4.0
"""For a submit's answer plus the cancel: a hanging request must not block a stop for ever, and an operator's
command waits 5 s beyond a drain's budget."""


PreEvaluator = Callable[[Subproblem, DeviceCircuit, int], Awaitable[PreEvaluation | None]]
"""Decides whether a number of shots of a bound circuit is worth a submit; None: it cannot tell, so submit."""


async def submit_always(subproblem: Subproblem, circuit: DeviceCircuit, shots: int) -> None:
    """No pre-evaluation."""
    del subproblem, circuit, shots


class Pipeline:
    """Runs jobs on one provider; a provider's fault ends the job's calls as a value, not an exception."""

    def __init__(
        self,
        forecast: Forecast,
        health: Health,
        *,
        clock: Clock,
        journal: JobJournal,
        recorder: Recorder,
        rng: random.Random,
        pre_evaluator: PreEvaluator = submit_always,
        tracer: Tracer | None = None,
    ) -> None:
        self.synthesizer = forecast.synthesizer
        self.provider = forecast.provider
        self.journal = journal
        self._forecast = forecast
        self._health = health
        self._attempts = forecast.policy.attempts
        self._clock = clock
        self._recorder = recorder
        self._rng = rng
        self._pre_evaluator = pre_evaluator
        self._tracer = tracer
        self._cancelling: set[asyncio.Task[None]] = set()
        self._inflight = 0
        self._rejoining = Rejoining(forecast.provider, journal, clock)

    async def run(self, plan: JobPlan) -> None:
        """Ends every call of the job, with samples or with the reason why it has none."""
        began = self._clock.now_ns()
        bound = await self._bind(plan)
        calls = bound.calls
        # A user circuit was compiled before it was admitted, and its BIND is already recorded.
        subproblems = [call for call in calls if not isinstance(call.work, UserCircuits)]
        self._record_stage(subproblems, Stage.BIND, began, emulated_ns=0)
        for call in calls:
            call.progress.penalised = plan.fit.penalised
        try:
            await self._attempt(bound, plan.fit)
        except (ProviderError, LedgerError, WorkerError) as error:
            if not await self._run_apart(bound, plan.fit, error):
                _end_all(calls, error)

    async def _run_apart(self, bound: BoundJob, fit: Fit, error: ShotclockError) -> bool:
        """Runs the batches of a failed job again, a job each, so that one circuit fails no other caller.

        Only where a job costs nothing: a paid one may have been charged before it failed.
        """
        is_circuits = isinstance(error, WorkerError) or (
            isinstance(error, ProviderError) and error.kind is FaultKind.PERMANENT
        )
        calls = bound.calls
        if not is_circuits or self.provider.limits.paid or len(calls) < 2 or not has_user_circuit(calls):
            return False
        for job in bound.split():
            try:
                await self._attempt(job, fit)
            except (ProviderError, LedgerError, WorkerError) as own:
                _end_all(job.calls, own)
        return True

    async def wait_cancelled(self) -> None:
        """Waits for the jobs that are being cancelled, at most `CANCELLED_LIMIT_S`.

        A paid job whose submit is unanswered by then keeps its intent: the next start searches for its tag.
        """
        self._rejoining.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(CANCELLED_LIMIT_S):
                while self._cancelling:
                    await asyncio.wait(self._cancelling)

    async def _bind(self, plan: JobPlan) -> BoundJob:
        pubs: list[tuple[tuple[Call, DeviceCircuit], ...]] = []
        circuits: list[tuple[Call, DeviceCircuit]] = []
        for pub in plan.pubs:
            work = pub[0].call.work
            if isinstance(work, UserCircuits):
                circuits += [(pub[0].call, circuit) for circuit in work.circuits]
                continue
            bound = [(placement.call, await self._bind_call(placement, plan.fit.shots)) for placement in pub]
            pubs.append(tuple((call, circuit) for call, circuit in bound if circuit is not None))
        pubs += group_side_by_side(circuits, lambda pair: pair[1])
        # Binding awaits, so a caller may have cancelled meanwhile.
        return BoundJob(tuple(pubs)).without_cancelled()

    async def _bind_call(self, placement: Placement[Call], shots: int) -> DeviceCircuit | None:
        """The call's circuit; None if the call ended instead."""
        call, work = placement.call, placement.call.work
        if isinstance(work, UserCircuits):
            raise TypeError("user circuits are bound when they are admitted")
        try:
            circuit = await self.synthesizer.bind(work, placement.line)
            call.progress.template_key = circuit.template.key
            self._forecast.learn(work.n, circuit)
            evaluation = call.progress.pre_evaluation = await self._pre_evaluator(work, circuit, shots)
        except ProviderError as error:
            # The rest of the job can still run: one call that cannot be bound must not end the others.
            call.end(ProviderFault(str(error)))
        except WorkerError as error:
            call.end(reject(error))
        except TooManyErrorsError as error:
            unit = f"of the shots expected free of errors ({error.what})"
            call.end(Rejection(ERROR_FREE_SHOTS, error.least, error.error_free, unit, 0.0))
        except ShotclockError as error:
            # The caller's mistake, so its caller gets the exception; no fallback would be right.
            call.fail(error)
        else:
            if evaluation is None or evaluation.decision is not SubmitDecision.VETO:
                return circuit
            # QPU time that cannot improve on the incumbent would only delay other calls.
            call.end(Rejection(EXPECTED_GAIN, 0.0, evaluation.expected_gain, "expected gain", 0.0))
        return None

    async def _attempt(self, bound: BoundJob, fit: Fit) -> None:
        """Submits and collects; retries transient faults while deadline, retry budget and breaker allow."""
        attempt = 0
        # Callers may cancel during a backoff: the next attempt must not pay for their circuits.
        has_waited = False
        while (job := bound.without_cancelled()).bound:
            if not has_waited and self.journal.is_lane_awaited():
                has_waited = True
                await self._wait_for_lane(job.calls)
                continue
            attempt += 1
            for call in job.calls:
                call.progress.attempts = attempt
                call.progress.sharers = len(job.calls)
            try:
                await self._trace_once(job, fit, first_attempt=attempt == 1)
            except (LanesBusyError, OverQuotaError, RepeatedCallError) as error:
                # Nothing was submitted, so this does not count as an attempt.
                attempt -= 1
                for call in job.calls:
                    call.progress.attempts = attempt
                    call.progress.with_provider_since_ns = None
                bound = await self._put_off(bound, error, has_waited=has_waited)
                has_waited |= isinstance(error, LanesBusyError)
            except ProviderError as error:
                self._health.record_failure(error)
                wait = self._backoff_ns(error, attempt, job.calls)
                if wait is None:
                    raise
                await asyncio.sleep(wait / NS_PER_S)
                # A retry is a submit like any other: without a token, bursts would exceed the limit.
                await self._take_token(job.calls)
                if self._health.refuses() is not None:
                    # Other jobs failed during the backoff and opened the breaker.
                    self._health.submissions.give_back()
                    raise
                self._recorder.record_retry()
            except WorkerError as error:
                # Lost to no fault of theirs; a user circuit may be what ends every process that it meets.
                is_lost = error.fault is WorkerFault.DIED and not has_user_circuit(job.calls)
                if not is_lost or attempt >= self._attempts:
                    raise
                await self._take_token(job.calls)
                self._recorder.record_retry()
            else:
                return

    async def _put_off(
        self,
        bound: BoundJob,
        error: LanesBusyError | OverQuotaError | RepeatedCallError,
        *,
        has_waited: bool,
    ) -> BoundJob:
        """What is left to submit, once the reason may be gone."""
        match error:
            case OverQuotaError():
                _end_over_quota(bound.calls, error)
            case RepeatedCallError():
                return self._rejoining.take(bound, error)
            case LanesBusyError():
                await self._wait_for_lane(bound.without_cancelled().calls, has_waited=has_waited)
        return bound

    def _backoff_ns(self, error: ProviderError, attempt: int, calls: tuple[Call, ...]) -> int | None:
        now = self._clock.now_ns()
        # The latest deadline decides: a retry is worthwhile while any call can still use its samples.
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

    async def _wait_for_lane(self, calls: tuple[Call, ...], *, has_waited: bool = False) -> None:
        """Waits while other orchestrators use every lane of the provider: a queue as the provider's."""
        began = self._clock.now_ns()
        await self.journal.wait_for_lane(has_waited=has_waited)
        self._record_stage(calls, Stage.QPU_QUEUE_WAIT, began, emulated_ns=0)

    async def _trace_once(self, bound: BoundJob, fit: Fit, *, first_attempt: bool) -> None:
        """One submit with its span, in the trace of one of its calls and linked to all of them."""
        contexts = [call.progress.span.context for call in bound.calls if call.progress.span is not None]
        if self._tracer is None or not contexts:
            await self._run_once(bound, fit, first_attempt=first_attempt)
            return
        parent = next((context for context in contexts if context.is_sampled), contexts[0])
        with open_span(self._tracer, SpanName.PROVIDER_JOB, parent, contexts) as span:
            span.describe(provider=self.provider.name, calls=len(bound.calls), shots=fit.shots)
            try:
                await self._run_once(bound, fit, first_attempt=first_attempt)
            finally:
                job_id = bound.calls[0].progress.job_id
                if job_id:
                    span.describe(job_id=job_id)

    async def _run_once(self, bound: BoundJob, fit: Fit, *, first_attempt: bool) -> None:
        # A tag names one submit, not one job: it distinguishes a retry from a first submit that was lost.
        tag = f"shotclock:{self._rng.getrandbits(96):024x}"
        job = Job(bound.pubs, fit.shots, tag, fit.rep_delay_s)
        calls = bound.calls
        began = self._clock.now_ns()
        for call in calls:
            call.progress.with_provider_since_ns = began
        self._inflight += 1
        try:
            accepted = await self._submit(job, bound)
            self._record_stage(calls, Stage.CIRCUIT_SUBMIT_LATENCY, began, accepted.submit_emulated_ns)
            submitted = self._clock.now_ns()
            self._recorder.record_submit(submitted - began)
            for call in calls:
                call.progress.job_id = accepted.job_id
                call.progress.with_provider_since_ns = submitted
            execution = await self._collect(job, accepted)
            if self._is_emulated_circuit(calls):
                self._health.record_success()
            else:
                self._health.record_finish(
                    began, fit.predicted_s, self._inflight, first_attempt=first_attempt
                )
        except asyncio.CancelledError:
            # A job is cancelled once no caller waits: slower than predicted, it counts as a failure.
            now = self._clock.now_ns()
            late_ns = now - max(call.deadline.at_ns for call in calls)
            if not self._may_blame_this_host(calls, began):
                self._health.record_timeout(now - began, fit.predicted_s, late_ns)
            raise
        finally:
            self._inflight -= 1
        self.journal.result(
            tag, _request_ids(calls), read_usage(self.provider, execution, self._clock.now_ns())
        )
        deliver(job, execution, bound, split_stages(submitted, execution))
        for call in calls:
            # nobody decides on samples of a circuit: they are of use once they are handed over
            if isinstance(call.work, UserCircuits) and call.has_samples:
                self.journal.record_decision(call.work.request_id, Decision.APPLIED)

    def _may_blame_this_host(self, calls: tuple[Call, ...], began_ns: int) -> bool:
        """Whether this host's own computing may be why a job is late, which says nothing of a provider."""
        provider = self.provider
        overran = isinstance(provider, Emulating) and provider.has_overrun_since(began_ns)
        return overran or self._is_emulated_circuit(calls)

    def _is_emulated_circuit(self, calls: tuple[Call, ...]) -> bool:
        """Whether the job takes as long as a caller's circuit takes to emulate: no other job's time."""
        return self.provider.limits.emulated and has_user_circuit(calls)

    async def _submit(self, job: Job, bound: BoundJob) -> Accepted:
        """Hands the job over; if this task is cancelled, `_abandon` cancels the job in the background."""
        # Shielded: cancelling a submit half-way would leave it unknown whether a paid job exists.
        handing_over = asyncio.ensure_future(self._hand_over(job, bound))
        try:
            return await asyncio.shield(handing_over)
        except asyncio.CancelledError:
            if not handing_over.cancelled():
                self._cancel_in_background(self._abandon(job.tag, handing_over))
            raise

    async def _hand_over(self, job: Job, bound: BoundJob) -> Accepted:
        calls = bound.calls
        # The intent must be durable before the submit: after a crash, the tag is how a paid job is found.
        account = None
        if self.provider.limits.paid:
            account = estimate_account(self.provider, job, bound.accounts(self._clock.now_ns()))
        await self.journal.intend(job.tag, _request_ids(calls), job.shots, account)
        if not any(call.is_wanted for call in calls):
            # Recording the intent awaits; a job that nobody waits for must not be paid for.
            self.journal.record_failure(job.tag, "not submitted: all its callers had cancelled")
            raise ProviderError(FaultKind.PERMANENT, "not submitted: all its callers had cancelled")
        try:
            accepted = await answer_of(self.provider.name, "submit", self.provider.submit(job))
        except ProviderError as error:
            if error.kind is not FaultKind.AMBIGUOUS:
                self.journal.record_failure(job.tag, str(error))
                raise
            # The submit may have taken effect: repeating it could pay for the job twice.
            accepted = await self._adopt(job.tag, error)
        self.journal.record_submit(job.tag, accepted.job_id)
        return accepted

    async def _adopt(self, tag: str, lost: ProviderError) -> Accepted:
        """Finds the job whose submit's answer was lost, by its tag; never submits it again."""
        tagged: tuple[Accepted, ...] = ()
        for search in range(SEARCHES_FOR_LOST_JOB):
            if search:
                await asyncio.sleep(self._rng.random() * 0.1 * 2 ** (search - 1))
            try:
                tagged = await answer_of(self.provider.name, "find", self.provider.find(tag))
            except ProviderError as error:
                if error.kind is FaultKind.PERMANENT:
                    break  # this provider keeps no tags
            if len(tagged) == 1:
                return tagged[0]
        # No job does not prove that nothing was submitted, and with several the right one is unknown.
        how_many = f"{len(tagged)} jobs carry the tag" if tagged else "no job carries the tag"
        self.journal.park(tag, f"the submit's answer was lost ({lost}) and {how_many}")
        raise lost

    def _cancel_in_background(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs on after the job's task was cancelled, even twice; `wait_cancelled` waits for it."""
        # The set holds the task: the event loop itself keeps only weak references.
        cancelling = asyncio.ensure_future(work)
        self._cancelling.add(cancelling)
        cancelling.add_done_callback(self._cancelling.discard)

    async def _abandon(self, tag: str, handing_over: asyncio.Future[Accepted]) -> None:
        try:
            accepted = await handing_over
        except (ProviderError, LedgerError):
            return  # no job to cancel; `_hand_over` has recorded what is known
        await self._cancel_job(tag, accepted)

    async def _cancel_job(self, tag: str, accepted: Accepted) -> None:
        try:
            async with asyncio.timeout(CANCEL_LIMIT_S):
                await answer_of(self.provider.name, "cancel", self.provider.cancel(accepted))
        except (ProviderError, TimeoutError) as error:
            why = str(error) or f"no answer within {CANCEL_LIMIT_S:g} s"
            # The job may still run and cost money, so a person must decide.
            self.journal.park(tag, f"all its callers had cancelled, and cancelling the job failed: {why}")
        else:
            self.journal.record_failure(tag, "cancelled: all its callers had cancelled")

    async def _collect(self, job: Job, accepted: Accepted) -> Execution:
        try:
            execution = await answer_of(self.provider.name, "collect", self.provider.collect(accepted))
        except asyncio.CancelledError:
            self._cancel_in_background(self._cancel_job(job.tag, accepted))
            raise
        except ProviderError as error:
            # An ambiguous end says nothing about the job, which may still run and cost money.
            if error.kind is FaultKind.AMBIGUOUS:
                self.journal.park(job.tag, str(error))
            else:
                self.journal.record_failure(job.tag, str(error))
            raise
        if len(execution.samples) != len(job.circuits):
            # Without a one-to-one match, no sample can be attributed to a call.
            self.journal.record_failure(job.tag, "returned another number of samples than of circuits")
            raise ProviderError(
                FaultKind.PERMANENT, f"{len(execution.samples)} samples for {len(job.circuits)} circuits"
            )
        return execution

    def _record_stage(self, calls: Iterable[Call], stage: Stage, began_ns: int, emulated_ns: int) -> None:
        timing = StageTiming(stage, began_ns, self._clock.now_ns() - began_ns, emulated_ns)
        for call in calls:
            call.progress.record_stage(timing)


def _request_ids(calls: tuple[Call, ...]) -> tuple[str, ...]:
    return tuple(call.work.request_id for call in calls)


def _end_over_quota(calls: tuple[Call, ...], error: OverQuotaError) -> None:
    """Of a job that several callers share, the others go on without the one whose quota is used up."""
    rejection = Rejection(TENANT_QUOTA, error.allowed, error.present, error.unit, TENANT_RETRY_S)
    for call in calls:
        if call.caller == error.caller:
            call.end(rejection)


def _end_all(calls: tuple[Call, ...], error: ShotclockError) -> None:
    end = reject(error) if isinstance(error, WorkerError) else ProviderFault(str(error))
    for call in calls:
        call.end(end)
