"""`shotclock drain`, `resume` and `status`: operate a running orchestrator."""

from __future__ import annotations

import json as json_text
import os
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from shotclock.bench.numbers import ms
from shotclock.domain.plural import count

if TYPE_CHECKING:
    from shotclock.wire.operations import GrpcOperations

T = TypeVar("T")

Target = Annotated[str, typer.Option(help="The orchestrator's gRPC address, HOST:PORT.")]
Certificate = Annotated[Path | None, typer.Option(help="Own certificate, PEM.")]
PrivateKey = Annotated[Path | None, typer.Option(help="Its private key, PEM, readable by you alone.")]
Authorities = Annotated[Path | None, typer.Option(help="Who signed the server's certificate, PEM.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]

HERE = "127.0.0.1:7443"
LONGEST_DRAIN_S = 86_400


def drain(
    *,
    target: Target = HERE,
    budget: Annotated[
        float, typer.Option(min=0, max=LONGEST_DRAIN_S, help="Seconds until calls are handed back.")
    ] = 30,
    certificate: Certificate = None,
    private_key: PrivateKey = None,
    authorities: Authorities = None,
    json: Json = False,
) -> None:
    """Let a running orchestrator finish its calls and take no new ones."""

    async def ask(operations: GrpcOperations) -> None:
        drained = await operations.drain(round(budget * 1e9))
        if json:
            typer.echo(json_text.dumps(asdict(drained)))
        else:
            typer.echo(
                f"drained: {count(drained.finished, 'call')} finished, {drained.handed_back} handed back"
            )

    _with(target, certificate, private_key, authorities, ask)


def resume(
    *,
    target: Target = HERE,
    certificate: Certificate = None,
    private_key: PrivateKey = None,
    authorities: Authorities = None,
    json: Json = False,
) -> None:
    """Let a drained orchestrator take calls again."""

    async def ask(operations: GrpcOperations) -> None:
        status = await operations.resume()
        typer.echo(json_text.dumps(asdict(status)) if json else f"{target} is {status.phase}")

    _with(target, certificate, private_key, authorities, ask)


def status(
    *,
    target: Target = HERE,
    certificate: Certificate = None,
    private_key: PrivateKey = None,
    authorities: Authorities = None,
    json: Json = False,
) -> None:
    """Show the state of a running orchestrator."""

    async def ask(operations: GrpcOperations) -> None:
        report = await operations.status()
        for warning in report.warnings:
            typer.echo(f"warning: {target}: {warning}", err=True)
        if json:
            typer.echo(json_text.dumps(asdict(report)))
            return
        emulated = " (EMULATED)" if report.emulated else ""
        typer.echo(
            f"{target} is {report.phase}: {report.provider} provider{emulated}, breaker {report.breaker}, "
            f"{report.waiting} waiting, {report.running} of {report.lanes_limit} lanes busy, "
            f"service p95 {ms(report.service_p95_s * 1e3)} ms, "
            f"{report.finished} of {count(report.accepted, 'call')} finished"
        )

    _with(target, certificate, private_key, authorities, ask)


def _with(
    target: str,
    certificate: Path | None,
    private_key: Path | None,
    authorities: Path | None,
    ask: Callable[[GrpcOperations], Awaitable[T]],
) -> T:
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
