"""`shotclock drain`, `resume` and `status`: operate a running orchestrator."""

from __future__ import annotations

import json as json_text
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from shotclock.bench.numbers import ms
from shotclock.cli.operator import HERE, Authorities, Certificate, Json, PrivateKey, Target, ask_operator
from shotclock.domain.plural import count

if TYPE_CHECKING:
    from shotclock.domain.flags import FlagReport
    from shotclock.wire.operations import GrpcOperations

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

    ask_operator(target, certificate, private_key, authorities, ask)


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

    ask_operator(target, certificate, private_key, authorities, ask)


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
        from shotclock.domain.overview import Overview  # noqa: PLC0415 - `--help` must not wait for them
        from shotclock.telemetry.text import show_text  # noqa: PLC0415

        report = await operations.describe()
        for warning in report.warnings:
            typer.echo(f"warning: {target}: {warning}", err=True)
        if json:
            typer.echo(json_text.dumps(asdict(report)))
            return
        if isinstance(report, Overview):
            typer.echo(show_text(report, target), nl=False)
            return
        emulated = " (EMULATED)" if report.emulated else ""
        typer.echo(
            f"{target} is {report.phase}: {report.provider} provider{emulated}, breaker {report.breaker}, "
            f"{report.waiting} waiting, {report.running} of {report.lanes_limit} lanes busy, "
            f"service p95 {ms(report.service_p95_s * 1e3)} ms, "
            f"{report.finished} of {count(report.accepted, 'call')} finished"
        )
        typer.echo(f"flags: {describe_flags(report.flags)}")

    ask_operator(target, certificate, private_key, authorities, ask)


def describe_flags(report: FlagReport) -> str:
    """The flags that keep calls from the QPU or bound them, and the state of their source; one line."""
    from shotclock.domain.flags import FlagState  # noqa: PLC0415 - `--help` must not wait for it

    if report.state is FlagState.NONE:
        return "no flags, every call may use the QPU"
    changed = [
        f"{flag} {setting}" for flag, setting in report.settings.items() if setting not in {"on", "any"}
    ]
    settings = ", ".join(changed) or "every call may use the QPU"
    if not report.reason:
        return f"{settings} ({report.state})"
    return f"{settings} ({report.state}, read {report.age_s:.0f} s ago: {report.reason})"
