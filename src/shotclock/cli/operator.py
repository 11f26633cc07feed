"""How an operator's commands reach a running orchestrator."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

if TYPE_CHECKING:
    from shotclock.wire.operations import GrpcOperations

T = TypeVar("T")

Target = Annotated[str, typer.Option(help="The orchestrator's gRPC address, HOST:PORT.")]
Certificate = Annotated[Path | None, typer.Option(help="Own certificate, PEM.")]
PrivateKey = Annotated[Path | None, typer.Option(help="Its private key, PEM, readable by you alone.")]
Authorities = Annotated[Path | None, typer.Option(help="Who signed the server's certificate, PEM.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]

HERE = "127.0.0.1:7443"


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

    from shotclock.domain.errors import SettingsError  # noqa: PLC0415
    from shotclock.wire.certificate_checks import Purpose  # noqa: PLC0415
    from shotclock.wire.certificates import TlsFiles, find_notice, utc_now  # noqa: PLC0415
    from shotclock.wire.channels import connect  # noqa: PLC0415
    from shotclock.wire.operations import GrpcOperations  # noqa: PLC0415
    from shotclock.wire.tls import ClientTls, Insecure  # noqa: PLC0415

    if certificate and private_key and authorities:
        files = TlsFiles(certificate, private_key, authorities)
        if notice := find_notice(files, utc_now(), Purpose.CLIENT):
            typer.echo(f"warning: {notice}", err=True)
        security: ClientTls | Insecure = ClientTls(files)
    elif certificate or private_key or authorities:
        raise SettingsError("mutual TLS needs --certificate, --private-key and --authorities together")
    else:
        security = Insecure()

    async def main() -> T:
        operations = GrpcOperations(connect(target, security))
        try:
            return await ask(operations)
        finally:
            await operations.close()

    return asyncio.run(main())
