"""What carries a call's bytes between two processes of one host, and how little of it is the bytes.

Every way makes the same round trip: a request there, an answer back, both copied out on arrival.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from threading import Thread

from _orchestrator_series import BLOCKS, Series
from shotclock.runtime.loop_thread import LoopThread

WARM_UP = 200
COPIES = 2000


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes of a request and of an answer as they are on the wire."""

    request: int
    answer: int


@dataclass(frozen=True, slots=True)
class Carried:
    """Round trips by way, and what copying a request into shared memory takes, microseconds."""

    ways: tuple[Series, ...]
    copy_us: float


def measure(sizes: Sizes, trips: int) -> Carried:
    """Blocks of every way in turn, one round trip at a time."""
    with _ways(sizes) as trip:
        ways = tuple(Series(name) for name in trip)
        for way in trip.values():
            _time_trips(way, WARM_UP)
        for _ in range(BLOCKS):
            for series in ways:
                series.blocks.append(_time_trips(trip[series.what], trips // BLOCKS))
    return Carried(ways, _copy_us(sizes.request))


def _time_trips(trip: Callable[[], object], trips: int) -> list[int]:
    latencies = []
    for _ in range(trips):
        began_ns = time.perf_counter_ns()
        trip()
        latencies.append(time.perf_counter_ns() - began_ns)
    return latencies


@contextmanager
def _ways(sizes: Sizes) -> Iterator[dict[str, Callable[[], object]]]:
    """The three ways, the other process being up."""
    context = multiprocessing.get_context("spawn")
    (rung, ring), (answered, answer) = context.Pipe(duplex=False), context.Pipe(duplex=False)
    memory = SharedMemory(create=True, size=sizes.request + sizes.answer)
    loop = LoopThread()
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(Path(folder) / "socket"))
        listener.listen()
        peer = context.Process(
            target=_peer, args=(rung, answer, memory.name, listener.getsockname(), sizes), daemon=True
        )
        peer.start()
        for theirs in (rung, answer):
            theirs.close()
        stream, _ = listener.accept()
        request = bytes(sizes.request)
        yield {
            "in process, to another thread's loop": lambda: loop.run(_nothing()),
            "shared memory, woken by a pipe": partial(
                _through_memory, memory, ring, answered, request, sizes
            ),
            "Unix socket": partial(_through_socket, stream, request, sizes),
        }
        stream.close()
        ring.close()
        peer.join()
        answered.close()
    loop.close()
    memory.close()
    memory.unlink()


async def _nothing() -> None:
    """A call that needs no bytes carried: the objects are shared."""
    await asyncio.sleep(0)


def _through_memory(
    memory: SharedMemory, ring: Connection, answered: Connection, request: bytes, sizes: Sizes
) -> bytes:
    _buffer(memory)[: sizes.request] = request
    os.write(ring.fileno(), b"!")
    os.read(answered.fileno(), 1)
    return bytes(_buffer(memory)[sizes.request : sizes.request + sizes.answer])


def _through_socket(stream: socket.socket, request: bytes, sizes: Sizes) -> bytes:
    stream.sendall(request)
    return stream.recv(sizes.answer, socket.MSG_WAITALL)


def _peer(rung: Connection, answer: Connection, memory: str, path: str, sizes: Sizes) -> None:
    """The other process: a thread a way, each until its other end is closed."""
    with socket.socket(socket.AF_UNIX) as stream:
        stream.connect(path)
        served = Thread(target=_serve_socket, args=(stream, sizes))
        served.start()
        _serve_memory(rung, answer, memory, sizes)
        served.join()


def _serve_memory(rung: Connection, answer: Connection, name: str, sizes: Sizes) -> None:
    memory, reply = SharedMemory(name), bytes(sizes.answer)
    while os.read(rung.fileno(), 1):
        bytes(_buffer(memory)[: sizes.request])
        _buffer(memory)[sizes.request : sizes.request + sizes.answer] = reply
        os.write(answer.fileno(), b"!")
    memory.close()


def _serve_socket(stream: socket.socket, sizes: Sizes) -> None:
    reply = bytes(sizes.answer)
    while stream.recv(sizes.request, socket.MSG_WAITALL):
        stream.sendall(reply)


def _buffer(memory: SharedMemory) -> memoryview[int]:
    buffer = memory.buf
    assert buffer is not None, "open until its last use"
    return buffer


def _copy_us(size: int) -> float:
    """Into memory that another process could read."""
    memory, payload = SharedMemory(create=True, size=size), bytes(size)
    began_ns = time.perf_counter_ns()
    for _ in range(COPIES):
        _buffer(memory)[:size] = payload
    took_ns = time.perf_counter_ns() - began_ns
    memory.close()
    memory.unlink()
    return took_ns / COPIES * 1e-3
