"""An HTTP server that a flood of connections cannot stop.

Uvicorn bounds requests, not connections, and asyncio's accept loop reports a process without descriptors
2,048 times in a row. Connections are therefore accepted here; uvicorn's protocol does the rest.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from shotclock.domain.errors import MachineError
from shotclock.runtime.http_connections import Connection, Connections, SilentConnection

BACKLOG = 128
BURST = 16
"""Connections accepted in one turn of the loop, which others wait for."""

TURN_S = 0.05
"""How long accepting waits when connections come faster than `HttpLimits.accepts_per_s`."""

GRACE_S = 1.0
"""At the end, requests under way have this long."""

BACK_OFF_S = 1.0
"""After an accept that failed: how long the next waits, and how often a failure is reported."""

RESERVED = 4
"""Descriptors kept open for connections that come when the process has no other left: probes, above all."""

NO_DESCRIPTOR = frozenset({errno.EMFILE, errno.ENFILE})


def ignore_trouble(what: str) -> None:
    """Where nobody hears of connections that could not be accepted."""


class Acceptor:
    """Accepts connections within the limits; has what uvicorn asks of an asyncio server."""

    def __init__(
        self,
        listening: socket.socket,
        connections: Connections,
        make: Callable[[float], Connection],
        on_trouble: Callable[[str], None],
    ) -> None:
        self._listening = listening
        self._connections = connections
        self._make = make
        self._on_trouble = on_trouble
        self._loop = asyncio.get_running_loop()
        self._handovers: set[asyncio.Task[Any]] = set()
        self._reserve: list[int] = []
        self._paused: asyncio.TimerHandle | None = None
        self._tokens, self._refilled_at = float(BACKLOG), self._loop.time()
        self._refill()
        listening.setblocking(False)
        self._loop.add_reader(listening, self._accept)

    def close(self) -> None:
        """Accepts nothing more, and waits for nobody's first bytes."""
        self._loop.remove_reader(self._listening)
        for connection in self._connections:
            if isinstance(connection, SilentConnection):
                connection.abort()
        if self._paused is not None:
            self._paused.cancel()
        while self._reserve:
            os.close(self._reserve.pop())

    async def wait_closed(self) -> None:
        """For the connections that are being set up."""
        await asyncio.gather(*self._handovers, return_exceptions=True)

    def _accept(self) -> None:
        self._refill()
        for _ in range(BURST):
            if not self._take_token():
                self._wait(TURN_S)
                return
            try:
                accepted = self._accept_one()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                self._tokens += 1.0
                return
            except OSError as error:
                self._pause(error)
                return
            if self._connections.make_room():
                self._wait_for_bytes(accepted)
            else:
                accepted.close()

    def _take_token(self) -> bool:
        """Whether one more may be accepted now: a flood of connections must not take the loop from calls."""
        now = self._loop.time()
        refilled = self._tokens + (now - self._refilled_at) * self._connections.limits.accepts_per_s
        self._tokens, self._refilled_at = min(float(BACKLOG), refilled), now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def _accept_one(self) -> socket.socket:
        """One connection; where the process has no descriptor left, with one of the reserve."""
        try:
            return self._listening.accept()[0]
        except OSError as error:
            if error.errno not in NO_DESCRIPTOR or not self._reserve:
                raise
        os.close(self._reserve.pop())
        return self._listening.accept()[0]

    def _wait_for_bytes(self, accepted: socket.socket) -> None:
        accepted.setblocking(False)
        self._connections.add(SilentConnection(self._connections, accepted, self._hand_over))

    def _hand_over(self, accepted: socket.socket, since: float) -> None:
        """Speaks HTTP with a connection whose first bytes are there."""
        connection = self._make(since)
        self._connections.add(connection)
        task = asyncio.create_task(self._loop.connect_accepted_socket(lambda: connection, accepted))
        self._handovers.add(task)
        task.add_done_callback(self._handovers.discard)

    def _pause(self, error: OSError) -> None:
        """The kernel keeps reporting connections that cannot be accepted; asking again at once is a spin."""
        self._connections.on_closed("descriptors")
        self._wait(BACK_OFF_S)
        host, port = self._listening.getsockname()[:2]
        self._on_trouble(
            f"HTTP on {host}:{port}: a connection could not be accepted: {error.strerror}; "
            f"it is tried again in {BACK_OFF_S:g} s (see `ulimit -n`)"
        )

    def _wait(self, seconds: float) -> None:
        self._loop.remove_reader(self._listening)
        self._paused = self._loop.call_later(seconds, self._resume)

    def _resume(self) -> None:
        self._loop.add_reader(self._listening, self._accept)

    def _refill(self) -> None:
        with suppress(OSError):
            while len(self._reserve) < RESERVED:
                self._reserve.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))


class HttpServer(uvicorn.Server):
    """Uvicorn's server on the running loop, without its signals; made by `serve`."""

    def __init__(self, app: Any, listening: socket.socket, connections: Connections) -> None:
        config = uvicorn.Config(
            connections.track(app),
            http=H11Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",  # a warning for each malformed request would itself be a flood
            access_log=False,
            timeout_keep_alive=round(connections.limits.idle_s) + 1,  # our own timer ends it before
            timeout_graceful_shutdown=round(GRACE_S) + 2,
        )
        super().__init__(config)
        config.load()
        self.lifespan = config.lifespan_class(config)
        self.port: int = listening.getsockname()[1]
        self._listening = listening
        self._connections = connections
        self._ticking: asyncio.Task[None] | None = None

    def begin(self, on_trouble: Callable[[str], None]) -> None:
        """Accepts connections from now on."""
        acceptor: Any = Acceptor(
            self._listening,
            self._connections,
            lambda since: Connection(self._connections, self, since),
            on_trouble,
        )
        self.servers = [acceptor]
        self.started = True
        self._ticking = asyncio.create_task(self.main_loop())

    async def stop(self) -> None:
        """Answers what is asked now, then closes; what lasts longer than GRACE_S is cut."""
        self.should_exit = True
        if self._ticking is not None:
            await self._ticking
        timer = asyncio.get_running_loop().call_later(GRACE_S, self._connections.cut_all)
        try:
            await self.shutdown(sockets=[self._listening])
        finally:
            timer.cancel()


def listen(host: str, port: int, what: str) -> socket.socket:
    """A listening socket; port 0 takes a free one. what: the option or setting that MachineError names."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio sets TCP_NODELAY only where it is: without, an answer's body
    # waits 40 ms for the client's ACK of its head.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        reason = (error.strerror or str(error)).lower()
        fix = (
            "name an address of this machine"
            if isinstance(error, socket.gaierror)
            else "choose another port, or 0"
        )
        raise MachineError(f"{what}: cannot listen on {host}:{port}: {reason}; {fix}") from error
    return listener


async def serve(
    app: Any,
    listening: socket.socket,
    connections: Connections,
    on_trouble: Callable[[str], None] = ignore_trouble,
) -> HttpServer:
    """Serves an ASGI application on a socket from `listen`. on_trouble: at most one line a second."""
    server = HttpServer(app, listening, connections)
    await server.on_tick(0)  # the first answer has a date, too
    server.begin(on_trouble)
    return server
