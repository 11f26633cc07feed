"""Batches of circuits between the domain and the wire, and their streams."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from shotclock.domain.accounting import HERE, Origin
from shotclock.domain.circuit_batch import CircuitBatch, CircuitPoints
from shotclock.domain.errors import CircuitError
from shotclock.domain.outcome import CircuitOutcome
from shotclock.domain.ports import Dispatcher
from shotclock.domain.trace_context import TraceContext
from shotclock.wire.codec import PRIORITIES, PRIORITY_OF, source_bytes
from shotclock.wire.integrity import parse_checked, serialize
from shotclock.wire.outcomes import (
    decode_circuit_outcome,
    encode_circuit_outcome,
    onto_clock_ns,
    until_arrival_ns,
)
from shotclock.wire.payload import (
    MalformedMessageError,
    PayloadCorruptedError,
    checksum,
    pack_floats,
    unpack_floats,
)
from shotclock.wire.v1 import shotclock_pb2 as pb


def encode_batch(batch: CircuitBatch, budget_ns: int) -> pb.CircuitBatch:
    """budget_ns: what is left when the message is sent."""
    return pb.CircuitBatch(
        request_id=batch.request_id,
        circuits=[_encode_points(circuit) for circuit in batch.circuits],
        budget_ns=budget_ns,
        priority=PRIORITIES[batch.priority],
        answered=sorted(batch.answered),
    )


def _encode_points(circuit: CircuitPoints) -> pb.CircuitPoints:
    values = pack_floats(circuit.points)
    message = pb.CircuitPoints(
        shots=circuit.shots,
        names=circuit.names,
        points=len(circuit.points),
        values=values,
        crc32c=checksum(source_bytes(circuit.source), values),
    )
    if isinstance(circuit.source, str):
        message.openqasm3 = circuit.source
    else:
        message.qpy = circuit.source
    return message


def decode_batch(
    message: pb.CircuitBatch, caller: str = "", trace: TraceContext | None = None, origin: Origin = HERE
) -> CircuitBatch:
    """Raises CircuitError or PayloadCorruptedError; lengths are checked before anything is allocated."""
    priority = PRIORITY_OF.get(message.priority)
    if priority is None:
        raise CircuitError("priority", f"no such value ({message.priority})")
    circuits = tuple(_decode_points(circuit) for circuit in message.circuits)
    answered = frozenset(message.answered)
    return CircuitBatch(
        circuits, message.request_id, message.budget_ns, priority, caller, trace, origin, answered
    )


def _decode_points(message: pb.CircuitPoints) -> CircuitPoints:
    source = message.qpy if message.WhichOneof("source") == "qpy" else message.openqasm3
    names = tuple(message.names)
    if len(message.values) != 8 * message.points * len(names):
        raise CircuitError(
            "points",
            f"must have {8 * message.points * len(names)} bytes for {message.points} points of {len(names)} "
            f"parameters (got {len(message.values)})",
        )
    present = checksum(source_bytes(source), message.values)
    if message.HasField("crc32c") and present != message.crc32c:
        raise PayloadCorruptedError("circuit")
    values = unpack_floats(message.values) if names else unpack_floats(b"")
    if not names and message.points != 1:
        raise CircuitError("points", f"must be 1 without parameters (got {message.points})")
    return CircuitPoints(source, message.shots, names, values.reshape(message.points, len(names)))


async def stream_outcomes(
    dispatcher: Dispatcher, batch: CircuitBatch, context: Any, remember: Callable[[int, bytes], None]
) -> None:
    """Runs the batch and writes each outcome as it comes; a client that goes away cancels the batch.

    remember: takes every answer, should it arrive damaged.
    """
    outcomes: asyncio.Queue[tuple[int, CircuitOutcome] | None] = asyncio.Queue()
    running = asyncio.ensure_future(
        dispatcher.execute_batch(batch, lambda index, outcome: outcomes.put_nowait((index, outcome)))
    )
    running.add_done_callback(lambda _: outcomes.put_nowait(None))
    try:
        while (point := await outcomes.get()) is not None:
            index, outcome = point
            shift_ns = until_arrival_ns(outcome.provenance)
            answer = serialize(
                pb.PointOutcome(index=index, outcome=encode_circuit_outcome(outcome, shift_ns))
            )
            remember(index, answer)
            await context.write(answer)
        await running
    finally:
        running.cancel()
        await asyncio.wait((running,))


def read_outcome(reply: bytes, missing: set[int], asked_ns: int, now_ns: int) -> tuple[int, CircuitOutcome]:
    """One answer of the stream. MalformedMessageError where its index is of no point without an outcome."""
    message = parse_checked(pb.PointOutcome, reply)
    if message.index not in missing:
        raise MalformedMessageError(f"index: {message.index} is of no point that is still unanswered")
    shift_ns = onto_clock_ns(message.outcome.provenance, asked_ns, now_ns)
    return message.index, decode_circuit_outcome(message.outcome, shift_ns)
