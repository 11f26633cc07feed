"""How an operator's commands reach a running orchestrator."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

if TYPE_CHECKING:
    from shotclock.wire.operations import GrpcOperations
    from shotclock.wire.tls import ClientTls, Insecure

T = TypeVar("T")

Target = Annotated[str, typer.Option(help="The orchestrator's gRPC address, HOST:PORT.")]
Certificate = Annotated[Path | None, typer.Option(help="Own certificate, PEM.")]
PrivateKey = Annotated[Path | None, typer.Option(help="Its private key, PEM, readable by you alone.")]
Authorities = Annotated[Path | None, typer.Option(help="Who signed the server's certificate, PEM.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]

HERE = "127.0.0.1:7443"


def read_security(
    certificate: Path | None, private_key: Path | None, authorities: Path | None
) -> ClientTls | Insecure:
    """Mutual TLS with these files, or none without any. Raises SettingsError."""
    from shotclock.domain.errors import SettingsError  # noqa: PLC0415 - `--help` must not wait for them
    from shotclock.wire.certificates import TlsFiles  # noqa: PLC0415
    from shotclock.wire.tls import ClientTls, Insecure  # noqa: PLC0415

    if certificate and private_key and authorities:
        return ClientTls(TlsFiles(certificate, private_key, authorities))
    if certificate or private_key or authorities:
        raise SettingsError("mutual TLS needs --certificate, --private-key and --authorities together")
    return Insecure()


def split_hosts(hosts: str) -> tuple[str, ...]:
    """HOST:PORT of each, from --hosts. Raises SettingsError."""
    from shotclock.domain.errors import SettingsError  # noqa: PLC0415 - as above

    targets = tuple(host.strip() for host in hosts.split(",") if host.strip())
    if not targets:
        raise SettingsError(f"--hosts: must name at least one HOST:PORT (got {hosts!r})")
    return targets


def ask_operator(
    target: str,
    certificate: Path | None,
    private_key: Path | None,
    authorities: Path | None,
    ask: Callable[[GrpcOperations], Awaitable[T]],
) -> T:
    """What `ask` returns of the orchestrator there. Raises SettingsError, MachineError."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its core writes to stderr by itself; see `serve`
    import asyncio  # noqa: PLC0415 - `--help` must not wait for them

    from shotclock.wire.certificate_checks import Purpose  # noqa: PLC0415
    from shotclock.wire.certificates import find_notice, utc_now  # noqa: PLC0415
    from shotclock.wire.channels import connect  # noqa: PLC0415
    from shotclock.wire.operations import GrpcOperations  # noqa: PLC0415
    from shotclock.wire.tls import ClientTls  # noqa: PLC0415

    security = read_security(certificate, private_key, authorities)
    if isinstance(security, ClientTls) and (notice := find_notice(security.files, utc_now(), Purpose.CLIENT)):
        typer.echo(f"warning: {notice}", err=True)

    async def main() -> T:
        operations = GrpcOperations(connect(target, security))
        try:
            return await ask(operations)
        finally:
            await operations.close()

    return asyncio.run(main())
