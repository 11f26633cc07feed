"""The open connections of an HTTP server: so many, each within its time."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

Reason = Literal["connections", "header", "idle", "answer", "descriptors"]
"""The limit for which a connection was closed."""


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """What connections may take.

    connections: open at once; one more takes the place of the one that waits the longest for a request.
    header_s: from the connection to the end of its first request's headers.
    idle_s: from an answer to the end of the next request's headers.
    answer_s: from a request's headers to the end of its answer, the time the client takes included.
    accepts_per_s: new connections a second, after a burst of as many as the kernel's backlog holds.
    """

    connections: int = 64
    header_s: float = 10.0
    idle_s: float = 30.0
    answer_s: float = 30.0
    accepts_per_s: float = 200.0


def ignore_closed(reason: Reason) -> None:
    """Where nobody counts the connections that a limit closed."""


class Connections:
    """The open connections and the requests under way. on_closed: called with the limit that closed one."""

    def __init__(self, limits: HttpLimits, on_closed: Callable[[Reason], None] = ignore_closed) -> None:
        self.limits = limits
        self.on_closed = on_closed
        self._open: set[Connection | SilentConnection] = set()
        self._requests: set[asyncio.Task[Any]] = set()
        self._ended = False

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[Connection | SilentConnection]:
        return iter(list(self._open))

    def make_room(self) -> bool:
        """Whether one more may come in; the one that has waited the longest for a request goes for it."""
        if len(self._open) < self.limits.connections:
            return True
        waiting = [connection for connection in self._open if not connection.is_answering]
        if waiting:
            min(waiting, key=lambda connection: connection.since).end("connections")
        else:
            self.on_closed("connections")
        return bool(waiting)

    def add(self, connection: Connection | SilentConnection) -> None:
        """Counts it in."""
        self._open.add(connection)

    def discard(self, connection: Connection | SilentConnection) -> None:
        """Counts it out."""
        self._open.discard(connection)

    def track(self, app: Any) -> Any:
        """The ASGI application, whose requests `cut_all` can end without a traceback."""

        async def serve_request(scope: Any, receive: Any, send: Any) -> None:
            task = asyncio.ensure_future(app(scope, receive, send))
            self._requests.add(task)
            task.add_done_callback(self._requests.discard)
            try:
                await task
            except asyncio.CancelledError:
                if not self._ended:
                    raise

        return serve_request

    def cut(self, host: str, port: int) -> None:
        """Ends the connection of this peer with a reset, whatever was to be sent."""
        for connection in self:
            if isinstance(connection, Connection) and connection.client == (host, port):
                connection.transport.abort()

    def cut_all(self) -> None:
        """Ends every connection and request."""
        self._ended = True
        for connection in list(self._open):
            connection.abort()
        for task in list(self._requests):
            task.cancel()


class SilentConnection:
    """A connection that has sent nothing yet: a socket and a timer, which cost little.

    begin: called with this connection's socket and the instant of its connection when its first bytes are
        there.
    """

    is_answering = False

    def __init__(
        self, connections: Connections, accepted: socket.socket, begin: Callable[[socket.socket, float], None]
    ) -> None:
        self._table = connections
        self._socket = accepted
        self._begin = begin
        self._loop = asyncio.get_running_loop()
        self.since = self._loop.time()
        self._timer = self._loop.call_later(connections.limits.header_s, self.end, "header")
        # By number: where it is not registered yet, selectors write the socket's description into an error.
        self._number = accepted.fileno()
        self._loop.add_reader(self._number, self._hand_over)

    def end(self, reason: Reason) -> None:
        """Closes the connection for a limit."""
        self._table.on_closed(reason)
        self.abort()

    def abort(self) -> None:
        """Closes it at once."""
        self._stop()
        self._socket.close()

    def _hand_over(self) -> None:
        self._stop()
        self._begin(self._socket, self.since)

    def _stop(self) -> None:
        self._timer.cancel()
        self._loop.remove_reader(self._number)
        self._table.discard(self)


class Connection(H11Protocol):
    """Uvicorn's protocol with a deadline for whatever the connection waits for. since: its beginning."""

    def __init__(self, connections: Connections, server: uvicorn.Server, since: float) -> None:
        super().__init__(server.config, server.server_state, server.lifespan.state)
        self._table = connections
        self._timer: asyncio.TimerHandle | None = None
        self._is_over = False
        self.since = since

    @property
    def is_answering(self) -> bool:
        """Whether a request's headers are complete and its answer is not."""
        return self.cycle is not None and not self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Waits for the first request."""
        super().connection_made(transport)
        if self._is_over:
            transport.abort()
        else:
            self._start_timer("header", self.since + self._table.limits.header_s - self.loop.time())

    def handle_events(self) -> None:
        """Waits for the answer from the moment a request's headers are complete."""
        before = self.cycle
        super().handle_events()
        if self.cycle is not before:
            self._restart_for_state()

    def on_response_complete(self) -> None:
        """Waits for the next request."""
        super().on_response_complete()
        self._restart_for_state()

    def connection_lost(self, exc: Exception | None) -> None:
        """Is counted no longer."""
        self._stop_timer()
        self._table.discard(self)
        super().connection_lost(exc)

    def end(self, reason: Reason) -> None:
        """Closes the connection for a limit."""
        self._table.on_closed(reason)
        self.abort()

    def abort(self) -> None:
        """Closes it at once, also one that is still being set up."""
        self._is_over = True
        self._stop_timer()
        self._table.discard(self)
        if self.transport is not None:
            self.transport.abort()

    def _restart_for_state(self) -> None:
        limits = self._table.limits
        if self.is_answering:
            self._restart("answer", limits.answer_s)
        else:
            self._restart("idle", limits.idle_s)

    def _restart(self, reason: Reason, limit_s: float) -> None:
        self.since = self.loop.time()
        self._start_timer(reason, limit_s)

    def _start_timer(self, reason: Reason, limit_s: float) -> None:
        self._stop_timer()
        if not self._is_over and not self.transport.is_closing():
            self._timer = self.loop.call_later(limit_s, self.end, reason)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
