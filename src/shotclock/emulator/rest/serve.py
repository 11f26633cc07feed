"""The endpoint behind a socket: uvicorn, with a way to cut a connection."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from shotclock.domain.errors import MachineError
from shotclock.emulator.rest.app import application
from shotclock.emulator.rest.endpoint import Endpoint

# At the end, requests under way have this long; uvicorn's own limit comes after it.
GRACE_S = 1.0


class Connections:
    """The open connections by their peer's address, and the requests under way."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, int], asyncio.Transport] = {}
        self._requests: set[asyncio.Task[Any]] = set()
        self._ended = False

    def application(self, app: ASGIApp) -> ASGIApp:
        """The application, whose requests `cut_all` can end without a traceback."""

        async def serve_request(scope: Scope, receive: Receive, send: Send) -> None:
            task = asyncio.ensure_future(app(scope, receive, send))
            self._requests.add(task)
            task.add_done_callback(self._requests.discard)
            try:
                await task
            except asyncio.CancelledError:
                if not self._ended:
                    raise

        return serve_request

    def cut_all(self) -> None:
        """Ends every connection and request."""
        self._ended = True
        for transport in list(self._open.values()):
            transport.abort()
        for task in list(self._requests):
            task.cancel()

    def protocol(self) -> type[asyncio.Protocol]:
        """Uvicorn's protocol, known to this object."""
        known = self._open

        class Known(H11Protocol):
            def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
                super().connection_made(transport)
                # A client that was gone before its connection was accepted has no address any more.
                if peer := transport.get_extra_info("peername"):
                    known[peer[:2]] = transport

            def connection_lost(self, exc: Exception | None) -> None:
                if peer := self.transport.get_extra_info("peername"):
                    known.pop(peer[:2], None)
                super().connection_lost(exc)

        return Known

    async def cut(self, request: Request) -> None:
        """Ends the request's connection with a reset, whatever was to be sent."""
        client = request.client
        if client is not None and (transport := self._open.get((client.host, client.port))):
            transport.abort()


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises MachineError in one line."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio sets TCP_NODELAY only where it is: without, an answer's body
    # waits 40 ms for the client's ACK of its head.
    taken = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taken.bind((host, port))
        taken.listen(128)
    except OSError as error:
        taken.close()
        reason = (error.strerror or str(error)).lower()
        fix = (
            "name an address of this machine"
            if isinstance(error, socket.gaierror)
            else "take another port, or 0"
        )
        raise MachineError(f"--listen {host}:{port}: {reason}; {fix}") from error
    return taken


class Server(uvicorn.Server):
    """Uvicorn that ends at a signal and does not raise it again; `ready` is called when both work."""

    def __init__(self, config: uvicorn.Config, connections: Connections, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._connections = connections
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begins to serve."""
        await super().startup(sockets)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Ends; what a client still sends or waits for after GRACE_S is cut."""
        timer = asyncio.get_running_loop().call_later(GRACE_S, self._connections.cut_all)
        try:
            await super().shutdown(sockets)
        finally:
            timer.cancel()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """SIGINT and SIGTERM ask for the end."""
        loop = asyncio.get_running_loop()
        for wanted in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(wanted, self.handle_exit, wanted, None)
        yield
        for wanted in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(wanted)


async def serve(endpoint: Endpoint, taken: socket.socket, ready: Callable[[], None]) -> None:
    """Serves until SIGTERM or SIGINT, then ends every job; `ready` is called when clients may come."""
    connections = Connections()
    config: Any = uvicorn.Config(
        connections.application(application(endpoint, connections.cut)),
        http=connections.protocol(),
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=round(GRACE_S) + 2,
    )
    endpoint.begin()
    try:
        await Server(config, connections, ready).serve(sockets=[taken])
    finally:
        await endpoint.end()
