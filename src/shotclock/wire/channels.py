"""The client's channel, replaced while calls run when the certificate files change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc

from shotclock.domain.errors import SettingsError
from shotclock.wire import methods
from shotclock.wire.certificate_checks import Purpose
from shotclock.wire.certificates import LiveIdentity
from shotclock.wire.handshakes import explain_handshake
from shotclock.wire.integrity import serialize
from shotclock.wire.tls import (
    KEEPALIVE_MIN_S,
    ClientTls,
    Insecure,
    client_credentials,
    refuse_unless_loopback,
    split_address,
)

CONNECT_S = 10.0
"""How long a new certificate may take to be accepted before the previous one stays."""


@dataclass(frozen=True, slots=True)
class ChannelLimits:
    """Bounds of a client's channel.

    answer_bytes: of one answer (100,000 distinct samples of 133 bits are 14 MB).
    keepalive_s: interval between keepalive pings, seconds, 10 at least.
    reconnect_s: a lost server is tried again after 0.1 s, then more rarely, this late at the latest, seconds.
    use_proxy: whether `http_proxy` and its relatives in the environment reroute the connection.
    """

    answer_bytes: int = 64 * 1024 * 1024
    keepalive_s: float = KEEPALIVE_MIN_S
    reconnect_s: float = 2.0
    use_proxy: bool = False

    def __post_init__(self) -> None:
        if self.keepalive_s < KEEPALIVE_MIN_S:
            raise SettingsError(
                f"keepalive_s {self.keepalive_s:g}: below 10 s a server closes the connection"
            )

    def options(self, server_name: str) -> list[tuple[str, int | str]]:
        """The channel arguments of a client."""
        name_override: list[tuple[str, int | str]] = [("grpc.ssl_target_name_override", server_name)]
        return [
            ("grpc.enable_http_proxy", int(self.use_proxy)),
            ("grpc.enable_retries", 0),  # a paid submit is never repeated by a layer that cannot know
            ("grpc.max_receive_message_length", self.answer_bytes),
            ("grpc.keepalive_time_ms", round(self.keepalive_s * 1000)),
            ("grpc.keepalive_timeout_ms", 5_000),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.max_pings_without_data", 0),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.min_reconnect_backoff_ms", 1_000),
            ("grpc.max_reconnect_backoff_ms", round(self.reconnect_s * 1000)),
            ("grpc.use_local_subchannel_pool", 1),  # a new channel is a new connection
            *(name_override if server_name else []),
        ]


class ChannelLane:
    """One channel with its methods, made once, and the calls on it."""

    def __init__(self, channel: Any) -> None:
        self.channel = channel
        self.unary = {
            method: channel.unary_unary(method, request_serializer=serialize)
            for method in (
                methods.SOLVE,
                methods.SUBMIT_CIRCUIT,
                methods.DECIDED,
                methods.PROBE,
                methods.DESCRIBE_HOST,
                methods.DRAIN,
                methods.RESUME,
                methods.SET_FLAG,
                methods.DESCRIBE,
                methods.START_CANARY,
                methods.ABORT_CANARY,
                methods.REPORT_VALIDATION,
            )
        }
        self.watch = channel.unary_stream(methods.WATCH, request_serializer=serialize)
        self.streams = {
            method: channel.unary_stream(method, request_serializer=serialize)
            for method in (methods.SOLVE_BATCH, methods.SUBMIT_CIRCUITS)
        }
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @contextmanager
    def call(self) -> Iterator[None]:
        """Counts a call in and out."""
        self._in_flight += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._in_flight -= 1
            if self._in_flight == 0:
                self._idle.set()

    async def drain(self) -> None:
        """Closes the channel once its last call has ended; each has a deadline."""
        await self._idle.wait()
        await self.channel.close()


class Channels:
    """New calls go to `lane`, the newest; an older one is closed when its last call has ended.

    A new lane takes over once it is connected: a certificate that the server does not accept changes
    nothing, and no call waits for a handshake. It also takes over before the server would close an old
    connection: a call that sets out at that moment can fail, and grpcio repeats none here. Made by
    `connect`.
    """

    def __init__(self, target: str, make: Callable[[], Any]) -> None:
        self.target = target
        self._make = make
        self._tasks: set[asyncio.Task[None]] = set()
        self._following: asyncio.Task[None] | None = None
        self._live: LiveIdentity | None = None
        self.lane = ChannelLane(make())

    def follow(self, live: LiveIdentity, poll_s: float, renew_s: float) -> None:
        """Looks at the certificate files from now on, and at the lane's age."""
        self._live = live
        self._following = asyncio.create_task(self._follow(live, poll_s, renew_s))

    def explain(self, details: str) -> str:
        """Why no connection came about, from gRPC's words and the own certificate's dates."""
        own = self._live.impediment() if self._live is not None else ""
        return own or explain_handshake(details, secure=self._live is not None)

    async def close(self) -> None:
        """Waits for the calls in flight, then closes."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait((self._following,))
        await asyncio.gather(self.lane.drain(), *self._tasks)

    async def _follow(self, live: LiveIdentity, poll_s: float, renew_s: float) -> None:
        loop = asyncio.get_running_loop()
        in_use, since = live.current, loop.time()
        while True:
            await asyncio.sleep(poll_s)
            await asyncio.to_thread(live.refresh)  # a disk may be slow, and a key takes milliseconds
            identity = live.current
            if identity == in_use and loop.time() - since < renew_s:
                continue
            if await self._renew():
                in_use, since = identity, loop.time()
            elif identity != in_use:
                live.refuse(f"{self.target} accepts no connection with the new certificate")

    async def _renew(self) -> bool:
        channel, ready = self._make(), False
        try:
            async with asyncio.timeout(CONNECT_S):
                await channel.channel_ready()
                ready = True
        except TimeoutError:
            return False
        finally:
            if not ready:
                await channel.close()
        old, self.lane = self.lane, ChannelLane(channel)
        draining = asyncio.create_task(old.drain())
        self._tasks.add(draining)
        draining.add_done_callback(self._tasks.discard)
        return True


def connect(target: str, security: ClientTls | Insecure, limits: ChannelLimits = ChannelLimits()) -> Channels:
    """Channels to HOST:PORT, for the running loop; nothing is waited for, a server may come up later.

    Raises MachineError where a certificate cannot be used, SettingsError where the target is not an
    address or TLS was left out on one that is not loopback.
    """
    split_address(target)
    if isinstance(security, Insecure):
        refuse_unless_loopback(target)
        return Channels(target, lambda: grpc.aio.insecure_channel(target, limits.options("")))
    live = LiveIdentity(security.files, Purpose.CLIENT, now=security.now, on_refused=security.on_refused)
    options = limits.options(security.server_name)
    channels = Channels(
        target, lambda: grpc.aio.secure_channel(target, client_credentials(live.current), options)
    )
    channels.follow(live, security.poll_s, security.renew_s)
    return channels
