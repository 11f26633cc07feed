"""The server: ports, keepalive, health and reflection around the service."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from shotclock.domain.errors import MachineError
from shotclock.domain.hosts import Endpoint, HostDescription, HostState
from shotclock.domain.outcome import ClientOutcomes
from shotclock.domain.overview import CertificateDates
from shotclock.domain.ports import Dispatcher, Operations, Rollout
from shotclock.domain.recorders import DamagedMessage
from shotclock.domain.status import Phase
from shotclock.wire.authorization import Authorization, present_names
from shotclock.wire.certificate_checks import NEW_KEY, Purpose
from shotclock.wire.certificates import LiveIdentity
from shotclock.wire.methods import SERVICE
from shotclock.wire.rollout import NO_ROLLOUT
from shotclock.wire.service import (
    Service,
    describe_no_host,
    ignore_damage,
    ignore_report,
    name_nobody,
    read_no_host,
)
from shotclock.wire.service_limits import DEFAULT_LIMITS, ServiceLimits
from shotclock.wire.tls import (
    KEEPALIVE_MIN_S,
    Insecure,
    ServerTls,
    refuse_unless_loopback,
    server_credentials,
    split_address,
)

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING

NOBODY_MAY_CALL = (
    "nobody may call: serve.trainers and serve.operators are empty; "
    "list names of the callers' certificates and restart"
)


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Lifetime and keepalive of connections.

    max_age_s: a connection older than this is closed, seconds. It bounds how long a replaced certificate
        stays in use by a client that does not renew its connection by itself, as ours does.
    grace_s: extra time for calls in flight on a closing connection, seconds.
    keepalive_s: interval between keepalive pings, seconds.
    look_s: interval between checks of the certificate files, seconds.
    connections: most open connections, including those in their handshake.
    handshake_s: time limit of a handshake, seconds.
    """

    max_age_s: float = 600.0
    grace_s: float = 600.0
    keepalive_s: float = 30.0
    look_s: float = 5.0
    connections: int = 512
    handshake_s: float = 5.0


def options(
    limits: ServiceLimits, connections: ConnectionLimits, secure: bool = True
) -> list[tuple[str, int]]:
    """The server's channel arguments; without certificates, connections have no maximum age."""
    aging = [
        ("grpc.max_connection_age_ms", _ms(connections.max_age_s)),
        ("grpc.max_connection_age_grace_ms", _ms(connections.grace_s)),
    ]
    return [
        *(aging if secure else []),
        ("grpc.max_allowed_incoming_connections", connections.connections),
        ("grpc.server_handshake_timeout_ms", _ms(connections.handshake_s)),
        (
            "grpc.max_receive_message_length",
            max(limits.circuit_bytes, limits.subproblem_bytes, limits.batch_bytes) + 4096,
        ),
        # Above the service's own limit, so that excess calls are shed instead of waiting inside gRPC.
        ("grpc.max_concurrent_streams", 2 * limits.concurrent_calls),
        ("grpc.so_reuseport", 0),  # a port in use is an error: two servers must not share its calls
        ("grpc.keepalive_time_ms", _ms(connections.keepalive_s)),
        ("grpc.keepalive_timeout_ms", _ms(KEEPALIVE_MIN_S)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", _ms(0.9 * KEEPALIVE_MIN_S)),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", _ms(0.9 * KEEPALIVE_MIN_S)),
    ]


class Server:
    """A running server on `port`, created by `serve`.

    impediments: why no client can connect or call (an expired certificate, nobody authorised), if so.
    """

    def __init__(
        self,
        grpc_server: Any,
        port: int,
        service: Service,
        health_of: Any,
        live: LiveIdentity | None,
        impediments: Callable[[], tuple[str, ...]],
        tasks: tuple[asyncio.Task[None], ...],
    ) -> None:
        self.port = port
        self.impediments = impediments
        self._server = grpc_server
        self._service = service
        self._health = health_of
        self._live = live
        self._tasks = tasks

    def warnings(self) -> tuple[str, ...]:
        """What needs attention soon: a certificate about to expire."""
        return _warnings(self._live)

    def certificate(self) -> CertificateDates | None:
        """The dates of the certificate in use; None without TLS."""
        return self._live.dates if self._live is not None else None

    async def stop(self, grace_s: float) -> None:
        """Accepts no more calls; calls in flight have grace_s to end."""
        for task in self._tasks:
            task.cancel()
        await self._health.enter_graceful_shutdown()
        self._service.end_streams()
        await self._server.stop(grace_s)


async def serve(
    dispatcher: Dispatcher,
    operations: Operations,
    listen: str,
    security: ServerTls | Insecure,
    limits: ServiceLimits = DEFAULT_LIMITS,
    connections: ConnectionLimits = ConnectionLimits(),
    on_report: Callable[[ClientOutcomes, str], None] = ignore_report,
    rollout: Rollout = NO_ROLLOUT,
    document: Callable[[], str] = str,
    *,
    traced: bool = False,
    read_host: Callable[[], tuple[HostState, Endpoint]] = read_no_host,
    on_damage: Callable[[DamagedMessage, str], None] = ignore_damage,
    describe_host: Callable[[], HostDescription] = describe_no_host,
) -> Server:
    """Serves a dispatcher and its operations on one address, HOST:PORT; port 0 selects a free port.

    on_report: called with the calls that a client ended by itself, and the client's name.
    rollout: makes the changes of flags that operators request.
    traced: whether the dispatcher gets the traces that callers say their calls are part of.
    read_host: the state of this host, and the endpoint of its QPU, for callers that choose among hosts.
    on_damage: called with each kind of message that did not match its checksum, and its caller.
    describe_host: the accelerators and fabrics of this host.
    document: the JSON document of the status page, "" without one.

    Raises MachineError if the port is in use or a certificate cannot be used, SettingsError if the address
    is invalid, or is not loopback and TLS is off.
    """
    split_address(listen)
    secure = isinstance(security, ServerTls)
    guards = (Authorization(security.policy),) if isinstance(security, ServerTls) else ()
    server = grpc.aio.server(interceptors=guards, options=options(limits, connections, secure))
    live = _identity(security)
    port = _bind(server, listen, security, live)
    service = Service(
        dispatcher,
        operations,
        limits,
        lambda: _warnings(live),
        _namer(security),
        on_report,
        rollout,
        document,
        traced=traced,
        read_host=read_host,
        on_damage=on_damage,
        describe_host=describe_host,
    )
    health_of = health.aio.HealthServicer()
    await health_of.set(SERVICE, NOT_SERVING)
    server.add_generic_rpc_handlers((service.handlers(),))
    health_pb2_grpc.add_HealthServicer_to_server(health_of, server)
    reflection.enable_server_reflection((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    await server.start()
    impediments = partial(_impediments, live, security)
    following = asyncio.create_task(_follow(operations, impediments, health_of, limits.watch_interval_s))
    looking = [asyncio.create_task(_look_at_files(live, connections.look_s))] if live is not None else []
    return Server(server, port, service, health_of, live, impediments, (following, *looking))


def _namer(security: ServerTls | Insecure) -> Callable[[str, Any], str]:
    if isinstance(security, Insecure):
        return name_nobody
    policy = security.policy
    return lambda method, _: policy.caller(method, present_names.get())


def _identity(security: ServerTls | Insecure) -> LiveIdentity | None:
    if isinstance(security, Insecure):
        return None
    return LiveIdentity(security.files, Purpose.SERVER, now=security.now, on_refused=security.on_refused)


def _impediments(live: LiveIdentity | None, security: ServerTls | Insecure) -> tuple[str, ...]:
    expired = live.impediment() if live is not None else ""
    closed_to_all = isinstance(security, ServerTls) and not security.policy.has_callers()
    return tuple(filter(None, (expired, NOBODY_MAY_CALL if closed_to_all else "")))


def _warnings(live: LiveIdentity | None) -> tuple[str, ...]:
    notice = live.notice() if live is not None else ""
    return (notice,) if notice else ()


def _bind(server: Any, listen: str, security: ServerTls | Insecure, live: LiveIdentity | None) -> int:
    try:
        if live is None:
            refuse_unless_loopback(listen)
            port: int = server.add_insecure_port(listen)
        else:
            port = server.add_secure_port(listen, server_credentials(live))
    except RuntimeError as error:
        raise _why_unbound(listen, security) from error
    if port == 0:
        raise _why_unbound(listen, security)
    return port


def _why_unbound(listen: str, security: ServerTls | Insecure) -> MachineError:
    """gRPC raises the same error for an unusable address and an unusable certificate: try the address."""
    refusal = MachineError(
        f"{listen}: cannot listen there; is the port in use, or the address another host's?"
    )
    if isinstance(security, Insecure):
        return refusal
    try:
        with socket.create_server(split_address(listen), family=_family(listen)):
            pass
    except OSError:
        return refusal
    files = security.files
    return MachineError(
        f"{files.certificate}: gRPC cannot use it with {files.private_key} and {files.authorities}; {NEW_KEY}"
    )


def _family(listen: str) -> socket.AddressFamily:
    return socket.AF_INET6 if listen.startswith("[") else socket.AF_INET


async def _look_at_files(live: LiveIdentity, every_s: float) -> None:
    """Reloads changed files even without a handshake, so that errors and readiness are current."""
    while True:
        await asyncio.sleep(every_s)
        await asyncio.to_thread(live.refresh)


async def _follow(
    operations: Operations, impediments: Callable[[], tuple[str, ...]], health_of: Any, interval_s: float
) -> None:
    """Health says SERVING while the orchestrator is ready and clients can connect and call."""
    reported = NOT_SERVING
    while True:
        ready = operations.status().phase is Phase.READY and not impediments()
        now = SERVING if ready else NOT_SERVING
        if now != reported:
            await health_of.set(SERVICE, now)
            reported = now
        await asyncio.sleep(interval_s)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
