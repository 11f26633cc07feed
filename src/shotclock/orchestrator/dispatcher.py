"""From admission to exactly one outcome, by the deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from shotclock.domain.budget import NS_PER_S, Deadline
from shotclock.domain.circuit import CircuitSpec
from shotclock.domain.errors import ProviderError
from shotclock.domain.outcome import (
    Answer,
    CircuitOutcome,
    DeadlinePassed,
    Decision,
    Done,
    Outcome,
    ProviderFault,
    Rejection,
)
from shotclock.domain.ports import Clock, Emulating, Recorder
from shotclock.domain.stages import Stage, StageTiming
from shotclock.domain.status import Drained, Phase, Status
from shotclock.domain.subproblem import Priority, Subproblem
from shotclock.orchestrator.admission import admit, explain_displacement, overload
from shotclock.orchestrator.answers import Answers, Fallback
from shotclock.orchestrator.call import Call, Ended, Progress, Sampled, UserCircuit
from shotclock.orchestrator.forecast import Forecast
from shotclock.orchestrator.health.health import Health
from shotclock.orchestrator.job_planner import BatchPolicy
from shotclock.orchestrator.lanes import Lanes
from shotclock.orchestrator.pipeline import Pipeline
from shotclock.orchestrator.provider_answers import answer_of
from shotclock.orchestrator.results import ResultCache

REPLY_MARGIN_NS = 2_000_000
"""An answer leaves this long before the deadline, so that it is there at the deadline."""

HAND_BACK_NS = 50_000_000
"""The last of a drain's budget, for the outcomes of the calls it hands back."""

NOT_NOW = Rejection("drain", 0, 1, "calls accepted while draining", 1.0)


@dataclass(frozen=True, slots=True)
class AdmissionPolicy:
    """queue_limit: calls that may wait. protected: refuse what predictably cannot finish, what an open
    breaker forbids, and under overload the lower priorities first.

    overload_wait_ns: a mean queue wait above it is overload; seed_policy: "fresh" takes samples of an
    equal call for no answer, any other word names whose samples may be shared.
    """

    queue_limit: int
    protected: bool
    overload_wait_ns: int = 100_000_000
    seed_policy: str = "fresh"


class Orchestrator:
    """A Dispatcher over one provider, and its Operations."""

    def __init__(
        self,
        pipeline: Pipeline,
        forecast: Forecast,
        health: Health,
        answers: Answers,
        *,
        clock: Clock,
        policy: AdmissionPolicy,
        recorder: Recorder,
        batch: BatchPolicy,
        results: ResultCache,
    ) -> None:
        self._pipeline = pipeline
        self._forecast = forecast
        self._health = health
        self._answers = answers
        self._clock = clock
        self._policy = policy
        self._recorder = recorder
        self._results = results
        self._lanes = Lanes(
            pipeline,
            forecast,
            health,
            clock=clock,
            policy=batch,
            queue_limit=policy.queue_limit,
            recorder=recorder,
        )
        self._phase = Phase.STARTING
        self._tasks: tuple[asyncio.Task[None], ...] = ()
        self._open: set[Call] = set()
        self._one_ended = asyncio.Event()
        self._accepted = 0
        self._finished = 0

    async def start(self, *samples: Subproblem) -> None:
        """Warms the path for subproblems like the samples, then opens the lanes."""
        for sample in samples:
            await self._answers.solve(sample)
            await self._forecast.warm(sample)
        self._tasks = (
            asyncio.create_task(self._lanes.run()),
            asyncio.create_task(self._health.probe()),
        )
        if self._phase is Phase.STARTING:  # else it was drained meanwhile
            self._phase = Phase.READY

    async def stop(self) -> None:
        """Closes the lanes; what is under way is handed back, and what is paid is written down."""
        self._phase = Phase.DRAINED
        for call in self._open:
            call.end(NOT_NOW)
        tasks, self._tasks = self._tasks, ()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._pipeline.wait_cancelled()
        await self._pipeline.book.wait_settled()
        provider = self._forecast.provider
        await answer_of(provider.name, "close", provider.close())

    @property
    def phase(self) -> Phase:
        """See `Operations.phase`."""
        return self._phase

    def status(self) -> Status:
        """See `Operations.status`."""
        load, health = self._lanes.load(), self._health
        return Status(
            phase=self._phase,
            provider=self._forecast.provider.name,
            emulated=self._forecast.provider.limits.emulated,
            breaker=health.breaker.state(self._clock.now_ns()),
            waiting=load.waiting,
            running=load.running,
            lanes_limit=load.lanes,
            service_p95_s=load.service_p95_s,
            accepted=self._accepted,
            finished=self._finished,
        )

    async def drain(self, budget_ns: int) -> Drained:
        """See `Operations.drain`; a call handed back ends as refused, with its classical answer if any."""
        self._phase = Phase.DRAINING
        accepted = set(self._open)  # what a resume lets in meanwhile is no part of it
        wait_s = max(0, budget_ns - HAND_BACK_NS) / NS_PER_S
        if accepted:
            await asyncio.wait({call.ended for call in accepted}, timeout=wait_s)
        left = [call for call in accepted if call.is_wanted]
        for call in left:
            call.end(Rejection("drain", budget_ns / NS_PER_S, wait_s, "s of drain budget", 0.0))
        while not self._open.isdisjoint(accepted):
            self._one_ended.clear()
            await self._one_ended.wait()
        await self._pipeline.wait_cancelled()
        if self._phase is Phase.DRAINING:
            self._phase = Phase.DRAINED
        return Drained(len(accepted) - len(left), len(left))

    def resume(self) -> None:
        """See `Operations.resume`; what was drained before it was ready goes on starting."""
        if self._phase in {Phase.DRAINING, Phase.DRAINED}:
            self._phase = Phase.READY if self._tasks else Phase.STARTING

    async def record_decision(self, request_id: str, decision: Decision) -> None:
        """See `Dispatcher.record_decision`."""
        self._pipeline.book.record_decision(request_id, decision)

    async def solve(self, subproblem: Subproblem) -> Outcome:
        """See `Dispatcher.solve`."""
        arrived = self._clock.now_ns()
        within_s = max(0, subproblem.budget_ns - REPLY_MARGIN_NS) / NS_PER_S
        fallback = await self._answers.ready(subproblem, within_s)
        known_as = self._cache_key(subproblem)
        remembered = self._find_cached(subproblem, fallback, known_as) if known_as else None
        outcome = remembered or await self._fresh(subproblem, fallback, arrived, known_as)
        self._recorder.record_outcome(outcome)
        return outcome

    async def execute(self, spec: CircuitSpec) -> CircuitOutcome:
        """See `Dispatcher.execute`; compiling an unknown circuit counts against its budget."""
        outcome = await self._execute(spec)
        self._recorder.record_outcome(outcome)
        return outcome

    async def _execute(self, spec: CircuitSpec) -> CircuitOutcome:
        arrived = self._clock.now_ns()
        deadline = Deadline.after(arrived, spec.budget_ns)
        progress = Progress()
        refused = self._refusal(spec.budget_ns, spec.priority)
        if refused is not None:
            return self._answers.answer_unexecuted(refused, progress)
        try:
            async with asyncio.timeout(self._time_left_s(deadline)):
                circuit = await self._forecast.synthesizer.bind_circuit(spec.content, spec.values_by_name())
        except TimeoutError:
            return self._answers.answer_unexecuted(DeadlinePassed(spec.budget_ns), progress)
        except ProviderError as error:
            return self._answers.answer_unexecuted(ProviderFault(str(error)), progress)
        progress.template_key = circuit.template.key
        compiled = self._clock.now_ns()
        progress.stages.append(StageTiming(Stage.BIND, arrived, compiled - arrived))
        # compiling takes long enough for a drain, or another queue
        refused = self._refusal(deadline.remaining_ns(compiled), spec.priority)
        if refused is not None:
            return self._answers.answer_unexecuted(refused, progress)
        call = self._call(UserCircuit(circuit, spec.shots, spec.request_id), deadline, 0.0, progress)
        with self._under_way(call):
            ended = await self._through(call, spec.priority, spec.budget_ns)
            if isinstance(ended, Sampled):
                return self._answers.answer_executed(ended, progress)
            return self._answers.answer_unexecuted(ended, progress)

    def _cache_key(self, subproblem: Subproblem) -> str:
        """The key of samples that may be shared, "" where none may."""
        if self._policy.seed_policy == "fresh":
            return ""
        return self._results.key(subproblem, self._forecast.policy.shots.minimum, self._policy.seed_policy)

    def _find_cached(self, subproblem: Subproblem, fallback: Answer | None, known_as: str) -> Done | None:
        """The answer from samples of an equal, earlier call."""
        found = self._results.get(known_as)
        self._recorder.record_lookup(found is not None)
        if found is None:
            return None
        sampled = Sampled(found, self._clock.now_ns())
        outcome = self._answers.done(subproblem, fallback, sampled, Progress(cached=True))
        return outcome if isinstance(outcome, Done) else None

    async def _fresh(
        self, subproblem: Subproblem, fallback: Answer | None, arrived: int, known_as: str
    ) -> Outcome:
        progress = Progress()
        refused = self._refusal(subproblem.budget_ns, subproblem.priority)
        if refused is not None:
            return await self._answers.without(subproblem, fallback, refused, progress)
        deadline = Deadline.after(arrived, subproblem.budget_ns)
        call = self._call(subproblem, deadline, _incumbent_energy(subproblem, fallback), progress)
        with self._under_way(call):
            ended = await self._through(call, subproblem.priority, subproblem.budget_ns)
            if isinstance(ended, Sampled):
                outcome = self._answers.done(subproblem, fallback, ended, progress)
                if isinstance(outcome, Done):
                    if known_as:
                        self._results.put(known_as, ended.samples)
                    return outcome
                ended = outcome
            return await self._answers.without(subproblem, fallback, ended, progress)

    def _refusal(self, budget_ns: int, priority: Priority) -> Rejection | None:
        """The limit that says no on arrival, if any."""
        if self._phase in {Phase.DRAINING, Phase.DRAINED}:
            return NOT_NOW
        if not self._policy.protected:
            return None
        wait = self._lanes.queue_wait.mean_ns(self._clock.now_ns())
        return (
            self._health.refuses()
            or overload(wait, self._policy.overload_wait_ns, priority)
            or admit(self._lanes.load(priority), budget_ns)
        )

    def _call(
        self, work: Subproblem | UserCircuit, deadline: Deadline, incumbent_energy: float, progress: Progress
    ) -> Call:
        ended = asyncio.get_running_loop().create_future()
        return Call(work, deadline, self._clock.now_ns(), incumbent_energy, ended, progress)

    async def _through(self, call: Call, priority: Priority, budget_ns: int) -> Ended | DeadlinePassed:
        """Waits for the call's end, to its deadline at the latest."""
        try:
            loser = self._lanes.add(call, priority)
            if loser is not None:
                loser.end(explain_displacement(self._lanes.load(), self._policy.queue_limit))
            async with asyncio.timeout(self._time_left_s(call.deadline)):
                return await call.ended
        except TimeoutError:
            provider = self._forecast.provider
            call.progress.record_interruption(self._clock.now_ns(), provider.limits.emulated)
            if isinstance(provider, Emulating):
                call.progress.emulator_overrun |= provider.has_overrun_since(call.queued_ns)
            return DeadlinePassed(budget_ns)
        finally:
            call.ended.cancel()
            self._lanes.leave(call)

    @contextmanager
    def _under_way(self, call: Call) -> Iterator[None]:
        """From its acceptance to its outcome, which a drain waits for."""
        self._accepted += 1
        self._open.add(call)
        try:
            yield
        finally:
            self._open.discard(call)
            self._finished += 1
            self._one_ended.set()

    def _time_left_s(self, deadline: Deadline) -> float:
        """Until the outcome must leave; a standby answer needs its own time first."""
        margin = REPLY_MARGIN_NS
        if self._answers.policy is Fallback.STANDBY:
            margin += self._answers.time.p99_ns(REPLY_MARGIN_NS)
        return max(0, deadline.remaining_ns(self._clock.now_ns()) - margin) / NS_PER_S


def _incumbent_energy(subproblem: Subproblem, fallback: Answer | None) -> float:
    """The best energy without a QPU: of changing nothing, or of the classical answer."""
    return min(subproblem.offset, fallback.energy) if fallback else subproblem.offset
