"""Mutual TLS for both ends, and the one exception: no TLS on a loopback address, where it was asked for."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import grpc

from shotclock.domain.errors import SettingsError
from shotclock.wire.authorization import Policy
from shotclock.wire.certificates import CertificateIdentity, LiveIdentity, TlsFiles, log_refusal, utc_now

KEEPALIVE_MIN_S = 10.0
"""Clients ping no oftener (gRPC A8); the server's floor lies a little below, since timers jitter."""


@dataclass(frozen=True, slots=True)
class ServerTls:
    """Who the server is, whose clients it takes, and what they may call.

    files: the server's certificate and key, and the authorities that sign its clients'.
    policy: which names may call which method.
    on_refused: receives why new files are not in use.
    now: the wall clock, by which certificates expire.
    """

    files: TlsFiles
    policy: Policy
    on_refused: Callable[[str], None] = log_refusal
    now: Callable[[], datetime] = utc_now


@dataclass(frozen=True, slots=True)
class ClientTls:
    """Who the client is.

    files: the client's certificate and key, and the authorities that sign the server's.
    server_name: what the server's certificate must say; "" is the target's host.
    poll_s: how often the files are checked, seconds.
    renew_s: how old a channel gets, seconds; below the server's `max_connection_age`, whose end can fail a
        call that is just setting out.
    on_refused: receives why new files are not in use.
    now: the wall clock, by which certificates expire.
    """

    files: TlsFiles
    server_name: str = ""
    poll_s: float = 5.0
    renew_s: float = 240.0
    on_refused: Callable[[str], None] = log_refusal
    now: Callable[[], datetime] = utc_now


@dataclass(frozen=True, slots=True)
class Insecure:
    """No TLS and nobody's name: on a loopback address of one host."""


def server_credentials(live: LiveIdentity) -> Any:
    """Credentials that look at the files at each handshake."""

    def fetch() -> Any:
        # None keeps the present ones; gRPC calls this from its threads
        return _configuration(live.current) if live.refresh() else None

    return grpc.dynamic_ssl_server_credentials(
        _configuration(live.current), fetch, require_client_authentication=True
    )


def _configuration(identity: CertificateIdentity) -> Any:
    pair = (identity.private_key, identity.certificate)
    return grpc.ssl_server_certificate_configuration([pair], root_certificates=identity.authorities)


def client_credentials(identity: CertificateIdentity) -> Any:
    """Credentials as the files are now: grpcio has no reload on this side (grpc#41779)."""
    return grpc.ssl_channel_credentials(identity.authorities, identity.private_key, identity.certificate)


def split_address(address: str) -> tuple[str, int]:
    """(host, port) of HOST:PORT; SettingsError where it is neither."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise SettingsError(
            f"{address!r} is not a valid address; write HOST:PORT, as in 127.0.0.1:7443 or [::1]:7443"
        )
    return host.strip("[]"), int(port)


def is_loopback(address: str) -> bool:
    """Whether messages to HOST:PORT stay on this host; SettingsError where it is not a valid address."""
    host, _ = split_address(address)
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def refuse_unless_loopback(address: str) -> None:
    """SettingsError where a message without TLS would leave the host."""
    if not is_loopback(address):
        raise SettingsError(
            f"{address}: no TLS only on a loopback address; use 127.0.0.1, or give certificates"
        )
