"""The service's methods over a dispatcher and its operations: bytes in, bytes out.

Requests stay bytes until here, so that what cannot be parsed, is too large or too many is reported in our own
words and not as gRPC's INTERNAL.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import grpc

from shotclock.domain.budget import NS_PER_S
from shotclock.domain.errors import ShotclockError
from shotclock.domain.hosts import Endpoint, HostDescription, HostState
from shotclock.domain.outcome import CALLER_QUOTA, CircuitOutcome, ClientOutcomes, Outcome, Shed
from shotclock.domain.ports import Dispatcher, Operations, Rollout
from shotclock.domain.recorders import DamagedMessage
from shotclock.domain.status import Phase, Status
from shotclock.wire import methods
from shotclock.wire.authorization import audit
from shotclock.wire.batches import decode_batch, stream_outcomes
from shotclock.wire.callers import ReadTurns, RefusalPace
from shotclock.wire.codec import (
    decode_circuit,
    decode_decided,
    decode_subproblem,
    encode_drained,
    encode_status,
)
from shotclock.wire.hosts import encode_description, encode_host
from shotclock.wire.integrity import parse_checked, serialize
from shotclock.wire.origin import read_origin
from shotclock.wire.outcomes import encode_circuit_outcome, encode_outcome, until_arrival_ns
from shotclock.wire.payload import PayloadCorruptedError, parse
from shotclock.wire.recent_answers import (
    MIB,
    Key,
    RecentAnswers,
    identify,
    identify_points,
    identify_subproblems,
)
from shotclock.wire.refusals import (
    no_answer,
    refusal,
    too_large,
    too_many,
    too_many_streams,
    too_many_unread,
    too_slow,
    unavailable,
    without_deadline,
    without_request,
)
from shotclock.wire.reports import ReportReader
from shotclock.wire.rollout import NO_ROLLOUT, abort_canary, set_flag, start_canary
from shotclock.wire.service_limits import ServiceLimits
from shotclock.wire.subproblem_batches import (
    Numbered,
    decode_subproblems,
    resend_answers,
    stream_answers,
)
from shotclock.wire.traceparent import read_trace
from shotclock.wire.v1 import shotclock_pb2 as pb

log = logging.getLogger(__name__)

UNNAMED = "unnamed"
"""A caller without a certificate, on a loopback address without TLS, in logs and metrics."""

RETURN_S = 0.01
"""Reserved for returning the answer, seconds; at most a tenth of what remains."""

Work = Callable[[bytes, Any, str], Awaitable[Any]]
"""A request's bytes, its context and its caller's name to its answer."""


def effective_budget_ns(method: str, budget_ns: int, remaining_s: float | None) -> int:
    """The shorter of what the message and gRPC say remains; RefusedError where neither says it.

    gRPC's deadline is for the arrival of the answer, so a part is reserved for its return; the caller has
    already subtracted that from the message's budget.
    """
    if remaining_s is None:
        if budget_ns == 0:
            raise without_deadline(method)
        return budget_ns
    remaining_ns = int((remaining_s - min(RETURN_S, 0.1 * remaining_s)) * NS_PER_S)
    return min(budget_ns, remaining_ns) if budget_ns else remaining_ns


def name_nobody(method: str, context: Any) -> str:
    """Without certificates all are one caller."""
    del method, context
    return ""


def ignore_report(outcomes: ClientOutcomes, caller: str) -> None:
    """Where nobody counts what clients report."""
    del outcomes, caller


def ignore_damage(message: DamagedMessage, caller: str) -> None:
    """Where nobody counts messages that do not match their checksum."""
    del message, caller


def read_no_host() -> tuple[HostState, Endpoint]:
    """Where nothing is known of the host."""
    return HostState(""), Endpoint("")


def describe_no_host() -> HostDescription:
    """Where nothing is read of the host."""
    return HostDescription("", 0.0, 0.0)


class Service:
    """`shotclock.v1.Orchestrator`. `handlers` is what gRPC serves; `end_streams` ends the watchers."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        operations: Operations,
        limits: ServiceLimits,
        warnings: Callable[[], tuple[str, ...]] = tuple,
        name_caller: Callable[[str, Any], str] = name_nobody,
        on_report: Callable[[ClientOutcomes, str], None] = ignore_report,
        rollout: Rollout = NO_ROLLOUT,
        document: Callable[[], str] = str,
        *,
        traced: bool = False,
        read_host: Callable[[], tuple[HostState, Endpoint]] = read_no_host,
        on_damage: Callable[[DamagedMessage, str], None] = ignore_damage,
        describe_host: Callable[[], HostDescription] = describe_no_host,
    ) -> None:
        self._dispatcher = dispatcher
        self._on_damage = on_damage
        self._answers = RecentAnswers()
        self._point_answers = RecentAnswers()
        self._batch_answers = RecentAnswers(16 * MIB, 4 * MIB)
        self._operations = operations
        self._limits = limits
        self._warnings = warnings
        self._name_caller = name_caller
        self._on_report = on_report
        self._rollout = rollout
        self._traced = traced
        self._read_host = read_host
        self._describe_host = describe_host
        self._document = document
        self._reports = ReportReader()
        self._ending = asyncio.Event()
        self._turns = ReadTurns(limits.callers)
        self.pace = RefusalPace(limits.callers, time.monotonic, self._ending)
        self._watching: Counter[str] = Counter()

    def handlers(self) -> Any:
        """One generic handler: registered ones would cost gRPC's loop a future each.

        Requests are streams of one message to gRPC, so that who calls is known before a byte is taken in.
        """
        limits = self._limits
        unary: dict[str, tuple[Work, int]] = {
            methods.SOLVE: (self._solve, limits.subproblem_bytes),
            methods.SUBMIT_CIRCUIT: (self._submit_circuit, limits.circuit_bytes),
            methods.DECIDED: (self._record_decision, limits.request_bytes),
            methods.PROBE: (self._probe, limits.request_bytes),
            methods.DESCRIBE_HOST: (self._answer_description, limits.request_bytes),
            methods.DRAIN: (self._drain, limits.request_bytes),
            methods.RESUME: (self._resume, limits.request_bytes),
            methods.SET_FLAG: (self._set_flag, limits.request_bytes),
            methods.DESCRIBE: (self._describe, limits.request_bytes),
            methods.START_CANARY: (self._start_canary, limits.request_bytes),
            methods.ABORT_CANARY: (self._abort_canary, limits.request_bytes),
            methods.REPORT_VALIDATION: (self._record_validation, limits.request_bytes),
        }
        table = {
            _short(method): grpc.stream_unary_rpc_method_handler(
                self._bound_method(method, work, max_bytes), response_serializer=_serialize
            )
            for method, (work, max_bytes) in unary.items()
        }
        table[_short(methods.SUBMIT_CIRCUITS)] = grpc.stream_stream_rpc_method_handler(
            self._bound_method(methods.SUBMIT_CIRCUITS, self._submit_circuits, limits.circuit_bytes),
            response_serializer=_serialize,
        )
        table[_short(methods.SOLVE_BATCH)] = grpc.stream_stream_rpc_method_handler(
            self._bound_method(methods.SOLVE_BATCH, self._solve_batch, limits.batch_bytes),
            response_serializer=_serialize,
        )
        table[_short(methods.WATCH)] = grpc.stream_stream_rpc_method_handler(
            self._bound_method(methods.WATCH, self._watch, limits.request_bytes),
            response_serializer=_serialize,
        )
        return grpc.method_handlers_generic_handler(methods.SERVICE, table)

    def end_streams(self) -> None:
        """Every watcher's stream ends, so that they do not hold a stop."""
        self._ending.set()

    def _bound_method(self, method: str, work: Work, max_bytes: int) -> Callable[[Any, Any], Awaitable[Any]]:
        """Bounds, and one status for everything that is raised on purpose.

        The bound is our own: grpc.aio's `maximum_concurrent_rpcs` was bypassed after rejections (grpc#41531).
        """
        in_flight = 0

        async def handle(requests: Any, context: Any) -> Any:
            nonlocal in_flight
            del requests  # read below, once it is the caller's turn
            caller, counted = self._name_caller(method, context), 0
            try:
                payload = await self._read(method, caller, max_bytes, context)
                in_flight, counted = in_flight + 1, 1
                if in_flight > self._limits.concurrent_calls:
                    raise too_many(method, self._limits.concurrent_calls)
                return await work(payload, context, caller)
            except ShotclockError as error:
                refused = refusal(error)
                if isinstance(error, PayloadCorruptedError):
                    self._report_damage("request", f"{method}: {error}", caller)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise  # the client went away, or its deadline passed
                # left to itself a CancelledError ends the handler and leaves the client waiting (grpc#29248)
                refused = unavailable("the orchestrator gave this call up; it is stopping")
            finally:
                in_flight -= counted
            if refused.is_callers_fault:
                await self.pace.hold(caller, context.time_remaining())
            return await context.abort(refused.code, str(refused), refused.metadata)

        return handle

    async def _read(self, method: str, caller: str, max_bytes: int, context: Any) -> bytes:
        """The request's bytes, taken in when it is the caller's turn."""
        limits = self._limits.callers
        if self._turns.waiting(caller) >= limits.unread:
            raise too_many_unread(method, limits.unread)
        try:
            payload = await self._turns.take(caller, context.read)
        except TimeoutError:
            raise too_slow(method, limits.request_s) from None
        if not isinstance(payload, bytes):  # gRPC's mark of an end without a message
            raise without_request(method)
        if len(payload) > max_bytes:
            raise too_large(method, len(payload), max_bytes)
        return payload

    async def _hold_shed(self, outcome: Outcome | CircuitOutcome, caller: str, context: Any) -> None:
        """A caller that is over its quota over and over is answered at its pace."""
        if isinstance(outcome, Shed) and outcome.rejection.limit == CALLER_QUOTA:
            await self.pace.hold(caller, context.time_remaining())

    def _status(self) -> Status:
        return replace(self._operations.status(), warnings=self._warnings())

    def _refuse_unless_ready(self) -> None:
        match self._operations.phase:
            case Phase.READY:
                return
            case Phase.STARTING:
                raise unavailable("the orchestrator is starting; try again when its health says SERVING")
            case Phase.DRAINING | Phase.DRAINED as phase:
                raise unavailable(f"the orchestrator is {phase} and accepts nothing more; try another one")

    async def _solve(self, payload: bytes, context: Any, caller: str) -> bytes:
        message = parse_checked(pb.Subproblem, payload)
        if message.resend:
            return self._resend(message, caller)
        self._refuse_unless_ready()
        message.budget_ns = effective_budget_ns(methods.SOLVE, message.budget_ns, context.time_remaining())
        self._read_report(message, caller)
        trace = read_trace(context) if self._traced else None
        outcome = await self._dispatcher.solve(
            decode_subproblem(message, caller, trace, read_origin(context))
        )
        await self._hold_shed(outcome, caller, context)
        return self._answer(message, caller, encode_outcome(outcome, until_arrival_ns(outcome.provenance)))

    async def _solve_batch(self, payload: bytes, context: Any, caller: str) -> None:
        message = parse_checked(pb.SubproblemBatch, payload)
        key_of = identify_subproblems(caller, message)
        if message.resend:
            self._report_resend(message.subproblems[0].request_id, len(message.resend), caller)
            await resend_answers(
                message.resend, lambda index: self._batch_answers.find(key_of(index)), context
            )
            return
        self._refuse_unless_ready()
        remaining_s = context.time_remaining()
        trace = read_trace(context) if self._traced else None
        batch = decode_subproblems(
            message,
            lambda budget_ns: effective_budget_ns(methods.SOLVE_BATCH, budget_ns, remaining_s),
            caller,
            trace,
            read_origin(context),
        )
        self._read_report(message, caller)

        async def hold_shed(numbered: Sequence[Numbered]) -> None:
            for _, outcome in numbered:
                await self._hold_shed(outcome, caller, context)

        def remember(index: int, answers: bytes) -> None:
            self._batch_answers.add(key_of(index), answers)

        await stream_answers(self._dispatcher, batch, context, hold_shed, remember)

    async def _submit_circuit(self, payload: bytes, context: Any, caller: str) -> bytes:
        message = parse_checked(pb.CircuitSpec, payload)
        if message.resend:
            return self._resend(message, caller)
        self._refuse_unless_ready()
        message.budget_ns = effective_budget_ns(
            methods.SUBMIT_CIRCUIT, message.budget_ns, context.time_remaining()
        )
        self._read_report(message, caller)
        trace = read_trace(context) if self._traced else None
        outcome = await self._dispatcher.execute(decode_circuit(message, caller, trace, read_origin(context)))
        await self._hold_shed(outcome, caller, context)
        answer = encode_circuit_outcome(outcome, until_arrival_ns(outcome.provenance))
        return self._answer(message, caller, answer)

    def _answer(self, request: Any, caller: str, answer: Any) -> bytes:
        data = serialize(answer)
        self._answers.add(identify(caller, request), data)
        return data

    def _resend(self, request: Any, caller: str) -> bytes:
        """The answer again, to a caller to whom it arrived damaged; also while the service drains."""
        self._report_damage("answer", f"the answer to {request.request_id!r:.100} arrived damaged", caller)
        answer = self._answers.find(identify(caller, request))
        if answer is None:
            raise no_answer()
        return answer

    def _report_damage(self, message: DamagedMessage, what: str, caller: str) -> None:
        log.warning("integrity: caller %s: %s", caller or UNNAMED, what)
        self._on_damage(message, caller)

    async def _submit_circuits(self, payload: bytes, context: Any, caller: str) -> None:
        message = parse_checked(pb.CircuitBatch, payload)
        key_of = identify_points(caller, message)
        if message.resend:
            await self._resend_points(message, caller, key_of, context)
            return
        self._refuse_unless_ready()
        message.budget_ns = effective_budget_ns(
            methods.SUBMIT_CIRCUITS, message.budget_ns, context.time_remaining()
        )
        self._read_report(message, caller)
        trace = read_trace(context) if self._traced else None
        batch = decode_batch(message, caller, trace, read_origin(context))

        def remember(index: int, answer: bytes) -> None:
            self._point_answers.add(key_of(index), answer)

        await stream_outcomes(self._dispatcher, batch, context, remember)

    async def _resend_points(
        self, request: Any, caller: str, key_of: Callable[[int], Key], context: Any
    ) -> None:
        """As `_resend`, for points of a batch."""
        points = sorted(set(request.resend))
        self._report_resend(request.request_id, len(points), caller)
        for point in points:
            answer = self._point_answers.find(key_of(point))
            if answer is None:
                raise no_answer()
            await context.write(answer)

    def _report_resend(self, request_id: str, answers: int, caller: str) -> None:
        self._report_damage("answer", f"{answers} answers to {request_id!r:.100} arrived damaged", caller)

    def _read_report(self, message: Any, caller: str) -> None:
        if message.HasField("report") and (outcomes := self._reports.read(message.report, caller)):
            self._on_report(outcomes, caller)

    async def _record_decision(self, payload: bytes, context: Any, caller: str) -> pb.DecidedReply:
        effective_budget_ns(methods.DECIDED, 0, context.time_remaining())
        request_id, decision, stale = decode_decided(parse(pb.DecidedRequest, payload))
        await self._dispatcher.record_decision(request_id, decision, stale=stale, caller=caller)
        return pb.DecidedReply()

    async def _probe(self, payload: bytes, context: Any, caller: str) -> pb.HostState:
        del caller
        effective_budget_ns(methods.PROBE, 0, context.time_remaining())
        parse(pb.ProbeRequest, payload)
        return encode_host(*self._read_host())

    async def _answer_description(self, payload: bytes, context: Any, caller: str) -> pb.HostDescription:
        del caller
        effective_budget_ns(methods.DESCRIBE_HOST, 0, context.time_remaining())
        parse(pb.DescribeHostRequest, payload)
        return encode_description(self._describe_host())

    async def _drain(self, payload: bytes, context: Any, caller: str) -> pb.Drained:
        message = parse(pb.DrainRequest, payload)
        budget_ns = effective_budget_ns(methods.DRAIN, message.budget_ns, context.time_remaining())
        audit.info("drain", extra={"caller": caller or UNNAMED, "budget_s": budget_ns / NS_PER_S})
        drained = await self._operations.drain(budget_ns)
        audit.info(
            "drained",
            extra={
                "caller": caller or UNNAMED,
                "finished": drained.finished,
                "handed_back": drained.handed_back,
            },
        )
        return encode_drained(drained)

    async def _resume(self, payload: bytes, context: Any, caller: str) -> pb.Status:
        effective_budget_ns(methods.RESUME, 0, context.time_remaining())
        parse(pb.ResumeRequest, payload)
        audit.info("resume", extra={"caller": caller or UNNAMED})
        self._operations.resume()
        return encode_status(self._status())

    async def _describe(self, payload: bytes, context: Any, caller: str) -> pb.Description:
        del caller
        effective_budget_ns(methods.DESCRIBE, 0, context.time_remaining())
        parse(pb.DescribeRequest, payload)
        return pb.Description(json=self._document())

    async def _set_flag(self, payload: bytes, context: Any, caller: str) -> pb.Status:
        effective_budget_ns(methods.SET_FLAG, 0, context.time_remaining())
        await set_flag(self._rollout, parse(pb.SetFlagRequest, payload), caller or UNNAMED)
        return encode_status(self._status())

    async def _start_canary(self, payload: bytes, context: Any, caller: str) -> pb.Status:
        effective_budget_ns(methods.START_CANARY, 0, context.time_remaining())
        await start_canary(self._rollout, parse(pb.StartCanaryRequest, payload), caller or UNNAMED)
        return encode_status(self._status())

    async def _abort_canary(self, payload: bytes, context: Any, caller: str) -> pb.Status:
        effective_budget_ns(methods.ABORT_CANARY, 0, context.time_remaining())
        parse(pb.AbortCanaryRequest, payload)
        await abort_canary(self._rollout, caller or UNNAMED)
        return encode_status(self._status())

    async def _record_validation(self, payload: bytes, context: Any, caller: str) -> pb.ValidationReply:
        effective_budget_ns(methods.REPORT_VALIDATION, 0, context.time_remaining())
        message = parse(pb.ValidationRequest, payload)
        await self._rollout.record_validation(message.run, message.kernel, message.value, caller)
        return pb.ValidationReply()

    async def _watch(self, payload: bytes, context: Any, caller: str) -> None:
        effective_budget_ns(methods.WATCH, 0, context.time_remaining())
        parse(pb.WatchRequest, payload)
        if self._watching[caller] >= self._limits.watch_streams:
            raise too_many_streams(methods.WATCH, self._limits.watch_streams)
        self._watching[caller] += 1
        try:
            await self._send_status(context)
        finally:
            self._watching[caller] -= 1
            if not self._watching[caller]:
                del self._watching[caller]

    async def _send_status(self, context: Any) -> None:
        """Sends the status whenever it changes, until the client goes away or the streams end."""
        loop = asyncio.get_running_loop()
        sent: tuple[Status, float] | None = None
        while not self._ending.is_set():
            status, now = self._status(), loop.time()
            if sent is None or sent[0] != status or now - sent[1] >= self._limits.heartbeat_s:
                await context.write(encode_status(status))
                sent = (status, now)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._limits.watch_interval_s):
                    await self._ending.wait()


def _short(method: str) -> str:
    return method.rpartition("/")[2]


def _serialize(answer: Any) -> bytes:
    """Those of calls are bytes already, which may be sent again."""
    return answer if isinstance(answer, bytes) else serialize(answer)
