"""The HTTP server under a flood of connections: real sockets."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from overviews import WELL
from shotclock.domain.errors import MachineError
from shotclock.runtime import http_server
from shotclock.runtime.http_connections import Connections, HttpLimits
from shotclock.telemetry.web import application

HANG_S = 60.0


class Flooded:
    """A server under test: its connections, the limits that closed some, what it reported."""

    def __init__(self, limits: HttpLimits) -> None:
        self.closed: Counter[str] = Counter()
        self.reports: list[str] = []
        self.connections = Connections(limits, self._count)
        self.port = 0
        self.sockets: list[socket.socket] = []

    def _count(self, reason: str) -> None:
        self.closed[reason] += 1

    async def open_silent(self, count: int) -> None:
        """As many connections that never send anything."""
        loop = asyncio.get_running_loop()
        for _ in range(count):
            listener = socket.socket()
            listener.setblocking(False)
            self.sockets.append(listener)
            await loop.sock_connect(listener, ("127.0.0.1", self.port))

    async def get(self, path: str = "/livez") -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        return answer


async def forever(scope: Any, receive: Any, send: Any) -> None:
    """An application that never answers."""
    await asyncio.Event().wait()


@asynccontextmanager
async def flood(app: Any = None, **limits: Any) -> AsyncIterator[Flooded]:
    flooded = Flooded(HttpLimits(**limits))
    listening = http_server.listen("127.0.0.1", 0, "--test")
    app = app or application(CollectorRegistry(), lambda: WELL, tuple)
    server = await http_server.serve(app, listening, flooded.connections, flooded.reports.append)
    flooded.port = server.port
    try:
        async with asyncio.timeout(HANG_S):
            yield flooded
    finally:
        for connection in flooded.sockets:
            connection.close()
        await server.stop()


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - the server sets no event for a test
        await asyncio.sleep(0.01)


def test_silent_connections_give_way_to_one_that_asks() -> None:
    async def main() -> None:
        async with flood(connections=50, header_s=HANG_S) as server:
            await server.open_silent(200)
            assert (await server.get()).startswith(b"HTTP/1.1 200")
            await until(lambda: server.closed["connections"] >= 150)
            assert len(server.connections) <= 50
            assert not server.reports

    asyncio.run(main())


def test_connections_are_accepted_no_faster_than_their_limit() -> None:
    async def main() -> None:
        async with flood(connections=10, header_s=HANG_S, accepts_per_s=1e-6) as server:
            await server.open_silent(http_server.BACKLOG + 20)
            await until(lambda: server.closed["connections"] == http_server.BACKLOG - 10)
            for _ in range(5):
                await asyncio.sleep(http_server.TURN_S)
            assert server.closed["connections"] + len(server.connections) == http_server.BACKLOG

    asyncio.run(main())


def test_silent_slow_and_idle_connections_end_at_their_limits() -> None:
    async def main() -> None:
        async with flood(header_s=0.2, idle_s=0.1) as server:
            await server.open_silent(2)
            server.sockets[0].send(b"GET /livez HTTP/1.1\r\nhost: ")  # and never the rest
            kept_alive = socket.create_connection(("127.0.0.1", server.port))
            kept_alive.send(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n")
            server.sockets.append(kept_alive)
            await until(lambda: len(server.connections) == 0 and server.closed.total() == 3)
            assert server.closed == {"header": 2, "idle": 1}
            assert (await server.get()).startswith(b"HTTP/1.1 200")

    asyncio.run(main())


def test_an_answer_that_does_not_come_ends_too_and_is_not_displaced_before() -> None:
    async def main() -> None:
        async with flood(forever, connections=4, answer_s=0.3) as server:
            asking = [asyncio.create_task(server.get()) for _ in range(4)]
            await until(lambda: sum(connection.is_answering for connection in server.connections) == 4)
            await server.open_silent(1)  # nothing waits for a request, so the newcomer goes
            await until(lambda: server.closed["connections"] == 1)
            assert await asyncio.gather(*asking, return_exceptions=True)
            assert server.closed["answer"] == 4

    asyncio.run(main())


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """The next file or socket of this process fails with EMFILE."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(file.name) for file in Path("/proc/self/fd").iterdir())
    holes = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, hard))
    try:
        while True:
            try:
                holes.append(os.open(os.devnull, os.O_RDONLY))
            except OSError:
                break
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for hole in holes:
            os.close(hole)


def test_without_descriptors_the_reserve_answers_and_failures_are_one_line_a_second() -> None:
    async def main() -> None:
        async with flood(header_s=HANG_S) as server:
            clients = [socket.socket() for _ in range(20)]
            for client in clients:
                client.setblocking(False)
            server.sockets.extend(clients)
            loop = asyncio.get_running_loop()
            with no_descriptor_left():
                for client in clients:
                    await loop.sock_connect(client, ("127.0.0.1", server.port))
                await until(lambda: len(server.reports) >= 2)
                # the reserve took some in, and each turn that failed was one line, not one a connection
                assert len(server.connections) == http_server.RESERVED
                assert server.closed["descriptors"] == len(server.reports) == 2
                assert "too many open files" in server.reports[0].lower()
                clients[0].send(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n")
                assert (await loop.sock_recv(clients[0], 1000)).startswith(b"HTTP/1.1 200")
            await until(lambda: len(server.connections) == 20)
            assert (await server.get()).startswith(b"HTTP/1.1 200")

    asyncio.run(main())


def test_what_is_no_http_is_answered_without_a_line(capfd: pytest.CaptureFixture[str]) -> None:
    async def main() -> None:
        async with flood() as server:
            for _ in range(5):
                reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
                writer.write(b"\x16\x03\x01 no http\r\n\r\n")
                assert (await reader.read()).startswith(b"HTTP/1.1 400")
                writer.close()

    asyncio.run(main())
    assert capfd.readouterr().err == ""


def test_a_stop_does_not_wait_for_silent_connections() -> None:
    async def main() -> None:
        async with flood(header_s=HANG_S, answer_s=HANG_S) as server:
            await server.open_silent(3)
            await until(lambda: len(server.connections) == 3)
        assert len(server.connections) == 0

    asyncio.run(main())


def test_a_port_that_is_taken_is_one_line() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(MachineError, match=f"--test: cannot listen on 127.0.0.1:{port}: .*another port"):
            http_server.listen("127.0.0.1", port, "--test")
