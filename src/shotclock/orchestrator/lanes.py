"""Starts jobs for waiting calls: as many at once as the provider's lanes and health allow."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from shotclock.domain.budget import NS_PER_S
from shotclock.domain.outcome import Rejection
from shotclock.domain.ports import Clock
from shotclock.domain.recorders import Recorder
from shotclock.domain.stages import Stage, StageTiming
from shotclock.domain.subproblem import Priority
from shotclock.orchestrator.admission import QueueLoad, QueueWaits
from shotclock.orchestrator.call import Call, UserCircuits
from shotclock.orchestrator.forecast import RETURN_MARGIN_NS, Forecast
from shotclock.orchestrator.health.health import Health
from shotclock.orchestrator.job_plan import JobPlan
from shotclock.orchestrator.job_planner import BatchPolicy, JobPlanner, QpuSchedule
from shotclock.orchestrator.pipeline import Pipeline
from shotclock.orchestrator.waiting import WaitingCalls, one_share

LEAD = 0.25
"""Share of a job's predicted time by which the next job is submitted before the QPU is free."""


class Lanes:
    """Everything between a call's admission and its job; `run` is the one task that starts jobs."""

    def __init__(
        self,
        pipeline: Pipeline,
        forecast: Forecast,
        health: Health,
        *,
        clock: Clock,
        policy: BatchPolicy,
        queue_limit: int,
        recorder: Recorder,
        share_of: Callable[[str], float] = one_share,
    ) -> None:
        self._pipeline = pipeline
        self._forecast = forecast
        self._health = health
        self._clock = clock
        self._policy = policy
        self._recorder = recorder
        self._planner = JobPlanner(forecast, policy)
        self._waiting: WaitingCalls[Call] = WaitingCalls(queue_limit, share_of)
        self._jobs: dict[asyncio.Task[None], JobPlan] = {}
        self._job_of: dict[Call, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()
        self._busy_until_ns = 0
        self._queue_waits = QueueWaits()

    @property
    def waiting(self) -> int:
        """Waiting calls of all callers."""
        return len(self._waiting)

    def queue_wait_ns(self, caller: str) -> int:
        """The mean wait of this caller's calls in the last second, as long as one of them waits.

        A caller without a waiting call does not make the wait, and refusing it would shorten nobody's.
        """
        if not self._waiting.holds(caller):
            return 0
        return self._queue_waits.mean_ns(caller, self._clock.now_ns())

    def load(self, priority: Priority, caller: str = "") -> QueueLoad:
        """The present load, as a new call of this caller and priority meets it."""
        return QueueLoad(
            waiting=self._waiting.ahead_of(priority, caller),
            running=len(self._jobs),
            ahead_s=self._schedule().ahead_ns / NS_PER_S,
            lanes=self._health.lanes.limit,
            service_p95_s=self._forecast.predict_p95_s(),
            batch=self._calls_per_job(),
        )

    def add(self, call: Call, priority: Priority) -> Call | None:
        """Queues a call; returns the call displaced by it, or the call itself if it may displace none."""
        cost = self._cost(call)
        displaced = self._waiting.put(call, call.deadline.at_ns, priority, call.caller, cost)
        self._recorder.record_queue_length(len(self._waiting))
        self._changed.set()
        return displaced

    def leave(self, call: Call) -> None:
        """Removes a call whose caller no longer waits; a job without waiting callers is cancelled."""
        if call in self._waiting:
            self._waiting.discard(call)
            now = self._clock.now_ns()
            self._queue_waits.observe(call.caller, now - call.queued_ns, now)
            self._recorder.record_queue_length(len(self._waiting))
        job = self._job_of.pop(call, None)
        # Other callers may still wait for the same job: cancelling it for one would fail them all.
        if job is not None and not job.done() and not self._jobs[job].is_wanted:
            job.cancel()

    def _calls_per_job(self) -> int:
        return min(self._policy.limit, self._forecast.calls_per_pub)

    def _cost(self, call: Call) -> float:
        """QPU time of its turn, in subproblems; user circuits pay for their job as if nobody shared it."""
        if not isinstance(call.work, UserCircuits):
            return 1.0
        usual_s = self._forecast.predict_p95_s()
        if usual_s <= 0.0:
            return 1.0
        alone_s = self._forecast.predict_s(call.work.pubs, call.work.shots)
        return max(1.0, self._calls_per_job() * alone_s / usual_s)

    async def run(self) -> None:
        """Starts jobs until it is cancelled, then cancels the running jobs."""
        try:
            while True:
                await self._wait_for_turn()
                # The token comes before the batch is chosen, so that calls arriving during its wait can join.
                token = await self._take_token()
                await self._wait_for_batch()
                # The breaker may have opened during the waits; a measuring arm runs its calls regardless.
                refusal = self._health.refuses() if self._policy.fits_only else None
                if refusal is not None:
                    self._refuse_waiting(refusal)
                await self._start(token)
        finally:
            for task in self._jobs:
                task.cancel()
            await asyncio.gather(*self._jobs, return_exceptions=True)

    async def _wait_for_turn(self) -> None:
        """Returns when a call waits, a lane is free, and the QPU is nearly free."""
        while True:
            may_start = len(self._jobs) < self._health.lanes.limit and len(self._waiting) > 0
            early_s = self._early_ns() / NS_PER_S
            # In this order: each call that arrives comes here, and the last question looks at every caller.
            if may_start and early_s <= 0 and self._find_runnable(1):
                return
            self._changed.clear()
            if not may_start or early_s <= 0:
                await self._changed.wait()
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(early_s):
                    await self._changed.wait()

    def _find_runnable(self, count: int) -> list[Call]:
        """The first `count` waiting calls that may have the next lane, in order.

        The emulation of a user circuit may take any time, so the last of several lanes is for subproblems.
        """
        lanes = self._health.lanes.limit
        if lanes == 1 or not self._forecast.provider.limits.emulated:
            return self._waiting.peek(count)
        users = sum([job.has_user_circuit for job in self._jobs.values()])
        if users < lanes - 1:
            return self._waiting.peek(count)
        waiting = self._waiting.peek(len(self._waiting))
        return [call for call in waiting if not isinstance(call.work, UserCircuits)][:count]

    def _early_ns(self) -> int:
        """How long a job submitted now would wait for the QPU, while other calls could still join it."""
        # Holding a job back gains nothing if no other call can join it, or if the QPU is idle.
        if self._policy.limit == 1 or not self._jobs:
            return 0
        lead_s = LEAD * min(job.fit.predicted_s for job in self._jobs.values())
        return self._schedule().ahead_ns - round(lead_s * NS_PER_S)

    def _refuse_waiting(self, rejection: Rejection) -> None:
        for call in self._waiting.peek(len(self._waiting)):
            call.end(rejection)

    async def _take_token(self) -> tuple[int, int]:
        """Waits for a submission token; returns when the wait began and ended."""
        began = self._clock.now_ns()
        wait = self._health.submissions.reserve_ns(began)
        if not wait:
            return began, began
        await asyncio.sleep(wait / NS_PER_S)
        return began, self._clock.now_ns()

    async def _wait_for_batch(self) -> None:
        """Returns when the batch is full or old enough, or its earliest deadline allows no more waiting."""
        while 0 < len(self._waiting) < self._policy.limit and self._policy.age_ns:
            now = self._clock.now_ns()
            waiting = self._waiting.peek(len(self._waiting))
            oldest = min(call.queued_ns for call in waiting)
            needed_ns = round(self._forecast.predict_p95_s() * NS_PER_S) + RETURN_MARGIN_NS
            slack = self._waiting.earliest_deadline_ns() - needed_ns
            until = min(oldest + self._policy.age_ns, slack)
            if until <= now:
                return
            self._changed.clear()
            try:
                async with asyncio.timeout((until - now) / NS_PER_S):
                    await self._changed.wait()
            except TimeoutError:
                return

    async def _start(self, token: tuple[int, int]) -> None:
        plan = await self._plan_next()
        if plan is None:
            # Every waiting call ended during the waits: the token must stay available for the next job.
            self._health.submissions.give_back()
            return
        calls = plan.calls
        self._waiting.take(calls)
        self._recorder.record_queue_length(len(self._waiting))
        now = self._clock.now_ns()
        for call in calls:
            self._record_wait(call, token, now)
        task = asyncio.create_task(self._pipeline.run(plan))
        self._jobs[task] = plan
        self._job_of.update(dict.fromkeys(calls, task))
        self._busy_until_ns = max(self._busy_until_ns, now) + round(plan.fit.predicted_s * NS_PER_S)
        task.add_done_callback(self._finish)

    def _finish(self, task: asyncio.Task[None]) -> None:
        plan = self._jobs.pop(task)
        for call in plan.calls:
            self._job_of.pop(call, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            for call in plan.calls:
                call.fail(error)
        # Jobs usually take less than their p95, so sums of p95s would grow into a wait that does not exist.
        left_s = sum(job.fit.predicted_s for job in self._jobs.values())
        self._busy_until_ns = min(self._busy_until_ns, self._clock.now_ns() + round(left_s * NS_PER_S))
        self._changed.set()

    def _schedule(self) -> QpuSchedule:
        return QpuSchedule(self._clock.now_ns(), self._busy_until_ns)

    def _record_wait(self, call: Call, token: tuple[int, int], now: int) -> None:
        """Splits a call's wait into the queue's and the submission bucket's."""
        # A call that arrived during the wait for the token waited only from its arrival on.
        held_from = max(call.queued_ns, token[0])
        held_ns = max(0, token[1] - held_from)
        queued = now - call.queued_ns - held_ns
        emulated = held_ns if self._forecast.provider.limits.emulated else 0
        call.progress.record_stage(StageTiming(Stage.ADMISSION_WAIT, call.queued_ns, queued))
        bucket_wait = StageTiming(Stage.SUBMISSION_BUCKET_WAIT, now - held_ns, held_ns, emulated)
        call.progress.record_stage(bucket_wait)
        self._queue_waits.observe(call.caller, queued, now)

    async def _plan_next(self) -> JobPlan | None:
        """The job to submit now; calls that do not fit end here. None when no call is left to run.

        After each such call the event loop has its turn: a whole queue that has become late would hold it.
        """
        while waiting := self._find_runnable(self._policy.limit):
            head = waiting[0]
            if not head.is_wanted:
                self._waiting.discard(head)
                continue
            try:
                plan = self._planner.plan(head, waiting, self._schedule())
            except Exception as error:  # noqa: BLE001 - a provider's bug fails this call, not the lanes
                head.fail(error)
            else:
                if isinstance(plan, JobPlan):
                    return plan
                head.end(plan)
            self._waiting.discard(head)
            await asyncio.sleep(0)
        return None
