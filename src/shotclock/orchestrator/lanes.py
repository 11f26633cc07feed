"""Moves waiting calls onto the provider: as many jobs at once as its lanes and its health allow."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass

from shotclock.domain.budget import NS_PER_S, Deadline
from shotclock.domain.circuit import Pub
from shotclock.domain.outcome import Rejection
from shotclock.domain.ports import Clock, Recorder
from shotclock.domain.stages import Stage, StageTiming
from shotclock.domain.subproblem import Priority, Subproblem
from shotclock.orchestrator.admission import Load, QueueWait
from shotclock.orchestrator.batching import BatchLimits, PlannedJob, PlannedPub, Waiting, pack
from shotclock.orchestrator.call import Call, OwnCircuit
from shotclock.orchestrator.flight import ANY_LINE, Flight, Seat
from shotclock.orchestrator.pipeline import RETURN_MARGIN_NS, Pipeline
from shotclock.orchestrator.planning import Fit, ShotLimits
from shotclock.orchestrator.waiting import WaitingCalls

Row = tuple[Seat, ...]

LEAD = 0.25
"""Of a job's predicted time: so long before the QPU is free the next job is submitted."""


@dataclass(frozen=True, slots=True)
class BatchPolicy:
    """limit: calls a job; age_ns: how long one that is not full waits for more.

    fits_only: end what predictably cannot make its deadline rather than run it.
    """

    limit: int
    age_ns: int
    fits_only: bool


class Lanes:
    """Everything between a call's admission and its job; `run` is the one task that starts jobs."""

    def __init__(
        self, pipeline: Pipeline, clock: Clock, policy: BatchPolicy, queue_limit: int, recorder: Recorder
    ) -> None:
        self._pipeline = pipeline
        self._clock = clock
        self._policy = policy
        self._recorder = recorder
        self._waiting: WaitingCalls[Call] = WaitingCalls(queue_limit)
        self._flights: dict[asyncio.Task[None], Flight] = {}
        self._aboard: dict[Call, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()
        self._busy_until_ns = 0
        self.queue_wait = QueueWait()

    def load(self, priority: Priority = Priority.LOW) -> Load:
        """What is held at this instant, as a newcomer of this priority meets it."""
        return Load(
            waiting=self._waiting.ahead_of(priority),
            running=len(self._flights),
            ahead_s=self._ahead_ns() / NS_PER_S,
            lanes=self._pipeline.health.lanes.limit,
            service_p95_s=self._pipeline.predicted_p95_s(),
            batch=min(self._policy.limit, self._pipeline.side_by_side),
        )

    def add(self, call: Call, priority: Priority) -> Call | None:
        """Lets a call wait; returns the one that has to go for it, itself if it may displace none."""
        displaced = self._waiting.put(call, call.deadline.at_ns, priority)
        self._recorder.queued(len(self._waiting))
        self._changed.set()
        return displaced

    def leave(self, call: Call) -> None:
        """Its caller waits no more; a job that nobody waits for is given up."""
        if call in self._waiting:
            self._waiting.discard(call)
            now = self._clock.now_ns()
            self.queue_wait.observe(now - call.queued_ns, now)
            self._recorder.queued(len(self._waiting))
        flight = self._aboard.pop(call, None)
        if flight is not None and not flight.done() and not self._flights[flight].wanted:
            flight.cancel()

    async def run(self) -> None:
        """Starts jobs until it is cancelled; those under way are then cancelled too."""
        try:
            while True:
                await self._turn()
                token = await self._token()
                await self._gathered()
                refused = self._pipeline.health.refuses() if self._policy.fits_only else None
                if refused is not None:
                    self._refuse_waiting(refused)
                self._start(token)
        finally:
            for task in self._flights:
                task.cancel()
            await asyncio.gather(*self._flights, return_exceptions=True)

    async def _turn(self) -> None:
        """Returns when a call waits, a lane is free, and the QPU nearly is."""
        while True:
            free = len(self._flights) < self._pipeline.health.lanes.limit
            early_s = self._early_ns() / NS_PER_S
            if self._waiting and free and early_s <= 0:
                return
            self._changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(early_s if self._waiting and free else None):
                    await self._changed.wait()

    def _early_ns(self) -> int:
        """How long a job submitted now would only wait for the QPU; others may still join it meanwhile."""
        if self._policy.limit == 1 or not self._flights:
            return 0
        lead_s = LEAD * min(flight.predicted_s for flight in self._flights.values())
        return self._ahead_ns() - round(lead_s * NS_PER_S)

    def _refuse_waiting(self, rejection: Rejection) -> None:
        for call in self._waiting.peek(len(self._waiting)):
            call.end(rejection)

    async def _token(self) -> tuple[int, int]:
        """Waits for the right to submit; from when to when it waited."""
        began = self._clock.now_ns()
        wait = self._pipeline.bucket.reserve_ns(began)
        if not wait:
            return began, began
        await asyncio.sleep(wait / NS_PER_S)
        return began, self._clock.now_ns()

    async def _gathered(self) -> None:
        """Returns when the batch is full or old enough, or its first deadline leaves no more time to wait."""
        while 0 < len(self._waiting) < self._policy.limit and self._policy.age_ns:
            now = self._clock.now_ns()
            first = self._waiting.peek(len(self._waiting))
            oldest = min(call.queued_ns for call in first)
            needed_ns = round(self._pipeline.predicted_p95_s() * NS_PER_S) + RETURN_MARGIN_NS
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

    def _start(self, token: tuple[int, int]) -> None:
        flight = self._next_flight()
        if flight is None:
            self._pipeline.bucket.give_back()
            return
        calls = tuple(flight.calls())
        self._waiting.take(calls)
        self._recorder.queued(len(self._waiting))
        now = self._clock.now_ns()
        for call in calls:
            self._waited(call, token, now)
        task = asyncio.create_task(self._pipeline.run(flight))
        self._flights[task] = flight
        self._aboard.update(dict.fromkeys(calls, task))
        self._busy_until_ns = max(self._busy_until_ns, now) + round(flight.predicted_s * NS_PER_S)
        task.add_done_callback(self._landed)

    def _landed(self, task: asyncio.Task[None]) -> None:
        flight = self._flights.pop(task)
        for call in flight.calls():
            self._aboard.pop(call, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            for call in flight.calls():
                call.fail(error)
        # jobs that took less than their p95 must not add up to a wait that is not there
        left_s = sum(other.predicted_s for other in self._flights.values())
        self._busy_until_ns = min(self._busy_until_ns, self._clock.now_ns() + round(left_s * NS_PER_S))
        self._changed.set()

    def _ahead_ns(self) -> int:
        """Until the jobs under way are predicted to be done."""
        return max(0, self._busy_until_ns - self._clock.now_ns())

    def _waited(self, call: Call, token: tuple[int, int], now: int) -> None:
        """Splits a call's wait into the queue's and the submission bucket's."""
        held_from = max(call.queued_ns, token[0])
        held = max(0, token[1] - held_from)
        queued = now - call.queued_ns - held
        emulated = held if self._pipeline.provider.limits.emulated else 0
        call.progress.stages += (
            StageTiming(Stage.ADMISSION_WAIT, call.queued_ns, queued),
            StageTiming(Stage.SUBMISSION_BUCKET_WAIT, now - held, held, emulated),
        )
        self.queue_wait.observe(queued, now)

    def _next_flight(self) -> Flight | None:
        """The job to submit now; calls that do not fit end here. None when nothing is left to run."""
        while first := self._waiting.peek(self._policy.limit):
            head = first[0]
            if not head.wanted:
                self._waiting.discard(head)
                continue
            try:
                rows = self._rows(head, first)
                fit = self._fit(head, rows)
            except Exception as error:  # noqa: BLE001 - a provider's mistake costs this call, not the lanes
                head.fail(error)
                self._waiting.discard(head)
                continue
            if isinstance(fit, Fit):
                return Flight(rows, fit.shots, fit.rep_delay_s, fit.penalised, fit.predicted_s)
            head.end(fit)
            self._waiting.discard(head)
        return None

    def _rows(self, head: Call, first: list[Call]) -> tuple[Row, ...]:
        """Who shares the job of the call at the head of the queue."""
        work = head.work
        if isinstance(work, OwnCircuit):
            return ((Seat(head),),)
        lines = self._pipeline.synthesizer.lines(work.n)
        if len(lines) < 2 or len(first) < 2:
            return ((Seat(head, lines[0] if lines else ANY_LINE),),)
        for job in self._plan(first):
            rows = _seated(job, first)
            if any(seat.call is head for row in rows for seat in row):
                return rows
        return ((Seat(head, lines[0]),),)

    def _plan(self, first: list[Call]) -> tuple[PlannedJob, ...]:
        synthesizer, limits = self._pipeline.synthesizer, self._pipeline.provider.limits
        sizes = {call.work.n for call in first if isinstance(call.work, Subproblem)}
        lines = {n: found for n in sizes if (found := synthesizer.lines(n))}
        shots = self._pipeline.policy.shots.minimum
        candidates = [
            Waiting(str(number), call.work.n, call.deadline.at_ns, shots)
            for number, call in enumerate(first)
            if call.wanted and isinstance(call.work, Subproblem) and call.work.n in lines
        ]
        free_at = max(self._clock.now_ns(), self._busy_until_ns)
        plan = pack(
            candidates, lines, BatchLimits(limits.max_pubs, limits.max_shots), self._predict_s, free_at
        )
        return plan.jobs

    def _predict_s(self, pubs: tuple[PlannedPub, ...], shots: int) -> float:
        return self._pipeline.predict_s(tuple(self._stand_in(pub) for pub in pubs), shots)

    def _stand_in(self, pub: PlannedPub) -> Pub:
        """The PUB takes as long as its widest subproblem's circuit."""
        return self._pipeline.stand_in(max(one.request.n for one in pub.placements))

    def _fit(self, head: Call, rows: tuple[Row, ...]) -> Fit | Rejection:
        work = head.work
        if isinstance(work, OwnCircuit):
            own, shots = (Pub((work.circuit,)),), ShotLimits(work.shots, work.shots)
            if self._policy.fits_only:
                return self._pipeline.fitted(own, head.deadline, self._ahead_ns(), shots)
            return self._pipeline.as_asked(own, work.shots)
        pubs = tuple(
            self._pipeline.stand_in(max(s.call.work.n for s in row if isinstance(s.call.work, Subproblem)))
            for row in rows
        )
        asked = self._pipeline.policy.shots
        if not self._policy.fits_only and asked.minimum == asked.maximum:
            return self._pipeline.as_asked(pubs, asked.minimum)
        earliest = min(seat.call.deadline.at_ns for row in rows for seat in row)
        return self._pipeline.fitted(pubs, Deadline(earliest), self._ahead_ns(), asked)


def _seated(job: PlannedJob, first: list[Call]) -> tuple[Row, ...]:
    return tuple(
        tuple(Seat(first[int(one.request.request_id)], one.line) for one in pub.placements)
        for pub in job.pubs
    )
