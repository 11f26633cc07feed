"""Why a call ends without an answer: as gRPC's status on the one side, as a value on the other."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import grpc

from shotclock.domain.errors import CircuitError, SettingsError, ShotclockError, SubproblemError
from shotclock.domain.outcome import Cause, DeadlinePassed, ProviderFault, Rejection
from shotclock.wire.channels import Channels
from shotclock.wire.codec import decode_rejection, encode_rejection
from shotclock.wire.methods import REJECTION
from shotclock.wire.payload import MalformedMessageError, PayloadCorruptedError, parse
from shotclock.wire.v1 import shotclock_pb2 as pb

MAX_DETAILS = 1_000
"""Characters; details travel as a header, and those are short."""


CALLERS_FAULTS = frozenset(
    {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.DATA_LOSS, grpc.StatusCode.RESOURCE_EXHAUSTED}
)


class RefusedError(ShotclockError):
    """A call that ends with this status; `metadata` trails it."""

    def __init__(self, code: Any, details: str, metadata: tuple[tuple[str, bytes], ...] = ()) -> None:
        super().__init__(details)
        self.code = code
        self.metadata = metadata

    @property
    def is_callers_fault(self) -> bool:
        """Whether this call would be refused at any time, or the caller asks too much by itself."""
        return self.code in CALLERS_FAULTS and not self.metadata  # which tell of the service's own limit


def without_deadline(method: str) -> RefusedError:
    """Neither the message nor gRPC brings the time that remains."""
    return RefusedError(
        grpc.StatusCode.INVALID_ARGUMENT, f"{method}: no deadline; set budget_ns or gRPC's own, best both"
    )


def too_large(method: str, size: int, limit: int) -> RefusedError:
    """A request of more bytes than its method takes."""
    return RefusedError(
        grpc.StatusCode.RESOURCE_EXHAUSTED, f"{method}: a request of {size} bytes, the limit is {limit}"
    )


def too_many_unread(method: str, limit: int) -> RefusedError:
    """As many calls of one caller as may wait are not read yet."""
    return RefusedError(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        f"{method}: {limit} calls of this caller wait to be read, the limit is {limit}; send fewer at once",
    )


def too_slow(method: str, limit_s: float) -> RefusedError:
    """The bytes of a request did not arrive in time."""
    return RefusedError(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        f"{method}: the request did not arrive within {limit_s:g} s; send it at once",
    )


def without_request(method: str) -> RefusedError:
    """A call that ended before it had sent its request."""
    return RefusedError(grpc.StatusCode.INVALID_ARGUMENT, f"{method}: no request; send one message")


def no_answer() -> RefusedError:
    """An answer was asked for again that the service no longer has."""
    return RefusedError(grpc.StatusCode.NOT_FOUND, "the answer to this request is not remembered any more")


def too_many(method: str, limit: int) -> RefusedError:
    """As many calls of this method as the server takes are in flight."""
    rejection = Rejection("concurrent_calls", limit, limit, "calls in flight", 0.1)
    return RefusedError(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        f"{method}: {rejection}",
        ((REJECTION, encode_rejection(rejection).SerializeToString()),),
    )


def too_many_streams(method: str, limit: int) -> RefusedError:
    """As many streams of this method as one caller may have are open."""
    return RefusedError(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        f"{method}: this caller has {limit} open streams, the limit is {limit}; close one",
    )


def unavailable(why: str) -> RefusedError:
    """Nobody takes this call now."""
    return RefusedError(grpc.StatusCode.UNAVAILABLE, why)


def refusal(error: ShotclockError) -> RefusedError:
    """The status of an error that was raised on purpose."""
    match error:
        case RefusedError():
            return error
        case PayloadCorruptedError():
            code = grpc.StatusCode.DATA_LOSS
        case SubproblemError() | CircuitError() | MalformedMessageError() | SettingsError():
            code = grpc.StatusCode.INVALID_ARGUMENT
        case _:
            code = grpc.StatusCode.INTERNAL
    return RefusedError(code, " ".join(str(error).split())[:MAX_DETAILS])


@dataclass(frozen=True, slots=True)
class Unreachable(ProviderFault):
    """The orchestrator is gone, or takes nothing now: the call may be sent to another one."""


def cause_of(error: grpc.aio.AioRpcError, channels: Channels, budget_ns: int) -> Cause:
    """The value of a status; where the caller's own numbers are at fault, raises what the server raised."""
    code, details = error.code(), " ".join((error.details() or "").split())
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlinePassed(budget_ns)
    if code is grpc.StatusCode.INVALID_ARGUMENT:
        _raise_again(details)
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        for key, value in error.trailing_metadata() or ():
            if key == REJECTION:
                with suppress(MalformedMessageError):
                    return decode_rejection(parse(pb.Rejection, value))
    kind = ProviderFault
    if code is grpc.StatusCode.UNAVAILABLE:
        details, kind = channels.explain(details), Unreachable
    return kind(f"orchestrator {channels.target}: {code.name}: {details[:MAX_DETAILS]}")


def _raise_again(details: str) -> None:
    where, _, message = details.partition(": ")
    message_name, _, field = where.partition(".")
    if message_name == "subproblem" and field:
        raise SubproblemError(field, message)
    if message_name == "circuit" and field:
        raise CircuitError(field, message)
