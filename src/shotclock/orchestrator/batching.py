"""Which waiting subproblems share a job, side by side on one chip or one after another. Pure, no I/O.

Earliest deadline first: requests are placed one by one in the order of their deadlines, and a request
may join, widen or lengthen a job only while everything placed before still meets its deadline as
predicted. So what is decided for a request depends on earlier deadlines alone, never on later ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from shotclock.domain.budget import NS_PER_S
from shotclock.domain.errors import SettingsError
from shotclock.domain.outcome import REMAINING_BUDGET, Rejection

Line = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Waiting:
    """A subproblem of n variables that waits: its deadline, on the planner's clock, and its shots."""

    request_id: str
    n: int
    deadline_ns: int
    shots: int


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """What the device takes: PUBs a job, shots a job."""

    max_pubs: int
    max_shots: int


@dataclass(frozen=True, slots=True)
class Placement:
    """A request on its line of physical qubits."""

    request: Waiting
    line: Line


@dataclass(frozen=True, slots=True)
class PlannedPub:
    """Requests side by side, on lines that share no qubit, the earliest deadline first."""

    placements: tuple[Placement, ...]


@dataclass(frozen=True, slots=True)
class PlannedJob:
    """PUBs that share their shots, and the instant by which their samples are predicted to be there."""

    pubs: tuple[PlannedPub, ...]
    shots: int
    finished_ns: int

    @property
    def deadline_ns(self) -> int:
        """The earliest deadline in it."""
        return min(one.request.deadline_ns for pub in self.pubs for one in pub.placements)


@dataclass(frozen=True, slots=True)
class Refused:
    """A request that cannot be placed, and why."""

    request: Waiting
    rejection: Rejection


@dataclass(frozen=True, slots=True)
class Plan:
    """Jobs in the order in which to submit them, and what is left out."""

    jobs: tuple[PlannedJob, ...]
    refused: tuple[Refused, ...]


JobTime = Callable[[tuple[PlannedPub, ...], int], float]
"""The p95 of submit to samples of a job of these PUBs at so many shots, nothing ahead of it, seconds."""


def pack(
    requests: Sequence[Waiting],
    lines_by_size: Mapping[int, Sequence[Line]],
    limits: BatchLimits,
    predict_s: JobTime,
    free_at_ns: int,
) -> Plan:
    """Every request in one job or refused with a reason; the same plan for the same arguments.

    lines_by_size: for each n the lines a request may run on, the preferred first. Lines may overlap;
    those of one PUB are chosen so that they do not. A job's shots are the most that anyone in it wants,
    at most limits.max_shots. free_at_ns: the instant at which the QPU can start on the first job, on
    the deadlines' clock; jobs run one after another, and p95s are added, which errs on the late side.
    A request takes a line beside others if it can, else a PUB of its own in a job that exists, else a
    job of its own. Raises SettingsError on two requests with one id, on n or shots below 1.
    """
    if len({one.request_id for one in requests}) != len(requests):
        raise SettingsError("request_id: two waiting requests have the same one")
    planner = _Planner(lines_by_size, limits, predict_s, free_at_ns)
    jobs: tuple[PlannedJob, ...] = ()
    refused: list[Refused] = []
    for request in sorted(requests, key=lambda one: (one.deadline_ns, one.request_id)):
        if request.n < 1 or request.shots < 1:
            raise SettingsError(f"request {request.request_id}: n and shots must be at least 1")
        placed = planner.place(jobs, request)
        if isinstance(placed, Rejection):
            refused.append(Refused(request, placed))
        else:
            jobs = placed
    return Plan(jobs, tuple(refused))


@dataclass(frozen=True, slots=True)
class _Planner:
    lines_by_size: Mapping[int, Sequence[Line]]
    limits: BatchLimits
    predict_s: JobTime
    free_at_ns: int

    def place(self, jobs: tuple[PlannedJob, ...], request: Waiting) -> tuple[PlannedJob, ...] | Rejection:
        """The jobs with the request in one of them, everyone's deadline kept."""
        lines = self.lines_by_size.get(request.n, ())
        if not lines:
            return Rejection("lines", 0, 1, f"lines of {request.n} qubits wanted", 0.0)
        for number, job in enumerate(jobs):
            for pubs in self._ways_in(job, request, lines):
                timed = self._timed(jobs, number, self._job(pubs))
                if all(one.finished_ns <= one.deadline_ns for one in timed[number:]):
                    return timed
        alone = PlannedPub((Placement(request, lines[0]),))
        timed = self._timed(jobs, len(jobs), self._job((alone,)))
        if timed[-1].finished_ns <= request.deadline_ns:
            return timed
        return self._too_late(timed[-1].finished_ns, request)

    def _ways_in(
        self, job: PlannedJob, request: Waiting, lines: Sequence[Line]
    ) -> Iterator[tuple[PlannedPub, ...]]:
        """The job's PUBs with the request in the first with room for it, then in one of its own."""
        for number, pub in enumerate(job.pubs):
            taken = {qubit for one in pub.placements for qubit in one.line}
            for line in lines:
                if taken.isdisjoint(line):
                    wider = PlannedPub((*pub.placements, Placement(request, line)))
                    yield (*job.pubs[:number], wider, *job.pubs[number + 1 :])
                    break
            else:
                continue
            break
        if len(job.pubs) < self.limits.max_pubs:
            yield (*job.pubs, PlannedPub((Placement(request, lines[0]),)))

    def _job(self, pubs: tuple[PlannedPub, ...]) -> PlannedJob:
        """A job not yet timed."""
        wanted = max(one.request.shots for pub in pubs for one in pub.placements)
        return PlannedJob(pubs, min(wanted, self.limits.max_shots), 0)

    def _timed(
        self, jobs: tuple[PlannedJob, ...], number: int, changed: PlannedJob
    ) -> tuple[PlannedJob, ...]:
        """The jobs with this one at `number`; it and those behind it finish when they now would."""
        before_ns = jobs[number - 1].finished_ns if number else self.free_at_ns
        finished_ns = before_ns + round(self.predict_s(changed.pubs, changed.shots) * NS_PER_S)
        timed = [*jobs[:number], replace(changed, finished_ns=finished_ns)]
        if number < len(jobs):
            delay_ns = finished_ns - jobs[number].finished_ns
            behind = jobs[number + 1 :]
            timed += [replace(one, finished_ns=one.finished_ns + delay_ns) for one in behind]
        return tuple(timed)

    def _too_late(self, finished_ns: int, request: Waiting) -> Rejection:
        """A job of its own, after all others, would end after the deadline; so would everything else."""
        needed = (finished_ns - self.free_at_ns) / NS_PER_S
        remaining = (request.deadline_ns - self.free_at_ns) / NS_PER_S
        return Rejection(REMAINING_BUDGET, remaining, needed, "s predicted p95", needed - remaining)
