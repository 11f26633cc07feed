"""Requests and states between the domain and the wire. What cannot be used is one typed error of one line.

SubproblemError and CircuitError name the caller's field; MalformedMessageError is for bytes that no client of
ours sends; PayloadCorruptedError for a payload that does not match its checksum.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from shotclock.domain.accounting import HERE, Origin
from shotclock.domain.circuit import CircuitSpec
from shotclock.domain.errors import CircuitError, SubproblemError
from shotclock.domain.flags import FLAGS, FlagReport, FlagState
from shotclock.domain.outcome import Decision, Rejection
from shotclock.domain.status import BreakerState, Drained, Phase, Status
from shotclock.domain.subproblem import MAX_VARIABLES, Priority, Subproblem
from shotclock.domain.trace_context import TraceContext
from shotclock.wire.canaries import decode_canary, encode_canary
from shotclock.wire.payload import (
    MalformedMessageError,
    PayloadCorruptedError,
    checksum,
    pack_floats,
    pack_upper,
    unpack_floats,
    unpack_upper,
)
from shotclock.wire.v1 import shotclock_pb2 as pb

K = TypeVar("K")

PRIORITIES: Mapping[Priority, Any] = {
    Priority.LOW: pb.PRIORITY_LOW,
    Priority.NORMAL: pb.PRIORITY_NORMAL,
    Priority.HIGH: pb.PRIORITY_HIGH,
}
DECISIONS: Mapping[Decision, Any] = {
    decision: pb.Decision.Value(f"DECISION_{decision.name}") for decision in Decision
}
PHASES: Mapping[Phase, Any] = {phase: pb.Phase.Value(f"PHASE_{phase.name}") for phase in Phase}
BREAKERS: Mapping[BreakerState, Any] = {
    state: pb.BreakerState.Value(f"BREAKER_STATE_{state.name}") for state in BreakerState
}


def reverse(words: Mapping[K, Any]) -> dict[int, K]:
    """The domain's word by the wire's number."""
    return {int(number): word for word, number in words.items()}


PRIORITY_OF = {int(pb.PRIORITY_UNSPECIFIED): Priority.NORMAL, **reverse(PRIORITIES)}
_DECISION, _PHASE, _BREAKER = reverse(DECISIONS), reverse(PHASES), reverse(BREAKERS)


def word_of(words: Mapping[int, K], number: int, what: str) -> K:
    """MalformedMessageError on a number that no word has."""
    word = words.get(number)
    if word is None:
        raise MalformedMessageError(f"{what}: no such value ({number})")
    return word


def encode_subproblem(
    subproblem: Subproblem, budget_ns: int, message: pb.Subproblem | None = None, *, checked: bool = True
) -> pb.Subproblem:
    """budget_ns: what is left when the message is sent.

    message: a part of another message, to be filled.
    checked: whether the coefficients get their own checksum.
    """
    message = pb.Subproblem() if message is None else message
    quadratic, linear = pack_upper(subproblem.quadratic), pack_floats(subproblem.linear)
    message.request_id = subproblem.request_id
    message.kind = subproblem.kind
    message.n = subproblem.n
    message.quadratic = quadratic
    message.linear = linear
    message.offset = subproblem.offset
    message.base_version = subproblem.base_version
    message.budget_ns = budget_ns
    if checked:
        message.crc32c = checksum(quadratic, linear)
    message.priority = PRIORITIES[subproblem.priority]
    message.fresh = subproblem.fresh
    return message


def decode_subproblem(
    message: pb.Subproblem, caller: str = "", trace: TraceContext | None = None, origin: Origin = HERE
) -> Subproblem:
    """Raises SubproblemError or PayloadCorruptedError; lengths are checked before anything is allocated."""
    n, priority = message.n, PRIORITY_OF.get(message.priority)
    if not 1 <= n <= MAX_VARIABLES:
        raise SubproblemError("n", f"must be 1 to {MAX_VARIABLES} (got {n})")
    for name, data, want in (
        ("quadratic", message.quadratic, 4 * n * (n - 1)),
        ("linear", message.linear, 8 * n),
    ):
        if len(data) != want:
            raise SubproblemError(name, f"must have {want} bytes for {n} variables (got {len(data)})")
    if message.HasField("crc32c") and checksum(message.quadratic, message.linear) != message.crc32c:
        raise PayloadCorruptedError("subproblem")
    if priority is None:
        raise SubproblemError("priority", f"no such value ({message.priority})")
    return Subproblem(
        unpack_upper(message.quadratic, n),
        unpack_floats(message.linear),
        message.offset,
        message.kind,
        message.request_id,
        message.base_version,
        message.budget_ns,
        priority,
        caller,
        message.fresh,
        trace,
        origin,
    )


def source_bytes(source: str | bytes) -> bytes:
    """What checksums are of."""
    return source.encode() if isinstance(source, str) else source


def encode_circuit(spec: CircuitSpec, budget_ns: int) -> pb.CircuitSpec:
    """budget_ns: what is left when the message is sent."""
    message = pb.CircuitSpec(
        request_id=spec.request_id,
        values=[pb.ParameterValue(name=name, value=value) for name, value in spec.values],
        shots=spec.shots,
        budget_ns=budget_ns,
        priority=PRIORITIES[spec.priority],
        crc32c=checksum(source_bytes(spec.content)),
    )
    if isinstance(spec.content, str):
        message.openqasm3 = spec.content
    else:
        message.qpy = spec.content
    return message


def decode_circuit(
    message: pb.CircuitSpec, caller: str = "", trace: TraceContext | None = None, origin: Origin = HERE
) -> CircuitSpec:
    """Raises CircuitError or PayloadCorruptedError."""
    source = message.qpy if message.WhichOneof("source") == "qpy" else message.openqasm3
    priority = PRIORITY_OF.get(message.priority)
    if message.HasField("crc32c") and checksum(source_bytes(source)) != message.crc32c:
        raise PayloadCorruptedError("circuit")
    if priority is None:
        raise CircuitError("priority", f"no such value ({message.priority})")
    return CircuitSpec(
        source,
        message.shots,
        tuple((parameter.name, parameter.value) for parameter in message.values),
        message.request_id,
        message.budget_ns,
        priority,
        caller,
        trace,
        origin,
    )


def encode_decided(request_id: str, decision: Decision, stale: bool) -> pb.DecidedRequest:
    """What became of the answer to `request_id`."""
    return pb.DecidedRequest(request_id=request_id, decision=DECISIONS[decision], stale=stale)


def decode_decided(message: pb.DecidedRequest) -> tuple[str, Decision, bool]:
    """The request, the decision, whether the answer was stale. Raises MalformedMessageError."""
    return message.request_id, word_of(_DECISION, message.decision, "decision"), message.stale


def encode_status(status: Status) -> pb.Status:
    """Every field under its own name."""
    return pb.Status(
        phase=PHASES[status.phase],
        provider=status.provider,
        emulated=status.emulated,
        breaker=BREAKERS[status.breaker],
        waiting=status.waiting,
        running=status.running,
        lanes_limit=status.lanes_limit,
        service_p95_s=status.service_p95_s,
        accepted=status.accepted,
        finished=status.finished,
        warnings=status.warnings,
        flags=_encode_flags(status.flags),
        canary=encode_canary(status.canary),
    )


def decode_status(message: pb.Status) -> Status:
    """Raises MalformedMessageError."""
    return Status(
        phase=word_of(_PHASE, message.phase, "phase"),
        provider=message.provider,
        emulated=message.emulated,
        breaker=word_of(_BREAKER, message.breaker, "breaker"),
        waiting=message.waiting,
        running=message.running,
        lanes_limit=message.lanes_limit,
        service_p95_s=message.service_p95_s,
        accepted=message.accepted,
        finished=message.finished,
        warnings=tuple(message.warnings),
        flags=_decode_flags(message.flags),
        canary=decode_canary(message.canary),
    )


def _encode_flags(report: FlagReport) -> pb.FlagReport:
    return pb.FlagReport(
        settings=report.settings, state=report.state, age_s=report.age_s, reason=report.reason
    )


def _decode_flags(message: pb.FlagReport) -> FlagReport:
    """A service that knows no flags reports none."""
    try:
        state = FlagState(message.state or FlagState.NONE)
    except ValueError:
        raise MalformedMessageError(f"flags.state: no such value ({message.state!r})") from None
    # a map of protobuf has no order; a newer service may have flags that this client does not know
    known = [flag for flag in FLAGS if flag in message.settings]
    names = [*known, *sorted(message.settings.keys() - set(known))]
    settings = {name: message.settings[name] for name in names}
    return FlagReport(settings, state, message.age_s, message.reason)


def encode_drained(drained: Drained) -> pb.Drained:
    """Every field under its own name."""
    return pb.Drained(finished=drained.finished, handed_back=drained.handed_back)


def decode_drained(message: pb.Drained) -> Drained:
    """Every field under its own name."""
    return Drained(message.finished, message.handed_back)


def encode_rejection(rejection: Rejection) -> pb.Rejection:
    """Every field under its own name."""
    return pb.Rejection(
        limit=rejection.limit,
        allowed=rejection.allowed,
        present=rejection.present,
        unit=rejection.unit,
        retry_after_s=rejection.retry_after_s,
    )


def decode_rejection(message: pb.Rejection) -> Rejection:
    """Every field under its own name."""
    return Rejection(message.limit, message.allowed, message.present, message.unit, message.retry_after_s)
