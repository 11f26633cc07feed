"""Decides which waiting calls share a job, side by side on one chip or one after another. Pure, no I/O.

Earliest deadline first: calls are placed in the order of their deadlines, and a call may join, widen or
lengthen a job only if every call placed before is still predicted to meet its deadline. So a call's placement
depends only on calls with earlier deadlines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from shotclock.domain.budget import NS_PER_S
from shotclock.domain.errors import SettingsError
from shotclock.domain.outcome import REMAINING_BUDGET, Rejection

C = TypeVar("C")
"""The call type of the caller of `pack`."""

Line = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Waiting(Generic[C]):
    """A call that waits for a job.

    call: returned unchanged.
    arrival: its place in the queue; orders calls with equal deadlines.
    n: variables of its subproblem.
    deadline_ns: on the planner's clock.
    shots: the fewest it can use.
    """

    call: C
    arrival: int
    n: int
    deadline_ns: int
    shots: int


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """The device's limits: PUBs per job, shots per job."""

    max_pubs: int
    max_shots: int


@dataclass(frozen=True, slots=True)
class Placement(Generic[C]):
    """A waiting call on its line of physical qubits."""

    waiting: Waiting[C]
    line: Line

    @property
    def call(self) -> C:
        """The call itself."""
        return self.waiting.call


PubPlan = tuple[Placement[C], ...]
"""Calls side by side on lines that share no qubit, the earliest deadline first."""


@dataclass(frozen=True, slots=True)
class PackedJob(Generic[C]):
    """PUBs with one number of shots, and the instant at which their samples are predicted to arrive."""

    pubs: tuple[PubPlan[C], ...]
    shots: int
    finished_ns: int

    @property
    def deadline_ns(self) -> int:
        """The earliest deadline of its calls."""
        return min(placement.waiting.deadline_ns for pub in self.pubs for placement in pub)


@dataclass(frozen=True, slots=True)
class Unplaced(Generic[C]):
    """A call that cannot be placed, and why."""

    waiting: Waiting[C]
    rejection: Rejection


@dataclass(frozen=True, slots=True)
class Packing(Generic[C]):
    """Jobs in submission order, and the calls left out."""

    jobs: tuple[PackedJob[C], ...]
    unplaced: tuple[Unplaced[C], ...]


JobTime = Callable[[tuple[PubPlan[C], ...], int], float]
"""The p95 of submit to samples of a job of these PUBs and shots with an empty queue, seconds."""


def pack(
    calls: Sequence[Waiting[C]],
    lines_by_size: Mapping[int, Sequence[Line]],
    limits: BatchLimits,
    predict_s: JobTime[C],
    free_at_ns: int,
) -> Packing[C]:
    """Places every call in one job or leaves it out with a reason; deterministic.

    A call takes a free line in an existing PUB if possible, else a new PUB in a job, else a new job. A job's
    shots are the most that any of its calls needs, at most limits.max_shots. Jobs run one after
    another; adding their p95s overestimates the time.

    lines_by_size: for each n the lines a call may run on, the preferred first. Lines may overlap; those of
        one PUB are chosen so that they do not.
    free_at_ns: when the QPU can start on the first job, on the deadlines' clock.

    Raises SettingsError if two calls have the same arrival, or n or shots is below 1.
    """
    if len({waiting.arrival for waiting in calls}) != len(calls):
        raise SettingsError("arrival: must differ between waiting calls")
    packer = _Packer(lines_by_size, limits, predict_s, free_at_ns)
    jobs: tuple[PackedJob[C], ...] = ()
    unplaced: list[Unplaced[C]] = []
    for waiting in sorted(calls, key=lambda waiting: (waiting.deadline_ns, waiting.arrival)):
        if waiting.n < 1 or waiting.shots < 1:
            raise SettingsError(f"call {waiting.arrival}: n and shots must be at least 1")
        placed = packer.place(jobs, waiting)
        if isinstance(placed, Rejection):
            unplaced.append(Unplaced(waiting, placed))
        else:
            jobs = placed
    return Packing(jobs, tuple(unplaced))


@dataclass(frozen=True, slots=True)
class _Packer(Generic[C]):
    """Places one call at a time; see `pack`.

    lines_by_size: for each n the lines a call may run on, the preferred first.
    limits: PUBs and shots a job.
    predict_s: the p95 of a job, seconds.
    free_at_ns: when the QPU can start on the first job, on the deadlines' clock, nanoseconds.
    """

    lines_by_size: Mapping[int, Sequence[Line]]
    limits: BatchLimits
    predict_s: JobTime[C]
    free_at_ns: int

    def place(
        self, jobs: tuple[PackedJob[C], ...], waiting: Waiting[C]
    ) -> tuple[PackedJob[C], ...] | Rejection:
        """The jobs with the call placed so that every deadline is met, or why that is impossible."""
        lines = self.lines_by_size.get(waiting.n, ())
        if not lines:
            return Rejection("lines", 0, 1, f"lines of {waiting.n} qubits requested", 0.0)
        for number, job in enumerate(jobs):
            for pubs in self._insertions(job, waiting, lines):
                scheduled = self._schedule(jobs, number, self._make_job(pubs))
                if all(later.finished_ns <= later.deadline_ns for later in scheduled[number:]):
                    return scheduled
        alone = (Placement(waiting, lines[0]),)
        scheduled = self._schedule(jobs, len(jobs), self._make_job((alone,)))
        if scheduled[-1].finished_ns <= waiting.deadline_ns:
            return scheduled
        return self._reject_late(scheduled[-1].finished_ns, waiting)

    def _insertions(
        self, job: PackedJob[C], waiting: Waiting[C], lines: Sequence[Line]
    ) -> Iterator[tuple[PubPlan[C], ...]]:
        """The job's PUBs with the call in the first PUB that has a free line, then in a new PUB."""
        for number, pub in enumerate(job.pubs):
            used = {qubit for placement in pub for qubit in placement.line}
            line = next((line for line in lines if used.isdisjoint(line)), None)
            if line is not None:
                wider = (*pub, Placement(waiting, line))
                yield (*job.pubs[:number], wider, *job.pubs[number + 1 :])
                break
        if len(job.pubs) < self.limits.max_pubs:
            yield (*job.pubs, (Placement(waiting, lines[0]),))

    def _make_job(self, pubs: tuple[PubPlan[C], ...]) -> PackedJob[C]:
        """A job that is not scheduled yet."""
        shots = max(placement.waiting.shots for pub in pubs for placement in pub)
        return PackedJob(pubs, min(shots, self.limits.max_shots), 0)

    def _schedule(
        self, jobs: tuple[PackedJob[C], ...], number: int, changed: PackedJob[C]
    ) -> tuple[PackedJob[C], ...]:
        """The jobs with the changed one at `number`; updates when it and the later jobs finish."""
        before_ns = jobs[number - 1].finished_ns if number else self.free_at_ns
        finished_ns = before_ns + round(self.predict_s(changed.pubs, changed.shots) * NS_PER_S)
        scheduled = [*jobs[:number], replace(changed, finished_ns=finished_ns)]
        if number < len(jobs):
            delay_ns = finished_ns - jobs[number].finished_ns
            scheduled += [replace(job, finished_ns=job.finished_ns + delay_ns) for job in jobs[number + 1 :]]
        return tuple(scheduled)

    def _reject_late(self, finished_ns: int, waiting: Waiting[C]) -> Rejection:
        """The rejection of a call that would be late even in a new job after all others."""
        needed = (finished_ns - self.free_at_ns) / NS_PER_S
        remaining = (waiting.deadline_ns - self.free_at_ns) / NS_PER_S
        return Rejection(REMAINING_BUDGET, remaining, needed, "s predicted p95", needed - remaining)
