"""Takes a call from admission to exactly one outcome, by its deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from shotclock.domain.budget import NS_PER_S, Deadline
from shotclock.domain.circuit import CircuitSpec, DeviceCircuit
from shotclock.domain.circuit_batch import CircuitBatch, CircuitPoints, Deliver
from shotclock.domain.errors import ProviderError, WorkerError
from shotclock.domain.flags import USER_CIRCUIT, FlagDecision, FlagRequest
from shotclock.domain.outcome import (
    ALWAYS_STALE,
    Answer,
    Cause,
    CircuitOutcome,
    DeadlinePassed,
    Decision,
    Done,
    Outcome,
    ProviderFault,
    Rejection,
    end_without_answer,
)
from shotclock.domain.ports import Clock, Emulating, Flags
from shotclock.domain.recorders import Recorder
from shotclock.domain.stages import Stage, StageTiming
from shotclock.domain.status import Drained, Phase, Status
from shotclock.domain.subproblem import Priority, Subproblem
from shotclock.domain.subproblem_batch import DeliverOutcome, SubproblemBatch, solve_each
from shotclock.domain.trace import Span, SpanName, Tracer, describe_call, describe_outcome, open_span
from shotclock.domain.trace_context import TraceContext
from shotclock.orchestrator.admission import (
    AdmissionPolicy,
    admit,
    explain_displacement,
    overload,
    refuse_by_memory,
)
from shotclock.orchestrator.answers import Answers, Fallback
from shotclock.orchestrator.call import Call, CallProgress, Ended, Sampled, UserCircuits
from shotclock.orchestrator.call_log import log_accepted, log_cancellation, log_end
from shotclock.orchestrator.circuit_batches import BatchRun
from shotclock.orchestrator.forecast import Forecast
from shotclock.orchestrator.health.health import Health
from shotclock.orchestrator.job_planner import BatchPolicy
from shotclock.orchestrator.lanes import Lanes
from shotclock.orchestrator.pipeline import Pipeline
from shotclock.orchestrator.provider_answers import answer_of
from shotclock.orchestrator.quotas import CallsInProgress, CompileTurns
from shotclock.orchestrator.refusals import keep_data, refuse_by_flag, refuse_by_flags, refuse_width
from shotclock.orchestrator.results import ResultCache
from shotclock.orchestrator.worker_faults import reject_circuit

B = TypeVar("B")

REPLY_MARGIN_NS = 2_000_000
"""An answer is sent this long before the deadline, so that it arrives in time."""

HAND_BACK_NS = 50_000_000
"""The part of a drain's budget reserved for the outcomes of the calls it hands back."""

NOT_NOW = Rejection("drain", 0, 1, "calls accepted while draining", 1.0)


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
        flags: Flags,
        recorder: Recorder,
        batch: BatchPolicy,
        results: ResultCache,
        tracer: Tracer | None = None,
    ) -> None:
        self._pipeline = pipeline
        self._forecast = forecast
        self._health = health
        self._answers = answers
        self._clock = clock
        self._policy = policy
        self._flags = flags
        self._recorder = recorder
        self._results = results
        self._tracer = tracer
        self._lanes = Lanes(
            pipeline,
            forecast,
            health,
            clock=clock,
            policy=batch,
            queue_limit=policy.queue_limit,
            recorder=recorder,
            share_of=policy.quota.share_of,
        )
        self._in_progress = CallsInProgress(policy.quota)
        self._compiles = CompileTurns(policy.quota.compiles)
        self._phase = Phase.STARTING
        self._tasks: tuple[asyncio.Task[None], ...] = ()
        self._open: set[Call] = set()
        self._one_ended = asyncio.Event()
        self._accepted = self._finished = 0

    async def start(self, *samples: Subproblem) -> None:
        """Warms the path for subproblems like the samples, then opens the lanes."""
        for sample in samples:
            await self._answers.solve(sample)
            await self._forecast.warm(sample)
        self._tasks = tuple(map(asyncio.create_task, (self._lanes.run(), self._health.probe())))
        if self._phase is Phase.STARTING:  # otherwise it was drained while starting
            self._phase = Phase.READY

    async def stop(self) -> None:
        """Closes the lanes, ends open calls as refused, and completes the records of paid jobs."""
        self._phase = Phase.DRAINED
        for call in self._open:
            call.end(NOT_NOW)
        tasks, self._tasks = self._tasks, ()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._pipeline.wait_cancelled()
        await self._pipeline.journal.wait_settled()
        provider = self._forecast.provider
        await answer_of(provider.name, "close", provider.close())
        await self._pipeline.journal.wait_settled()  # usage that became final

    @property
    def phase(self) -> Phase:
        """See `Operations.phase`."""
        return self._phase

    def status(self) -> Status:
        """See `Operations.status`."""
        load, health = self._lanes.load(Priority.LOW), self._health
        return Status(
            phase=self._phase,
            provider=self._forecast.provider.name,
            emulated=self._forecast.provider.limits.emulated,
            breaker=health.breaker.state(self._clock.now_ns()),
            waiting=self._lanes.waiting,
            running=load.running,
            lanes_limit=load.lanes,
            service_p95_s=load.service_p95_s,
            accepted=self._accepted,
            finished=self._finished,
            flags=self._flags.report(),
            canary=self._flags.canary(),
        )

    async def drain(self, budget_ns: int) -> Drained:
        """See `Operations.drain`; a call handed back ends as refused, with its classical answer if any."""
        self._phase = Phase.DRAINING
        accepted = set(self._open)  # calls accepted after a resume are not part of this drain
        wait_s = max(0, budget_ns - HAND_BACK_NS) / NS_PER_S
        if accepted:
            await asyncio.wait({call.ended for call in accepted}, timeout=wait_s)
        unanswered = [call for call in accepted if call.is_wanted]
        for call in unanswered:
            call.end(Rejection("drain", budget_ns / NS_PER_S, wait_s, "s of drain budget", 0.0))
        while not self._open.isdisjoint(accepted):
            self._one_ended.clear()
            await self._one_ended.wait()
        await self._pipeline.wait_cancelled()
        if self._phase is Phase.DRAINING:
            self._phase = Phase.DRAINED
        return Drained(len(accepted) - len(unanswered), len(unanswered))

    def resume(self) -> None:
        """See `Operations.resume`; an orchestrator drained before it was ready continues to start."""
        if self._phase in {Phase.DRAINING, Phase.DRAINED}:
            self._phase = Phase.READY if self._tasks else Phase.STARTING

    async def record_decision(
        self, request_id: str, decision: Decision, *, stale: bool = False, caller: str = ""
    ) -> None:
        """See `Dispatcher.record_decision`."""
        self._recorder.record_decision(decision, stale or decision in ALWAYS_STALE, caller)
        self._pipeline.journal.record_decision(request_id, decision)

    async def solve(self, subproblem: Subproblem) -> Outcome:
        """See `Dispatcher.solve`; a caller over its quota gets no classical answer, which costs CPU too."""
        if self._tracer is None:
            return await self._solve_counted(subproblem, None)
        with open_span(self._tracer, SpanName.SOLVE, subproblem.trace) as span:
            describe_call(span, subproblem.request_id, subproblem.caller)
            outcome = await self._solve_counted(subproblem, span)
            describe_outcome(span, outcome)
            return outcome

    async def solve_batch(self, batch: SubproblemBatch, deliver: DeliverOutcome) -> None:
        """See `Dispatcher.solve_batch`."""
        await solve_each(self.solve, batch, deliver)

    async def _solve_counted(self, subproblem: Subproblem, span: Span | None) -> Outcome:
        arrived = self._clock.now_ns()
        size = subproblem.quadratic.nbytes + subproblem.linear.nbytes
        outcome: Outcome
        if refused := self._over_quota(subproblem.caller, size):
            provenance = self._answers.provenance(subproblem, None, CallProgress(span=span))
            outcome = end_without_answer(refused, provenance)
        else:
            request = FlagRequest.of(subproblem.request_id, subproblem.kind, subproblem.caller)
            decision = self._flags.decide(request)
            with (
                self._in_progress.hold(subproblem.caller, size),
                self._count_cancellation(subproblem, arrived),
            ):
                outcome = await self._solve(subproblem, decision, span)
            self._flags.record_end(decision, outcome, self._clock.now_ns() - arrived, subproblem.budget_ns)
        self.record_call(outcome, arrived, subproblem, span.context if span is not None else None)
        return outcome

    @contextmanager
    def _count_cancellation(
        self, work: Subproblem | CircuitSpec | CircuitBatch, arrived_ns: int
    ) -> Iterator[None]:
        try:
            yield
        except asyncio.CancelledError:
            duration_ns = self._clock.now_ns() - arrived_ns
            self._recorder.record_cancellation(duration_ns, work.caller)
            log_cancellation(work.request_id, work.caller, duration_ns)
            raise

    async def _solve(self, subproblem: Subproblem, decision: FlagDecision, span: Span | None) -> Outcome:
        arrived = self._clock.now_ns()
        within_s = max(0, subproblem.budget_ns - REPLY_MARGIN_NS) / NS_PER_S
        fallback = await self._answers.prepare_fallback(subproblem, within_s)
        refused = keep_data(self._policy.data, subproblem.request_id, subproblem.kind, subproblem.caller)
        if refused is None and decision.kept_by:
            refused = refuse_by_flag(decision)
        if refused is not None:
            return await self._answers.fall_back(subproblem, fallback, refused, CallProgress(span=span))
        cache_key = self._cache_key(subproblem, decision)
        cached = self._find_cached(subproblem, fallback, cache_key, span) if cache_key else None
        progress = CallProgress(span=span)
        return cached or await self._solve_fresh(subproblem, fallback, arrived, cache_key, decision, progress)

    async def execute(self, spec: CircuitSpec) -> CircuitOutcome:
        """See `Dispatcher.execute`; compiling an unknown circuit counts against its budget."""
        if self._tracer is None:
            return await self._execute_counted(spec, None)
        with open_span(self._tracer, SpanName.EXECUTE, spec.trace) as span:
            describe_call(span, spec.request_id, spec.caller)
            outcome = await self._execute_counted(spec, span)
            describe_outcome(span, outcome)
            return outcome

    async def _execute_counted(self, spec: CircuitSpec, span: Span | None) -> CircuitOutcome:
        arrived = self._clock.now_ns()
        size = len(spec.content)
        outcome: CircuitOutcome
        if refused := self._over_quota(spec.caller, size):
            outcome = self._answers.answer_unexecuted(refused, CallProgress(span=span))
        else:
            with self._in_progress.hold(spec.caller, size), self._count_cancellation(spec, arrived):
                outcome = await self._execute(spec, CallProgress(span=span))
        self.record_call(outcome, arrived, spec, span.context if span is not None else None)
        return outcome

    async def _execute(self, spec: CircuitSpec, progress: CallProgress) -> CircuitOutcome:
        arrived = self._clock.now_ns()
        deadline = Deadline.after(arrived, spec.budget_ns)
        refused = (
            keep_data(self._policy.data, spec.request_id, USER_CIRCUIT, spec.caller)
            or refuse_by_flags(self._flags, spec.request_id, spec.caller, spec.shots)
            or self._refusal(spec.budget_ns, spec.priority, spec.caller)
        )
        if refused is not None:
            return self._answers.answer_unexecuted(refused, progress)
        synthesizer = self._forecast.synthesizer
        circuit = await self._compile(
            lambda: synthesizer.bind_circuit(spec.content, spec.values_by_name()), deadline, spec
        )
        if not isinstance(circuit, DeviceCircuit):
            return self._answers.answer_unexecuted(circuit, progress)
        progress.template_key = circuit.template.key
        compiled = self._clock.now_ns()
        progress.record_stage(StageTiming(Stage.BIND, arrived, compiled - arrived))
        # Compiling can take seconds, in which a drain may begin or the queue may fill.
        refused = self._refusal(deadline.remaining_ns(compiled), spec.priority, spec.caller)
        if refused is not None:
            return self._answers.answer_unexecuted(refused, progress)
        work = UserCircuits((circuit,), spec.shots, spec.request_id)
        call = self._call(work, deadline, progress, spec)
        with self._track(call):
            ended = await self._run_call(call, spec.priority, spec.budget_ns)
            if isinstance(ended, Sampled):
                return self._answers.answer_executed(ended, progress)
            return self._answers.answer_unexecuted(ended, progress)

    async def _compile(
        self, bind: Callable[[], Awaitable[B]], deadline: Deadline, work: CircuitSpec | CircuitBatch
    ) -> B | Cause:
        """What is compiled, by the deadline, or the reason for its absence. Raises CircuitError."""
        try:
            async with asyncio.timeout(self._time_left_s(deadline)), self._compiles.hold(work.caller):
                return await bind()
        except TimeoutError:
            return DeadlinePassed(work.budget_ns)
        except ProviderError as error:
            return ProviderFault(str(error))
        except WorkerError as error:
            return reject_circuit(error)

    def _cache_key(self, subproblem: Subproblem, decision: FlagDecision) -> str:
        """The key of samples that may be shared, "" if none may."""
        if subproblem.fresh or self._policy.seed_policy == "fresh":
            return ""
        shots = self._forecast.policy.shots.lower(decision.most_shots).minimum
        return self._results.key(subproblem, shots, self._policy.seed_policy)

    async def execute_batch(self, batch: CircuitBatch, deliver: Deliver) -> None:
        """See `Dispatcher.execute_batch`; each call of the batch is counted, the batch once by the quota."""
        arrived = self._clock.now_ns()
        most_pubs, deliver = self._forecast.provider.limits.max_pubs, batch.deliver_unanswered(deliver)
        run = BatchRun(self, self._answers, self._clock, most_pubs, batch, deliver, self._tracer)
        if refused := self._over_quota(batch.caller, batch.size):
            run.end(0, batch.points, refused, CallProgress(), arrived, batch.trace)
            return
        with self._in_progress.hold(batch.caller, batch.size), self._count_cancellation(batch, arrived):
            await run.run()

    def refuse_circuit(self, request_id: str, caller: str, shots: int) -> Rejection | None:
        """By the data policy and the flags, before anything is compiled."""
        refused = keep_data(self._policy.data, request_id, USER_CIRCUIT, caller)
        return refused or refuse_by_flags(self._flags, request_id, caller, shots)

    def refuse_call(self, budget_ns: int, priority: Priority, caller: str) -> Rejection | None:
        """By the load and the provider's health."""
        return self._refusal(budget_ns, priority, caller, by_wait=False)

    async def bind_points(
        self, circuit: CircuitPoints, deadline: Deadline, batch: CircuitBatch
    ) -> tuple[DeviceCircuit, ...] | Cause:
        """The compiled circuit at its points by the deadline, or why it is missing. Raises CircuitError."""
        synthesizer = self._forecast.synthesizer
        return await self._compile(lambda: synthesizer.bind_points(circuit), deadline, batch)

    async def run_circuits(
        self, work: UserCircuits, deadline: Deadline, progress: CallProgress, batch: CircuitBatch
    ) -> Ended | DeadlinePassed:
        """Queues a call of a batch and waits for its end."""
        call = self._call(work, deadline, progress, batch)
        with self._track(call):
            return await self._run_call(call, batch.priority, batch.budget_ns)

    def record_call(
        self,
        outcome: Outcome | CircuitOutcome,
        began_ns: int,
        work: Subproblem | CircuitSpec | CircuitBatch,
        trace: TraceContext | None,
    ) -> None:
        """Counts and logs the end of a call, or of one of a batch."""
        duration = self._clock.now_ns() - began_ns
        self._recorder.record_outcome(outcome, duration, work.budget_ns, work.caller, trace)
        log_end(outcome, work.request_id, work.caller, duration)

    def _find_cached(
        self, subproblem: Subproblem, fallback: Answer | None, cache_key: str, span: Span | None
    ) -> Done | None:
        """The answer from the samples of an equal, earlier call."""
        samples = self._results.get(cache_key)
        self._recorder.record_lookup(samples is not None)
        if samples is None:
            return None
        sampled = Sampled((samples,), self._clock.now_ns())
        outcome = self._answers.race(subproblem, fallback, sampled, CallProgress(cached=True, span=span))
        return outcome if isinstance(outcome, Done) else None

    async def _solve_fresh(
        self,
        subproblem: Subproblem,
        fallback: Answer | None,
        arrived: int,
        cache_key: str,
        decision: FlagDecision,
        progress: CallProgress,
    ) -> Outcome:
        refused = refuse_width(self._forecast.provider.limits.max_qubits, subproblem.n) or self._refusal(
            subproblem.budget_ns, subproblem.priority, subproblem.caller
        )
        if refused is not None:
            return await self._answers.fall_back(subproblem, fallback, refused, progress)
        deadline = Deadline.after(arrived, subproblem.budget_ns)
        call = self._call(subproblem, deadline, progress, subproblem)
        call.most_shots = decision.most_shots
        with self._track(call):
            ended = await self._run_call(call, subproblem.priority, subproblem.budget_ns)
            if isinstance(ended, Sampled):
                outcome = self._answers.race(subproblem, fallback, ended, progress)
                if isinstance(outcome, Done):
                    if cache_key:
                        self._results.put(cache_key, ended.samples)
                    return outcome
                ended = outcome
            return await self._answers.fall_back(subproblem, fallback, ended, progress)

    def _over_quota(self, caller: str, size: int) -> Rejection | None:
        return self._in_progress.refusal(caller, size) if self._policy.protected else None

    def _refusal(
        self, budget_ns: int, priority: Priority, caller: str, *, by_wait: bool = True
    ) -> Rejection | None:
        """The rejection by the first limit that refuses a new call, if any.

        by_wait: whether the caller's mean queue wait is one; a batch's calls wait for each other.
        """
        if self._phase in {Phase.DRAINING, Phase.DRAINED}:
            return NOT_NOW
        if not self._policy.protected:
            return None
        return (
            self._health.refuses()
            or self._policy.refuse_by_host()
            or refuse_by_memory(len(self._open), self._policy.memory)
            or overload(
                self._lanes.queue_wait_ns(caller) if by_wait else 0, self._policy.overload_wait_ns, priority
            )
            or admit(self._lanes.load(priority, caller), budget_ns)
        )

    def _call(
        self,
        work: Subproblem | UserCircuits,
        deadline: Deadline,
        progress: CallProgress,
        request: Subproblem | CircuitSpec | CircuitBatch,
    ) -> Call:
        ended, now = asyncio.get_running_loop().create_future(), self._clock.now_ns()
        return Call(work, deadline, now, ended, progress, request.caller, origin=request.origin)

    async def _run_call(self, call: Call, priority: Priority, budget_ns: int) -> Ended | DeadlinePassed:
        """Queues the call and waits for its end, at most until its deadline."""
        try:
            displaced = self._lanes.add(call, priority)
            if displaced is not None:
                load = self._lanes.load(priority, displaced.caller)
                displaced.end(explain_displacement(load, self._policy.queue_limit))
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
    def _track(self, call: Call) -> Iterator[None]:
        """Counts the call as open until its outcome is ready; a drain waits for it."""
        self._accepted += 1
        self._open.add(call)
        log_accepted(call)
        try:
            yield
        finally:
            self._open.discard(call)
            self._finished += 1
            self._one_ended.set()

    def _time_left_s(self, deadline: Deadline) -> float:
        """Seconds until the outcome must be sent; computing a standby answer takes time before that."""
        margin = REPLY_MARGIN_NS
        if self._answers.policy is Fallback.STANDBY:
            margin += self._answers.time.p99_ns(REPLY_MARGIN_NS)
        return max(0, deadline.remaining_ns(self._clock.now_ns()) - margin) / NS_PER_S
