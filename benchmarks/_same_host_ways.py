"""Four ways from a caller to an orchestrator in another process of the same host, with the same codec.

gRPC with mTLS over loopback, gRPC over a Unix socket, frames on a Unix socket, and slots in shared memory
whose numbers go over a Unix socket. The last two are prototypes: without identity, authorization and limits.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import struct
from collections.abc import Awaitable, Callable
from multiprocessing.shared_memory import SharedMemory
from typing import Any, Protocol

from shotclock.domain.budget import NS_PER_S
from shotclock.domain.outcome import Outcome
from shotclock.domain.subproblem import Subproblem
from shotclock.wire.codec import decode_subproblem, encode_subproblem
from shotclock.wire.integrity import parse_checked, serialize
from shotclock.wire.outcomes import decode_outcome, encode_outcome, until_arrival_ns
from shotclock.wire.v1 import shotclock_pb2 as pb

FRAME = struct.Struct("<II")
"""Bytes that follow, and the number of the call."""
SLOT = struct.Struct("<I")
SLOTS, SLOT_BYTES = 128, 256 * 1024
ECHO, SOLVE = b"e", b"s"

Solve = Callable[[Subproblem], Awaitable[Outcome]]


class Way(Protocol):
    """Carries bytes there and others back."""

    async def carry(self, request: bytes) -> bytes:
        """The answer to the request."""


async def solve_over(way: Way, subproblem: Subproblem) -> Outcome:
    """A call as `GrpcDispatcher` makes it: the codec, the deadline, the checksums."""
    budget_ns = subproblem.budget_ns
    async with asyncio.timeout(budget_ns / NS_PER_S):
        reply = await way.carry(SOLVE + serialize(encode_subproblem(subproblem, budget_ns)))
    return decode_outcome(parse_checked(pb.Outcome, reply), subproblem.n)


async def answer(request: bytes, solve: Solve) -> bytes:
    """The other side of `solve_over`; echoes everything else."""
    if request[:1] == ECHO:
        return request
    outcome = await solve(decode_subproblem(parse_checked(pb.Subproblem, request[1:])))
    return serialize(encode_outcome(outcome, until_arrival_ns(outcome.provenance)))


class SocketWay:
    """Frames on a stream; answers come in any order."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._calls: dict[int, asyncio.Future[bytes]] = {}
        self._numbers = itertools.count()
        self._reading = asyncio.create_task(self._read())

    async def carry(self, request: bytes) -> bytes:
        """See `Way.carry`."""
        number = next(self._numbers)
        reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._calls[number] = reply
        self._writer.write(FRAME.pack(len(request), number) + request)
        return await reply

    async def _read(self) -> None:
        async for number, data in read_frames(self._reader):
            self._calls.pop(number).set_result(data)

    async def close(self) -> None:
        """Ends the connection."""
        self._reading.cancel()
        self._writer.close()


async def read_frames(reader: asyncio.StreamReader) -> Any:
    """Number and bytes of each, until the other end closes."""
    while True:
        try:
            size, number = FRAME.unpack(await reader.readexactly(FRAME.size))
            yield number, await reader.readexactly(size)
        except asyncio.IncompleteReadError:
            return


async def serve_socket(path: str, solve: Solve) -> asyncio.Server:
    """The service's side of `SocketWay`."""

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def reply(number: int, request: bytes) -> None:
            data = await answer(request, solve)
            writer.write(FRAME.pack(len(data), number) + data)

        tasks = set()
        async for number, request in read_frames(reader):
            task = asyncio.create_task(reply(number, request))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    return await asyncio.start_unix_server(take, path, limit=SLOT_BYTES)


class Slots:
    """Slots of two segments, one a direction; `ring` sends a slot's number to the other process."""

    def __init__(self, bell: socket.socket, outward: SharedMemory, inward: SharedMemory) -> None:
        self._bell, self._outward, self._inward = bell, outward, inward
        bell.setblocking(False)

    def put(self, slot: int, data: bytes) -> None:
        """Copies the bytes out, then rings."""
        start = slot * SLOT_BYTES
        buffer = self._outward.buf
        assert buffer is not None
        buffer[start : start + SLOT.size] = SLOT.pack(len(data))
        buffer[start + SLOT.size : start + SLOT.size + len(data)] = data
        self._bell.send(SLOT.pack(slot))

    def take(self) -> list[tuple[int, bytes]]:
        """Slots that were rung for, with copies of their bytes."""
        buffer = self._inward.buf
        answers: list[tuple[int, bytes]] = []
        assert buffer is not None
        while True:
            try:
                number = self._bell.recv(SLOT.size)
            except BlockingIOError:
                return answers
            if not number:
                return answers
            (slot,) = SLOT.unpack(number)
            start = slot * SLOT_BYTES
            (size,) = SLOT.unpack(buffer[start : start + SLOT.size])
            answers.append((slot, bytes(buffer[start + SLOT.size : start + SLOT.size + size])))


class MemoryWay:
    """The caller's side: a slot a call, free again with its answer."""

    def __init__(self, slots: Slots, bell: socket.socket) -> None:
        self._slots = slots
        self._free = list(range(SLOTS))
        self._calls: dict[int, asyncio.Future[bytes]] = {}
        self._bell = bell
        asyncio.get_running_loop().add_reader(bell, self._read)

    async def carry(self, request: bytes) -> bytes:
        """See `Way.carry`."""
        slot = self._free.pop()
        reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._calls[slot] = reply
        self._slots.put(slot, request)
        return await reply

    def _read(self) -> None:
        for slot, data in self._slots.take():
            self._calls.pop(slot).set_result(data)
            self._free.append(slot)

    async def close(self) -> None:
        """Listens no more."""
        asyncio.get_running_loop().remove_reader(self._bell)


class MemoryService:
    """The service's side: rung for, it starts a task a call."""

    def __init__(self, slots: Slots, bell: socket.socket, solve: Solve) -> None:
        self._slots, self._solve = slots, solve
        self._tasks: set[asyncio.Task[None]] = set()
        asyncio.get_running_loop().add_reader(bell, self._read)

    def _read(self) -> None:
        for slot, request in self._slots.take():
            task = asyncio.create_task(self._reply(slot, request))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _reply(self, slot: int, request: bytes) -> None:
        self._slots.put(slot, await answer(request, self._solve))
