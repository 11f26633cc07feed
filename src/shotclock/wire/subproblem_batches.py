"""Batches of subproblems between the domain and the wire, and the streams of their outcomes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Container, Sequence
from typing import Any

from shotclock.domain.accounting import HERE, Origin
from shotclock.domain.budget import NS_PER_S
from shotclock.domain.errors import SubproblemError
from shotclock.domain.outcome import Outcome
from shotclock.domain.ports import Dispatcher
from shotclock.domain.subproblem import Subproblem
from shotclock.domain.subproblem_batch import SubproblemBatch, check_count
from shotclock.domain.trace_context import TraceContext
from shotclock.wire.codec import decode_subproblem, encode_subproblem
from shotclock.wire.integrity import parse_checked, serialize
from shotclock.wire.outcomes import decode_outcome, encode_outcome, onto_clock_ns, until_arrival_ns
from shotclock.wire.payload import MalformedMessageError
from shotclock.wire.refusals import no_answer
from shotclock.wire.v1 import shotclock_pb2 as pb

HOLD_S = 0.008
HOLD_SHARE = 0.04
"""An outcome waits so long for others, and so much of the shortest budget at most: to send one message
takes both sides about as long as to solve one subproblem."""
LAST_HOLD_S = 0.004
"""Instead, once an outcome could be at its deadline: less than half of what is reserved for its return."""

Numbered = tuple[int, Outcome]
"""An outcome with the index of its subproblem."""


def encode_subproblems(batch: SubproblemBatch, left_ns: Callable[[Subproblem], int]) -> pb.SubproblemBatch:
    """left_ns: of a subproblem's budget when the message is sent; less than 1 counts as 1."""
    message = pb.SubproblemBatch()
    for subproblem in batch.subproblems:
        budget_ns = max(1, left_ns(subproblem))
        encode_subproblem(subproblem, budget_ns, message.subproblems.add(), checked=False)
    return message


def decode_subproblems(
    message: pb.SubproblemBatch,
    effective_budget_ns: Callable[[int], int],
    caller: str = "",
    trace: TraceContext | None = None,
    origin: Origin = HERE,
) -> SubproblemBatch:
    """effective_budget_ns: what is left of the budget that a subproblem says, given gRPC's deadline.

    Raises SubproblemError, with the index of the subproblem at fault, or PayloadCorruptedError.
    """
    check_count(len(message.subproblems))
    return SubproblemBatch(
        tuple(
            _decode_one(index, each, effective_budget_ns, caller, trace, origin)
            for index, each in enumerate(message.subproblems)
        )
    )


def _decode_one(
    index: int,
    message: pb.Subproblem,
    effective_budget_ns: Callable[[int], int],
    caller: str,
    trace: TraceContext | None,
    origin: Origin,
) -> Subproblem:
    try:
        message.budget_ns = effective_budget_ns(message.budget_ns)
        return decode_subproblem(message, caller, trace, origin)
    except SubproblemError as error:
        raise SubproblemError(f"batch[{index}].{error.field}", error.message) from error


async def stream_answers(
    dispatcher: Dispatcher,
    batch: SubproblemBatch,
    context: Any,
    before: Callable[[Sequence[Numbered]], Awaitable[None]],
    remember: Callable[[int, bytes], None],
) -> None:
    """Solves the batch and writes outcomes as they come, those of a few milliseconds in one message.

    before: awaited before outcomes are written.
    remember: takes the first index and the bytes of every message, should it arrive damaged.
    A client that goes away cancels the calls that still run.
    """
    arrived = asyncio.Event()
    ready: list[Numbered] = []

    def take(index: int, outcome: Outcome) -> None:
        ready.append((index, outcome))
        arrived.set()

    loop = asyncio.get_running_loop()
    shortest_s = min(subproblem.budget_ns for subproblem in batch.subproblems) / NS_PER_S
    hold_s, first_deadline = min(HOLD_S, HOLD_SHARE * shortest_s), loop.time() + shortest_s
    running = asyncio.ensure_future(dispatcher.solve_batch(batch, take))
    running.add_done_callback(lambda _: arrived.set())
    try:
        while ready or not running.done():
            await arrived.wait()
            if loop.time() + hold_s > first_deadline:
                hold_s = min(hold_s, LAST_HOLD_S)
            if not running.done():
                await asyncio.wait((running,), timeout=hold_s)
            arrived.clear()
            sending, ready[:] = ready[:], []
            if sending:
                await before(sending)
                answers = serialize(encode_answers(sending))
                remember(sending[0][0], answers)
                await context.write(answers)
        await running
    finally:
        running.cancel()
        await asyncio.wait((running,))


async def resend_answers(indices: Sequence[int], find: Callable[[int], bytes | None], context: Any) -> None:
    """Writes the messages with these outcomes again. Raises RefusedError where one is not remembered.

    find: a message by the index of its first outcome.
    """
    absent = set(indices)
    for index in sorted(absent):
        if (answers := find(index)) is not None:
            absent -= {each.index for each in parse_checked(pb.SubproblemOutcomes, answers).outcomes}
            await context.write(answers)
    if absent:
        raise no_answer()


def encode_answers(numbered: Sequence[Numbered]) -> pb.SubproblemOutcomes:
    """One message; its checksum covers the samples, whose own are left out."""
    message = pb.SubproblemOutcomes()
    for index, outcome in numbered:
        answer = message.outcomes.add(index=index)
        encode_outcome(outcome, until_arrival_ns(outcome.provenance), answer.outcome, checked=False)
    return message


def read_answers(
    reply: bytes,
    batch: SubproblemBatch,
    missing: Container[int],
    ended: Container[int],
    asked_ns: int,
    now_ns: int,
) -> list[Numbered]:
    """The outcomes of one message that are of subproblems in `missing`; those of `ended` ones are too late.

    MalformedMessageError where one is of neither.
    """
    numbered: list[Numbered] = []
    indices: set[int] = set()
    for each in parse_checked(pb.SubproblemOutcomes, reply).outcomes:
        if each.index in ended:
            continue
        if each.index not in missing or each.index in indices:
            raise MalformedMessageError(f"index: {each.index} is of no subproblem that is still unanswered")
        shift_ns = onto_clock_ns(each.outcome.provenance, asked_ns, now_ns)
        n = batch.subproblems[each.index].n
        indices.add(each.index)
        numbered.append((each.index, decode_outcome(each.outcome, n, shift_ns)))
    return numbered
