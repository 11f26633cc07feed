"""Runs jobs and sessions: they wait, hold the QPU for their time, end, and are charged."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from shotclock.domain.ports import Offload
from shotclock.emulator.queue import FairShareQueue
from shotclock.emulator.rest.faults import InjectedFault
from shotclock.emulator.rest.instants import EmulatedTime
from shotclock.emulator.rest.jobs import RAN_TOO_LONG, EndpointJob, JobState
from shotclock.emulator.rest.machine import Machine
from shotclock.emulator.rest.metering import Account, UsageInterval, job_usage_s
from shotclock.emulator.rest.prepared import Fragments
from shotclock.emulator.rest.sessions import Session
from shotclock.emulator.rest.worker import execute

LATE_S = 30.0
# Assumed, not published: usage becomes final a moment after a job's end and reads 0 until then.
USAGE_FINAL_AFTER_S = 2.0
BACKEND_ERROR = 1010  # "Error returned at backend level", IBM's error code registry
SESSION_CLOSED = 1217


class Workloads:
    """Runs jobs on the machines, one task per job. Every job ends through `_end` exactly once."""

    def __init__(
        self,
        machines: dict[str, Machine],
        queue: FairShareQueue,
        offload: Offload,
        time: EmulatedTime,
        account: Account,
    ) -> None:
        self._machines = machines
        self._queue = queue
        self._offload = offload
        self._time = time
        self._account = account
        self.jobs: dict[str, EndpointJob] = {}
        self.sessions: dict[str, Session] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._timers: set[asyncio.Task[None]] = set()

    def open(self, session: Session) -> None:
        """Registers a session."""
        self.sessions[session.id] = session

    def start(self, job: EndpointJob) -> None:
        """Registers a job and starts its task."""
        session = self.sessions.get(job.ask.session_id)
        self.jobs[job.id] = job
        job.eligible_s = self._eligible_s(job, session)
        if session is not None:
            session.pending += 1
        computing = asyncio.create_task(self._compute(job))
        self._tasks[job.id] = asyncio.create_task(self._run(job, session, computing))

    def cancel(self, job: EndpointJob) -> bool:
        """Cancels a job for its user; returns False if it has ended."""
        if job.has_ended:
            return False
        self._end(job, JobState.CANCELLED)
        self._tasks[job.id].cancel()
        return True

    def close(self, session: Session) -> None:
        """Stops accepting jobs for the session, which ends with its last job."""
        session.accepting = False
        if session.pending == 0 and session.closed_s is None:
            self._close(session, self._time.now_s())

    def close_now(self, session: Session) -> None:
        """Ends the session and cancels its jobs that have not had the QPU yet."""
        session.accepting = False
        for job in self._waiting(session):
            self.cancel(job)
        self.close(session)

    def waiting(self, backend: str) -> int:
        """Number of jobs that wait for this QPU."""
        return sum(job.state is JobState.QUEUED for job in self.jobs.values() if job.ask.backend == backend)

    async def stop(self) -> None:
        """Ends every task."""
        tasks = [*self._tasks.values(), *self._timers]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _eligible_s(self, job: EndpointJob, session: Session | None) -> float:
        """When the wait behind other users ends; a session's jobs share it, and an active one has none."""
        now_s = self._time.now_s()
        if session is None:
            return now_s + self._queue.wait_s(job.number)
        if session.active_since_s is not None:
            return now_s
        if session.eligible_s is None:
            session.eligible_s = now_s + self._queue.wait_s(job.number)
        return max(now_s, session.eligible_s)

    async def _compute(self, job: EndpointJob) -> Fragments:
        plan = job.plan
        return await self._offload.run(
            execute, job.chip, job.ask.program_id, job.ask.params, plan.flip_probabilities, plan.seeds
        )

    async def _run(
        self, job: EndpointJob, session: Session | None, computing: asyncio.Task[Fragments]
    ) -> None:
        machine = self._machines[job.ask.backend]
        try:
            await self._time.sleep_until(job.eligible_s)
            await machine.enter(job.ask.session_id)
            job.state, job.running_s = JobState.RUNNING, self._time.now_s()
            locked = False
            try:
                if InjectedFault.CANCEL in job.fate:
                    self._end(job, JobState.CANCELLED, "Cancelled by the service")
                    return
                await machine.lock(job.ask.session_id)
                locked = True
                await self._hold(job, session, machine, computing)
            finally:
                await machine.leave(locked=locked)
            await self._finish(job, computing)
        finally:
            computing.cancel()

    async def _hold(
        self, job: EndpointJob, session: Session | None, machine: Machine, computing: asyncio.Task[Fragments]
    ) -> None:
        """Holds the QPU for the job's time, or until its samples are computed if that takes longer."""
        start_s = self._time.now_s()
        if session is not None:
            self._activate(session, machine, start_s)
        end_s = start_s + self._hold_time_s(job)
        job.locked = (UsageInterval(start_s, end_s),)
        await self._time.sleep_until(end_s)
        if not computing.done():
            job.overrun = True
            await asyncio.wait({computing})

    def _hold_time_s(self, job: EndpointJob) -> float:
        if {InjectedFault.FAIL, InjectedFault.RAN_TOO_LONG} & job.fate:
            return 0.5 * job.plan.qpu_s
        limit_s = job.ask.limit_s
        return job.plan.qpu_s if limit_s is None else min(job.plan.qpu_s, limit_s)

    async def _finish(self, job: EndpointJob, computing: asyncio.Task[Fragments]) -> None:
        if InjectedFault.FAIL in job.fate:
            self._end(job, JobState.FAILED, "Error returned at backend level", BACKEND_ERROR)
            return
        if self._hold_time_s(job) < job.plan.qpu_s:
            self._end(job, JobState.CANCELLED, "Job ran longer than its maximum execution time", RAN_TOO_LONG)
            return
        if (error := computing.exception()) is not None:
            self._end(job, JobState.FAILED, f"{type(error).__name__}: {error}", BACKEND_ERROR)
            return
        job.results.append(computing.result())
        ended_s = self._time.now_s() if job.overrun else job.locked[-1].end_s
        if InjectedFault.LATE in job.fate:
            await self._time.sleep_until(ended_s + LATE_S)
        self._end(job, JobState.COMPLETED, ended_s=ended_s)

    def _end(
        self, job: EndpointJob, state: JobState, reason: str = "", code: int = 0, ended_s: float | None = None
    ) -> None:
        """Ends a job: sets its state and usage, charges it, and updates its session."""
        now_s = self._time.now_s() if ended_s is None else ended_s
        job.state, job.reason, job.reason_code, job.finished_s = state, reason, code, now_s
        if job.locked and job.locked[-1].end_s > now_s:
            job.locked = (UsageInterval(job.locked[-1].start_s, now_s),)
        job.usage_s = job_usage_s(job.locked, system_fault=code == BACKEND_ERROR)
        job.usage_final_s = now_s + USAGE_FINAL_AFTER_S
        if job.mode != "session" and job.usage_s > 0.0:
            self._account.charge(job.id, job.mode, job.usage_s, job.tags)
        session = self.sessions.get(job.ask.session_id)
        if session is not None:
            self._leave(session, job, now_s)

    def _leave(self, session: Session, job: EndpointJob, at_s: float) -> None:
        session.pending -= 1
        session.quantum_s += job.usage_s
        if job.locked:
            session.last_completed_s = at_s
        if session.pending == 0 and session.closed_s is None:
            if session.accepting:
                self._start_timer(
                    self._idle_out(session, session.last_started_s, at_s + session.interactive_ttl_s)
                )
            else:
                self._close(session, at_s)

    def _activate(self, session: Session, machine: Machine, at_s: float) -> None:
        first = session.started_s is None
        session.record_job_start(at_s)
        if session.mode == "dedicated":
            machine.hold(session.id)
        if first:
            self._start_timer(self._expire(session, at_s + session.max_ttl_s))

    async def _idle_out(self, session: Session, last_started_s: float | None, at_s: float) -> None:
        await self._time.sleep_until(at_s)
        idle = session.pending == 0 and session.last_started_s == last_started_s
        if idle and session.state == "active":
            session.deactivate(at_s)
            self._machines[session.backend].release(session.id)

    async def _expire(self, session: Session, at_s: float) -> None:
        """Closes the session at its longest duration: waiting jobs fail, a running job finishes."""
        await self._time.sleep_until(at_s)
        if session.closed_s is not None:
            return
        session.accepting = False
        for job in self._waiting(session):
            self._end(job, JobState.FAILED, "Session has been closed", SESSION_CLOSED)
            self._tasks[job.id].cancel()
        self.close(session)

    def _waiting(self, session: Session) -> list[EndpointJob]:
        jobs = [job for job in self.jobs.values() if job.ask.session_id == session.id]
        return [job for job in jobs if not job.has_ended and not job.locked]

    def _close(self, session: Session, at_s: float) -> None:
        session.close(at_s)
        self._machines[session.backend].release(session.id)
        if session.mode == "dedicated" and session.usage_s(at_s) > 0.0:
            self._account.charge(session.id, "session", session.usage_s(at_s), ())

    def _start_timer(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._timers.add(task)
        task.add_done_callback(self._timers.discard)
