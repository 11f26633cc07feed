"""A Dispatcher at the other end of a wire."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import grpc

from shotclock.domain.accounting import NO_ALLOCATION, Allocation, Origin
from shotclock.domain.budget import NS_PER_S
from shotclock.domain.circuit import CircuitSpec
from shotclock.domain.circuit_batch import CircuitBatch, Deliver
from shotclock.domain.outcome import (
    ALWAYS_STALE,
    Answer,
    Cause,
    CircuitOutcome,
    ClientOutcomes,
    DeadlinePassed,
    Decision,
    Degraded,
    Outcome,
    Provenance,
    ProviderFault,
    end_without_answer,
    incumbent,
)
from shotclock.domain.recorders import ClientRecorder, DamagedMessage
from shotclock.domain.subproblem import Subproblem
from shotclock.domain.subproblem_batch import DeliverOutcome, SubproblemBatch
from shotclock.domain.trace import SpanName, Tracer, describe_call, describe_outcome, open_span
from shotclock.domain.trace_context import TraceContext
from shotclock.wire import methods
from shotclock.wire.batches import encode_batch, read_outcome
from shotclock.wire.call_limits import DEFAULT_LIMITS, CallLimits
from shotclock.wire.channels import Channels
from shotclock.wire.codec import encode_circuit, encode_decided, encode_subproblem
from shotclock.wire.integrity import parse_checked
from shotclock.wire.origin import origin_metadata
from shotclock.wire.outcomes import decode_circuit_outcome, decode_outcome, onto_clock_ns
from shotclock.wire.payload import MalformedMessageError, PayloadCorruptedError
from shotclock.wire.refusals import cause_of
from shotclock.wire.repeats import NOWHERE, Elsewhere
from shotclock.wire.reports import UnreportedCalls
from shotclock.wire.subproblem_batches import encode_subproblems, read_answers
from shotclock.wire.traceparent import trace_metadata
from shotclock.wire.uncounted import UNCOUNTED
from shotclock.wire.v1 import shotclock_pb2 as pb

log = logging.getLogger(__name__)

Reply = TypeVar("Reply")
Metadata = tuple[tuple[str, str], ...]

Fallback = Callable[[Subproblem], Answer]
"""A classical answer; it runs on a separate thread, until the call's deadline at most."""


FALLBACK_THREADS = 2
"""A search that outlasts its call leaves one for the next; threads start when they are needed."""


class GrpcDispatcher:
    """Implements Dispatcher. Trouble on the way is a value: the orchestrator being lost raises nothing.

    tracer: makes a span of each call, whose context goes along; without one, the call's own context does.
    elsewhere: where a call goes whose orchestrator was lost, before it ends here.
    allocation: of Slurm, in which this process runs; it goes along with every call.
    recorder: counts every call; those that end here without the orchestrator are also reported to it.

    With a fallback such a call is Degraded with its answer (that of changing nothing, where the fallback
    takes longer than the deadline allows), without one it is Failed, Late or Shed. The
    deadline is kept here too, on the loop's clock: gRPC keeps its own on the wall clock, which can jump.
    """

    def __init__(
        self,
        channels: Channels,
        limits: CallLimits = DEFAULT_LIMITS,
        fallback: Fallback | None = None,
        recorder: ClientRecorder = UNCOUNTED,
        tracer: Tracer | None = None,
        allocation: Allocation = NO_ALLOCATION,
    ) -> None:
        self.elsewhere: Elsewhere = NOWHERE
        self._tracer = tracer
        self._allocation = allocation
        self._channels = channels
        self._recorder = recorder
        self._unreported = UnreportedCalls()
        self._limits = limits
        self._fallback = fallback
        self._threads = ThreadPoolExecutor(FALLBACK_THREADS, "shotclock-fallback")

    async def solve(self, subproblem: Subproblem) -> Outcome:
        """See `Dispatcher.solve`; SubproblemError where the orchestrator refuses the numbers."""
        if self._tracer is None:
            return await self._solve(subproblem, subproblem.trace)
        with open_span(self._tracer, SpanName.REMOTE_CALL, subproblem.trace) as span:
            describe_call(span, subproblem.request_id, "")
            outcome = await self._solve(subproblem, span.context)
            describe_outcome(span, outcome)
            return outcome

    async def _solve(self, subproblem: Subproblem, trace: TraceContext | None) -> Outcome:
        budget_ns, age_ns = subproblem.budget_ns, round(subproblem.origin.age_s * NS_PER_S)
        kept_s = min(self._limits.fallback_s, 0.1 * budget_ns / NS_PER_S) if self._fallback else 0.0
        asked_ns = _now_ns()
        reply = await self._ask(
            methods.SOLVE,
            pb.Outcome,
            budget_ns,
            kept_s,
            lambda left_ns: encode_subproblem(subproblem, left_ns),
            self._metadata(trace, subproblem.origin),
        )
        if isinstance(reply, pb.Outcome):
            try:
                shift_ns = onto_clock_ns(reply.provenance, asked_ns, _now_ns())
                outcome = decode_outcome(reply, subproblem.n, shift_ns)
            except (MalformedMessageError, PayloadCorruptedError) as error:
                reply = self._unusable(error)
            else:
                duration_ns = _now_ns() - asked_ns + age_ns
                self._recorder.record_outcome(outcome, duration_ns, budget_ns + age_ns, trace=trace)
                return outcome
        again = await self.elsewhere.solve_again(subproblem, reply, _now_ns() - asked_ns)
        if again is not None:
            return again
        ended = await self._end_here(subproblem, reply, asked_ns)
        self._count_here(ended, asked_ns - age_ns, budget_ns + age_ns, trace)
        return ended

    async def solve_batch(self, batch: SubproblemBatch, deliver: DeliverOutcome) -> None:
        """See `Dispatcher.solve_batch`; one span for the batch, in the trace of its first subproblem.

        Answers that arrived damaged are asked for again, and never solved again. Raises SubproblemError where
        the orchestrator refuses the numbers: nothing of the batch was accepted.
        """
        with self._trace_batch(batch.subproblems[0].request_id, batch.subproblems[0].trace) as trace:
            await self._solve_batch(batch, deliver, trace)

    @contextmanager
    def _trace_batch(self, request_id: str, parent: TraceContext | None) -> Iterator[TraceContext | None]:
        if self._tracer is None:
            yield parent
            return
        with open_span(self._tracer, SpanName.REMOTE_CALL, parent) as span:
            describe_call(span, request_id, "")
            yield span.context

    async def _solve_batch(
        self, batch: SubproblemBatch, deliver: DeliverOutcome, trace: TraceContext | None
    ) -> None:
        asked_ns = _now_ns()
        missing = {index: asked_ns + self._wait_ns(each) for index, each in enumerate(batch.subproblems)}
        ended_here = set[int]()
        ends: list[asyncio.Task[None]] = []

        def take(reply: bytes) -> None:
            now_ns = _now_ns()
            for index, outcome in read_answers(reply, batch, missing, ended_here, asked_ns, now_ns):
                del missing[index]
                budget_ns = batch.subproblems[index].budget_ns
                self._recorder.record_outcome(outcome, now_ns - asked_ns, budget_ns, trace=trace)
                deliver(index, outcome)

        async def end_here(index: int, cause: Cause) -> None:
            subproblem = batch.subproblems[index]
            outcome = await self.elsewhere.solve_again(subproblem, cause, _now_ns() - asked_ns)
            if outcome is None:
                outcome = await self._end_here(subproblem, cause, asked_ns)
                self._count_here(outcome, asked_ns, subproblem.budget_ns, trace)
            deliver(index, outcome)

        encode = partial(self._encode_subproblems, batch)
        metadata = self._metadata(trace, batch.subproblems[0].origin)
        asking = asyncio.ensure_future(
            self._ask_all(methods.SOLVE_BATCH, encode, batch.budget_ns, take, missing, asked_ns, metadata)
        )
        try:
            while not asking.done() and (missing or not ends):
                until_ns = min(missing.values(), default=None)
                wait_s = None if until_ns is None else max(0, until_ns - _now_ns()) / NS_PER_S
                await asyncio.wait((asking,), timeout=wait_s)
                for index in [] if asking.done() else _find_due(missing):
                    del missing[index]
                    ended_here.add(index)
                    passed = DeadlinePassed(batch.subproblems[index].budget_ns)
                    ends.append(asyncio.ensure_future(end_here(index, passed)))
            if asking.done():
                cause = asking.result()
                ends += [asyncio.ensure_future(end_here(index, cause)) for index in missing]
            await asyncio.gather(*ends)
        finally:
            for task in (asking, *ends):
                task.cancel()
            await asyncio.wait((asking, *ends))

    def _wait_ns(self, subproblem: Subproblem) -> int:
        """How long an answer is waited for: until the deadline, less what the local answer takes."""
        kept_s = self._limits.fallback_s if self._fallback else 0.0
        return subproblem.budget_ns - round(min(kept_s * NS_PER_S, 0.1 * subproblem.budget_ns))

    def _budget_ns(self, subproblem: Subproblem) -> int:
        """What the orchestrator has of a budget: what is waited for, less the way back."""
        return_ns = round(min(self._limits.return_s * NS_PER_S, 0.1 * subproblem.budget_ns))
        return self._wait_ns(subproblem) - return_ns

    def _encode_subproblems(self, batch: SubproblemBatch, spent_ns: int) -> pb.SubproblemBatch:
        return encode_subproblems(batch, lambda each: self._budget_ns(each) - spent_ns)

    async def execute(self, spec: CircuitSpec) -> CircuitOutcome:
        """See `Dispatcher.execute`."""
        if self._tracer is None:
            return await self._execute(spec, spec.trace)
        with open_span(self._tracer, SpanName.REMOTE_CALL, spec.trace) as span:
            describe_call(span, spec.request_id, "")
            outcome = await self._execute(spec, span.context)
            describe_outcome(span, outcome)
            return outcome

    async def _execute(self, spec: CircuitSpec, trace: TraceContext | None) -> CircuitOutcome:
        asked_ns, age_ns = _now_ns(), round(spec.origin.age_s * NS_PER_S)
        reply = await self._ask(
            methods.SUBMIT_CIRCUIT,
            pb.CircuitOutcome,
            spec.budget_ns,
            0.0,
            lambda left_ns: encode_circuit(spec, left_ns),
            self._metadata(trace, spec.origin),
        )
        if isinstance(reply, pb.CircuitOutcome):
            try:
                shift_ns = onto_clock_ns(reply.provenance, asked_ns, _now_ns())
                outcome = decode_circuit_outcome(reply, shift_ns)
            except (MalformedMessageError, PayloadCorruptedError) as error:
                reply = self._unusable(error)
            else:
                duration_ns = _now_ns() - asked_ns + age_ns
                self._recorder.record_outcome(outcome, duration_ns, spec.budget_ns + age_ns, trace=trace)
                return outcome
        again = await self.elsewhere.execute_again(spec, reply, _now_ns() - asked_ns)
        if again is not None:
            return again
        ended = end_without_answer(reply, self._nobody(0))
        self._count_here(ended, asked_ns - age_ns, spec.budget_ns + age_ns, trace)
        return ended

    async def execute_batch(self, batch: CircuitBatch, deliver: Deliver) -> None:
        """See `Dispatcher.execute_batch`; counted once, by the last outcome."""
        with self._trace_batch(batch.request_id, batch.trace) as trace:
            await self._execute_batch(batch, deliver, trace)

    async def _execute_batch(self, batch: CircuitBatch, deliver: Deliver, trace: TraceContext | None) -> None:
        asked_ns = _now_ns()
        missing = set(range(batch.points)) - batch.answered

        def take(reply: bytes) -> None:
            index, outcome = read_outcome(reply, missing, asked_ns, _now_ns())
            missing.discard(index)
            if not missing:
                duration_ns = _now_ns() - asked_ns
                self._recorder.record_outcome(outcome, duration_ns, batch.budget_ns, trace=trace)
            deliver(index, outcome)

        metadata = self._metadata(trace, batch.origin)
        encode = partial(self._encode_circuits, batch)
        cause = await self._ask_all(
            methods.SUBMIT_CIRCUITS, encode, batch.budget_ns, take, missing, asked_ns, metadata
        )
        if not missing:
            return
        answered = frozenset(range(batch.points)) - missing
        repeated = replace(batch, answered=answered)
        if await self.elsewhere.execute_batch_again(repeated, deliver, cause, _now_ns() - asked_ns):
            return
        ended = end_without_answer(cause, self._nobody(0))
        self._count_here(ended, asked_ns, batch.budget_ns, trace)
        for index in sorted(missing):
            deliver(index, ended)

    def _encode_circuits(self, batch: CircuitBatch, spent_ns: int) -> pb.CircuitBatch:
        left_ns = batch.budget_ns - spent_ns
        return_ns = round(min(self._limits.return_s * NS_PER_S, 0.1 * left_ns))
        return encode_batch(batch, max(1, left_ns - return_ns))

    async def _ask_all(
        self,
        method: str,
        encode: Callable[[int], Any],
        budget_ns: int,
        take: Callable[[bytes], None],
        missing: Collection[int],
        asked_ns: int,
        metadata: Metadata,
    ) -> Cause:
        """Hands each answer of a batch to `take`; the cause is of what is still `missing`.

        A request that arrived damaged is sent again, and answers that arrived damaged are asked for again.
        encode: the request after so much of the budget, nanoseconds.
        """
        resend = list[int]()
        cause: Cause = DeadlinePassed(budget_ns)
        damaged: list[PayloadCorruptedError] = []

        def take_undamaged(reply: bytes) -> None:
            try:
                take(reply)
            except PayloadCorruptedError as error:  # the others must not be lost with it
                self._report_damage(method, "answer")
                damaged.append(error)

        for _ in range(self._limits.resubmits + 1):
            spent_ns = _now_ns() - asked_ns
            left_s = (budget_ns - spent_ns) / NS_PER_S
            request = encode(spent_ns)
            request.resend.extend(resend)
            damaged.clear()
            try:
                cause = await self._stream(method, request, left_s, metadata, take_undamaged)
            except TimeoutError:
                return DeadlinePassed(budget_ns)
            except grpc.aio.AioRpcError as error:
                cause = cause_of(error, self._channels, budget_ns)
                if error.code() is not grpc.StatusCode.DATA_LOSS:
                    return cause
                self._report_damage(method, "request")
                continue
            except MalformedMessageError as error:
                return self._unusable(error)
            if not damaged:
                return cause
            resend, cause = sorted(missing), self._unusable(damaged[-1])
        return cause

    async def _stream(
        self,
        method: str,
        request: Any,
        left_s: float,
        metadata: Metadata,
        take: Callable[[bytes], None],
    ) -> ProviderFault:
        """Hands each answer to `take`; the fault is of what has no answer when the stream has ended.

        Raises TimeoutError after left_s, AioRpcError, and what `take` raises.
        """
        if (report := self._unreported.report()) is not None:
            request.report.CopyFrom(report)
        lane = self._channels.lane
        with lane.call():
            stream = lane.streams[method](request, timeout=left_s, metadata=metadata)
            try:
                async with asyncio.timeout(left_s):
                    async for reply in stream:
                        self._unreported.acknowledge(report)
                        take(reply)
            finally:
                stream.cancel()
        return ProviderFault(f"orchestrator {self._channels.target}: the answers ended early")

    async def record_decision(
        self, request_id: str, decision: Decision, *, stale: bool = False, caller: str = ""
    ) -> None:
        """See `Dispatcher.record_decision`; undelivered, the log says so and the record stays open.

        The orchestrator takes the caller's name from its certificate.
        """
        self._recorder.record_decision(decision, stale or decision in ALWAYS_STALE, caller)
        message = encode_decided(request_id, decision, stale)
        budget_ns = round(self._limits.decided_s * NS_PER_S)
        reply = await self._ask(methods.DECIDED, pb.DecidedReply, budget_ns, 0.0, lambda _: message)
        if not isinstance(reply, pb.DecidedReply):
            log.warning("decision %s on %s was not delivered: %s", decision, request_id, reply)

    async def report_validation(self, run: str, kernel: str, value: float) -> None:
        """A value of a run's validation metric, for a canary; undelivered, the log says so."""
        message = pb.ValidationRequest(run=run, kernel=kernel, value=value)
        budget_ns = round(self._limits.decided_s * NS_PER_S)
        method, kind = methods.REPORT_VALIDATION, pb.ValidationReply
        reply = await self._ask(method, kind, budget_ns, 0.0, lambda _: message)
        if not isinstance(reply, pb.ValidationReply):
            log.warning("a validation value of %s was not delivered: %s", run, reply)

    async def close(self) -> None:
        """Waits for the calls in flight, then closes the channels."""
        await self._channels.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _ask(
        self,
        method: str,
        kind: type[Reply],
        budget_ns: int,
        kept_s: float,
        message: Callable[[int], Any],
        metadata: Metadata = (),
    ) -> Reply | Cause:
        """The reply, or why it is missing; the message is made again for each attempt."""
        loop = asyncio.get_running_loop()
        until = loop.time() + budget_ns / NS_PER_S - kept_s
        return_s = min(self._limits.return_s, 0.1 * budget_ns / NS_PER_S)
        damaged: list[DamagedMessage] = []
        while (left_s := until - loop.time()) > 0:
            request = message(max(1, round((left_s - return_s) * NS_PER_S)))
            report = self._unreported.report() if method in methods.OF_CALLS else None
            if report is not None:
                request.report.CopyFrom(report)
            if "answer" in damaged:
                request.resend = True  # it is paid for: the service must not solve it again
            lane = self._channels.lane
            try:
                with lane.call():
                    async with asyncio.timeout(left_s):
                        reply: bytes = await lane.unary[method](request, timeout=left_s, metadata=metadata)
                self._unreported.acknowledge(report)
                return parse_checked(kind, reply)
            except TimeoutError:
                break
            except MalformedMessageError as error:
                return self._unusable(error)
            except PayloadCorruptedError as error:
                self._report_damage(method, "answer")
                if len(damaged) == self._limits.resubmits:
                    return self._unusable(error)
                damaged.append("answer")
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.DATA_LOSS:
                    self._report_damage(method, "request")
                    if len(damaged) < self._limits.resubmits:
                        damaged.append("request")
                        continue
                return cause_of(error, self._channels, budget_ns)
        return DeadlinePassed(budget_ns)

    def _metadata(self, trace: TraceContext | None, origin: Origin) -> Metadata:
        if self._allocation != NO_ALLOCATION and origin.allocation == NO_ALLOCATION:
            origin = replace(origin, allocation=self._allocation)
        return (*(trace_metadata(trace) or ()), *origin_metadata(origin))

    def _report_damage(self, method: str, message: DamagedMessage) -> None:
        log.warning("integrity: %s to %s: the %s arrived damaged", method, self._channels.target, message)
        self._recorder.record_integrity_failure(message)

    async def _end_here(self, subproblem: Subproblem, cause: Cause, asked_ns: int) -> Outcome:
        """The outcome of a call that the orchestrator did not answer."""
        provenance = self._nobody(subproblem.base_version)
        if self._fallback is None:
            return end_without_answer(cause, provenance)
        until = (asked_ns + subproblem.budget_ns) / NS_PER_S
        return Degraded(await self._answer_by(until, self._fallback, subproblem), cause, provenance)

    def _count_here(
        self, ended: Outcome | CircuitOutcome, asked_ns: int, budget_ns: int, trace: TraceContext | None
    ) -> None:
        """Counts a call that the orchestrator did not answer, and keeps it for the next report."""
        duration_ns = _now_ns() - asked_ns
        self._recorder.record_client_outcome(ended, duration_ns, budget_ns, trace)
        self._unreported.add(ClientOutcomes.of(ended, in_time=duration_ns <= budget_ns))

    async def _answer_by(self, until: float, fallback: Fallback, subproblem: Subproblem) -> Answer:
        """The fallback's answer; that of changing nothing where it is not there then, on the loop's clock.

        Never on the loop: the first call of a process may compile for seconds, and a large search takes
        milliseconds, for which every other call would stand still.
        """
        try:
            async with asyncio.timeout_at(until):
                return await asyncio.get_running_loop().run_in_executor(self._threads, fallback, subproblem)
        except TimeoutError:
            return incumbent(subproblem)

    def _unusable(self, error: Exception) -> ProviderFault:
        # the call was accepted, and perhaps paid for: its answer is lost, and it is not solved again
        return ProviderFault(f"orchestrator {self._channels.target}: unusable answer: {error}")

    def _nobody(self, base_version: int) -> Provenance:
        return Provenance(self._channels.target, emulated=False, base_version=base_version)


def _find_due(until_ns: Mapping[int, int]) -> list[int]:
    """The subproblems that are not waited for any longer."""
    now_ns = _now_ns()
    return [index for index, at_ns in until_ns.items() if at_ns <= now_ns]


def _now_ns() -> int:
    """The loop's time, which is the monotonic clock of `Clock`."""
    return round(asyncio.get_running_loop().time() * NS_PER_S)
