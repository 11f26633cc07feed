"""Decides which waiting calls form the next job, and with how many shots; the lanes carry it out."""

from __future__ import annotations

from dataclasses import dataclass

from shotclock.domain.budget import NS_PER_S, Deadline
from shotclock.domain.circuit import Pub
from shotclock.domain.outcome import Rejection
from shotclock.domain.subproblem import Subproblem
from shotclock.orchestrator.batching import BatchLimits, Line, PackedJob, Placement, PubPlan, Waiting, pack
from shotclock.orchestrator.call import Call, UserCircuits
from shotclock.orchestrator.forecast import RETURN_MARGIN_NS, Forecast
from shotclock.orchestrator.job_plan import JobPlan
from shotclock.orchestrator.planning import Fit, ShotLimits

ANY_LINE: Line = ()
"""The device's choice."""


@dataclass(frozen=True, slots=True)
class BatchPolicy:
    """How calls are batched.

    limit: most calls per job.
    age_ns: how long a job that is not full waits for more calls, nanoseconds.
    fits_only: end calls that are predicted to miss their deadline instead of running them.
    """

    limit: int
    age_ns: int
    fits_only: bool


@dataclass(frozen=True, slots=True)
class QpuSchedule:
    """When the QPU is predicted to be free, and the present instant, both on our clock."""

    now_ns: int
    busy_until_ns: int

    @property
    def ahead_ns(self) -> int:
        """Time until the running jobs are predicted to end, nanoseconds."""
        return max(0, self.busy_until_ns - self.now_ns)


class JobPlanner:
    """Plans the job of the call at the head of the queue."""

    def __init__(self, forecast: Forecast, policy: BatchPolicy) -> None:
        self._forecast = forecast
        self._policy = policy

    def plan(self, head: Call, waiting: list[Call], schedule: QpuSchedule) -> JobPlan | Rejection:
        """The job of `head` and the calls that share it, or why it cannot meet its deadline.

        waiting: the calls that may share the job, in queue order, `head` first.
        """
        pubs = self._choose_pubs(head, waiting, schedule)
        fit = self._fit(head, pubs, schedule)
        return JobPlan(pubs, fit) if isinstance(fit, Fit) else fit

    def _choose_pubs(
        self, head: Call, waiting: list[Call], schedule: QpuSchedule
    ) -> tuple[PubPlan[Call], ...]:
        if isinstance(head.work, UserCircuits):
            # The general pass manager chose their qubits, which may overlap every line.
            return self._join_circuits(head, head.work, waiting, schedule)
        lines = self._forecast.synthesizer.lines(head.work.n)
        if len(lines) >= 2 and len(waiting) >= 2:
            # A job has one number of shots: a call that flags bound must not lower the others'.
            alike = [call for call in waiting if call.most_shots == head.most_shots]
            for job in self._pack(alike, schedule):
                if any(placement.call is head for pub in job.pubs for placement in pub):
                    return job.pubs
        # The packer leaves out a call that would be late behind others; alone it may still be on time.
        return self._alone(head, ANY_LINE)

    def _join_circuits(
        self, head: Call, work: UserCircuits, waiting: list[Call], schedule: QpuSchedule
    ) -> tuple[PubPlan[Call], ...]:
        """The head's circuits, and those of other batches of equal shots that make nobody late."""
        calls, pubs, most = [head], work.pubs, self._forecast.provider.limits.max_pubs
        for call in waiting if work.shares else ():
            other = call.work
            if call is head or not (isinstance(other, UserCircuits) and other.shares and call.is_wanted):
                continue
            if other.shots != work.shots or len(pubs) + len(other.pubs) > most:
                continue
            earliest_ns = min(each.deadline.at_ns for each in (*calls, call)) - RETURN_MARGIN_NS
            free_at_ns = max(schedule.now_ns, schedule.busy_until_ns)
            predicted_s = self._forecast.predict_s((*pubs, *other.pubs), work.shots)
            if self._policy.fits_only and free_at_ns + predicted_s * NS_PER_S > earliest_ns:
                continue
            calls.append(call)
            pubs = (*pubs, *other.pubs)
        return tuple(self._alone(call, ANY_LINE)[0] for call in calls)

    def _alone(self, call: Call, line: Line) -> tuple[PubPlan[Call], ...]:
        return ((Placement(self._describe(call, 0), line),),)

    def _shot_limits(self, call: Call) -> ShotLimits:
        return self._forecast.policy.shots.lower(call.most_shots)

    def _describe(self, call: Call, arrival: int) -> Waiting[Call]:
        work, shots = call.work, self._shot_limits(call).minimum
        n = work.n if isinstance(work, Subproblem) else max(each.qubits for each in work.circuits)
        # as the fit reckons: a call that is only just late must not be packed, and refuse the others' job
        return Waiting(call, arrival, n, call.deadline.at_ns - RETURN_MARGIN_NS, shots)

    def _pack(self, waiting: list[Call], schedule: QpuSchedule) -> tuple[PackedJob[Call], ...]:
        synthesizer, limits = self._forecast.synthesizer, self._forecast.provider.limits
        sizes = {call.work.n for call in waiting if isinstance(call.work, Subproblem)}
        lines = {n: choices for n in sizes if (choices := synthesizer.lines(n))}
        candidates = [
            self._describe(call, arrival)
            for arrival, call in enumerate(waiting)
            if call.is_wanted and isinstance(call.work, Subproblem) and call.work.n in lines
        ]
        free_at_ns = max(schedule.now_ns, schedule.busy_until_ns)
        batch_limits = BatchLimits(limits.max_pubs, limits.max_shots)
        return pack(candidates, lines, batch_limits, self._predict_s, free_at_ns).jobs

    def _predict_s(self, pubs: tuple[PubPlan[Call], ...], shots: int) -> float:
        return self._forecast.predict_s(tuple(self._representative_pub(pub) for pub in pubs), shots)

    def _representative_pub(self, pub: PubPlan[Call]) -> Pub:
        """A PUB takes as long as its widest subproblem's circuit."""
        return self._forecast.representative_pub(max(placement.waiting.n for placement in pub))

    def _fit(self, head: Call, pubs: tuple[PubPlan[Call], ...], schedule: QpuSchedule) -> Fit | Rejection:
        earliest = Deadline(min(placement.call.deadline.at_ns for pub in pubs for placement in pub))
        if isinstance(head.work, UserCircuits):
            works = [placement.call.work for pub in pubs for placement in pub]
            circuits = tuple(pub for work in works if isinstance(work, UserCircuits) for pub in work.pubs)
            shots = head.work.shots
            if not self._policy.fits_only:
                return self._forecast.fix_shots(circuits, shots)
            limits = ShotLimits(shots, shots)
            return self._forecast.fit_to_deadline(circuits, earliest, schedule.ahead_ns, limits)
        representatives = tuple(self._representative_pub(pub) for pub in pubs)
        limits = self._shot_limits(head)
        if not self._policy.fits_only and limits.minimum == limits.maximum:
            return self._forecast.fix_shots(representatives, limits.minimum)
        # All calls of a job share its shots, so the earliest deadline bounds them.
        return self._forecast.fit_to_deadline(representatives, earliest, schedule.ahead_ns, limits)
