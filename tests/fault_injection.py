"""A QPU outage under open-loop load, on virtual time: calls arrive whatever the QPU does.

The provider is the emulated one, packing included; the orchestrator is the production code.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Any

import numpy as np

from harness import FACTS, Inline, LoopClock, random_subproblem
from shotclock.domain.budget import NS_PER_MS
from shotclock.domain.errors import FaultKind, ProviderError
from shotclock.domain.outcome import Degraded, Done, Outcome
from shotclock.domain.ports import Accepted, Clock, Execution, Job
from shotclock.domain.status import BreakerState
from shotclock.emulator.profile import load
from shotclock.emulator.provider import EmulatedProvider
from shotclock.orchestrator.planning import ShotLimits
from virtual_orchestrator import N, System

DEADLINE_MS = 200
SHOTS = 64
SIDE_BY_SIDE = 8
QUEUE_LIMIT = 64
SLOWER = 10


class OutageKind(Enum):
    """What the QPU does with requests."""

    NONE = auto()
    REFUSES = auto()
    """Submits and status calls fail at once."""
    HANGS = auto()
    """Jobs and status calls never end."""
    HANGS_BUT_ANSWERS = auto()
    """Jobs never end, status calls say that all is well."""
    SLOW = auto()
    """Everything takes ten times as long, without an error."""


@dataclass(frozen=True)
class _JobOwner:
    provider: EmulatedProvider
    accepted: Accepted
    hangs: bool


class OutageProvider:
    """Implements Provider: a healthy emulated QPU, a slow one, and none, switched by `outage`.

    pings: when each status call was made, loop seconds; at_once: how many were ever under way together.
    """

    name = "emulated"

    def __init__(self, clock: Clock) -> None:
        def build_emulated(slower: int) -> EmulatedProvider:
            facts = replace(FACTS, efficiency=FACTS.efficiency / slower)
            return EmulatedProvider(facts, load("colocated"), Inline(), clock, seed=0)

        self._healthy, self._slow = build_emulated(1), build_emulated(SLOWER)
        self._owners: dict[str, _JobOwner] = {}
        self._asking = 0
        self.limits = self._healthy.limits
        self.outage = OutageKind.NONE
        self.submits = 0
        self.pings: list[float] = []
        self.at_once = 0

    def predict_s(self, job: Job) -> float:
        return self._healthy.predict_s(job)

    async def submit(self, job: Job) -> Accepted:
        self.submits += 1
        self._refuse()
        provider = self._slow if self.outage is OutageKind.SLOW else self._healthy
        accepted = await provider.submit(job)
        mine = replace(accepted, job_id=f"{self.submits}-{accepted.job_id}")
        hangs = self.outage in {OutageKind.HANGS, OutageKind.HANGS_BUT_ANSWERS}
        self._owners[mine.job_id] = _JobOwner(provider, accepted, hangs)
        return mine

    async def collect(self, accepted: Accepted) -> Execution:
        owner = self._owners[accepted.job_id]
        if owner.hangs:
            await asyncio.Event().wait()
        execution = await owner.provider.collect(owner.accepted)
        del self._owners[accepted.job_id]
        return execution

    async def cancel(self, accepted: Accepted) -> None:
        owner = self._owners.pop(accepted.job_id)
        await owner.provider.cancel(owner.accepted)

    async def find(self, tag: str) -> tuple[Accepted, ...]:
        del tag
        return ()

    async def ping(self) -> None:
        self.pings.append(asyncio.get_running_loop().time())
        self._asking += 1
        self.at_once = max(self.at_once, self._asking)
        try:
            if self.outage is OutageKind.HANGS:
                await asyncio.Event().wait()
            self._refuse()
        finally:
            self._asking -= 1

    async def close(self) -> None:
        """Nothing to let go of."""

    def _refuse(self) -> None:
        if self.outage is OutageKind.REFUSES:
            raise ProviderError(FaultKind.TRANSIENT, "503: the service is away")


@dataclass(frozen=True)
class LoadPhase:
    """Seconds of Poisson calls at a rate per second, with the QPU in one state."""

    seconds: float
    rate: float = 100.0
    outage: OutageKind = OutageKind.NONE


@dataclass(frozen=True)
class Row:
    """A call: due when it was planned, and what came of it how much later, seconds."""

    due_s: float
    latency_s: float
    outcome: Outcome

    @property
    def quantum(self) -> bool:
        return isinstance(self.outcome, Done)


@dataclass
class LoadRecord:
    """What happened during a load.

    states: the breaker's, each from when a caller saw it. most_…: the highest counts.
    """

    rows: list[Row] = field(default_factory=list)
    states: list[tuple[float, BreakerState]] = field(default_factory=list)
    most_waiting: int = 0
    most_running: int = 0
    submits: int = 0
    retries: int = 0
    pings: int = 0
    pings_at_once: int = 0

    def share(self, from_s: float, to_s: float) -> float:
        """Calls due in between that got samples by their deadline, of all."""
        answered = [row.quantum for row in self.rows if from_s <= row.due_s < to_s]
        return sum(answered) / len(answered)

    def goodput(self, from_s: float, to_s: float) -> float:
        """Calls a second that got samples by their deadline."""
        return sum(row.quantum for row in self.rows if from_s <= row.due_s < to_s) / (to_s - from_s)

    def in_time(self) -> float:
        """Calls that had any answer by their deadline, counted from when they were due."""
        answered = [
            isinstance(row.outcome, Done | Degraded) and row.latency_s <= DEADLINE_MS / 1e3
            for row in self.rows
        ]
        return sum(answered) / len(answered)

    def measure_recovery_s(self, ended_s: float, share: float, window_s: float = 5.0) -> float:
        """From the end of an outage until the share holds over a window, seconds."""
        last = max(row.due_s for row in self.rows)
        start = ended_s
        while start + window_s <= last:
            if self.share(start, start + window_s) >= share:
                return start - ended_s
            start += 0.5
        return float("inf")

    def endings(self) -> Counter[str]:
        """How calls ended, by the limit or the kind of cause."""
        return Counter(_ending(row.outcome) for row in self.rows)

    def trace_hash(self) -> str:
        """Of every call's instant, latency and end, to the nanosecond."""
        digest = hashlib.sha256()
        for row in self.rows:
            outcome = row.outcome
            what = (round(row.due_s * 1e9), round(row.latency_s * 1e9), _ending(outcome))
            digest.update(repr((*what, outcome.provenance.job_id, outcome.provenance.attempts)).encode())
        return digest.hexdigest()


def _ending(outcome: Outcome) -> str:
    if not isinstance(outcome, Degraded):
        return type(outcome).__name__
    return getattr(outcome.cause, "limit", type(outcome.cause).__name__)


def run_phases(*spells: LoadPhase, seed: int = 1) -> Coroutine[Any, Any, LoadRecord]:
    """Makes open-loop calls through the phases in turn: no call waits for the answer of another."""
    return _Run(seed).run(spells)


class _Run:
    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._subproblems = [
            replace(random_subproblem(N, number), budget_ns=DEADLINE_MS * NS_PER_MS) for number in range(64)
        ]
        self._story = LoadRecord()

    async def run(self, spells: tuple[LoadPhase, ...]) -> LoadRecord:
        story, loop = self._story, asyncio.get_running_loop()
        patient: Any = OutageProvider(LoopClock())
        self._system = System(
            patient,
            protected=True,
            batch_limit=SIDE_BY_SIDE,
            queue_limit=QUEUE_LIMIT,
            overload_wait_ms=100,
            shots=ShotLimits(SHOTS, SHOTS),
        )
        await self._system.orchestrator.start(self._subproblems[0])
        self._began, at = loop.time(), 0.0
        calls: set[asyncio.Task[None]] = set()
        for spell in spells:
            patient.outage = spell.outage
            until = at + spell.seconds
            while (due := at + float(self._rng.exponential(1 / spell.rate))) < until:
                await asyncio.sleep(self._began + due - loop.time())
                task = asyncio.create_task(self._call(due, len(story.rows)))
                calls.add(task)
                task.add_done_callback(calls.discard)
                at = due
            at = until
            await asyncio.sleep(self._began + until - loop.time())
        if calls:
            await asyncio.wait(calls)
        await self._system.orchestrator.stop()
        story.rows.sort(key=lambda row: row.due_s)
        story.submits = patient.submits
        story.retries = round(self._system.value("qpu_job_retries_total"))
        story.pings, story.pings_at_once = len(patient.pings), patient.at_once
        return story

    async def _call(self, due_s: float, number: int) -> None:
        outcome = await self._system.orchestrator.solve(self._subproblems[number % len(self._subproblems)])
        now = asyncio.get_running_loop().time() - self._began
        self._look(now)
        self._story.rows.append(Row(due_s, now - due_s, outcome))

    def _look(self, now: float) -> None:
        story, status = self._story, self._system.orchestrator.status()
        story.most_waiting = max(story.most_waiting, status.waiting)
        story.most_running = max(story.most_running, status.running)
        if not story.states or story.states[-1][1] is not status.breaker:
            story.states.append((now, status.breaker))
