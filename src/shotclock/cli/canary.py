"""`shotclock canary`: puts a share of a running service's calls on the QPU, and judges it."""

from __future__ import annotations

import json as json_text
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from shotclock.cli.exit_codes import INCONCLUSIVE, THRESHOLD_FAILED
from shotclock.cli.operator import HERE, Authorities, Certificate, Json, PrivateKey, Target, ask_operator
from shotclock.domain.canary import CanaryGroup, CanaryPhase, CanaryReport, CanaryRequest
from shotclock.domain.plural import count

if TYPE_CHECKING:
    from shotclock.wire.operations import GrpcOperations

canary = typer.Typer(help="A share of the calls on the QPU, compared with the others.", no_args_is_help=True)


class _OnPass(StrEnum):
    PROMOTE = "promote"
    KEEP = "keep"


@canary.callback()
def _root() -> None:
    """Takes the verb."""


@canary.command("start")
def start_canary(
    *,
    share: Annotated[int, typer.Option(min=1, max=99, help="Percentage of the calls on the QPU.")],
    on_pass: Annotated[
        _OnPass, typer.Option(help="After a good verdict: promote to every call, or keep the share.")
    ] = _OnPass.PROMOTE,
    slow_ms: Annotated[
        float | None,
        typer.Option(min=0.001, help="A call is slow if it takes longer (default: quantum.budget_ms)."),
    ] = None,
    minimum: Annotated[
        int, typer.Option(min=2, max=10**9, help="Calls of each side before anything is decided.")
    ] = 500,
    alpha: Annotated[float, typer.Option(help="The probability of each wrong verdict.")] = 0.01,
    miss_margin: Annotated[float, typer.Option(help="As many more deadline misses pass, as a share.")] = 0.01,
    slow_margin: Annotated[float, typer.Option(help="As many more slow calls pass, as a share.")] = 0.05,
    validation_margin: Annotated[
        float, typer.Option(help="So much of the validation metric passes, in its unit.")
    ] = 0.01,
    target: Target = HERE,
    certificate: Certificate = None,
    private_key: PrivateKey = None,
    authorities: Authorities = None,
    json: Json = False,
) -> None:
    """Start a canary; it is rolled back or promoted by itself."""
    request = CanaryRequest(
        share, on_pass.value, slow_ms, minimum, alpha, miss_margin, slow_margin, validation_margin
    )

    async def ask(operations: GrpcOperations) -> None:
        _show((await operations.start_canary(request)).canary, json=json)

    ask_operator(target, certificate, private_key, authorities, ask)


@canary.command("status")
def show_status(
    *,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 5 while nothing is decided.")] = False,
    target: Target = HERE,
    certificate: Certificate = None,
    private_key: PrivateKey = None,
    authorities: Authorities = None,
    json: Json = False,
) -> None:
    """Show the canary that runs, or the last one.

    Exit codes: 0 promoted, passed, aborted or running; 5 running, under --strict; 99 rolled back.
    """

    async def ask(operations: GrpcOperations) -> CanaryReport:
        return (await operations.status()).canary

    report = ask_operator(target, certificate, private_key, authorities, ask)
    _show(report, json=json)
    if report.phase is CanaryPhase.ROLLED_BACK:
        raise typer.Exit(THRESHOLD_FAILED)
    if strict and report.phase is CanaryPhase.RUNNING:
        raise typer.Exit(INCONCLUSIVE)


@canary.command("abort")
def abort_canary(
    *,
    target: Target = HERE,
    certificate: Certificate = None,
    private_key: PrivateKey = None,
    authorities: Authorities = None,
    json: Json = False,
) -> None:
    """End the canary; the share is what it was before."""

    async def ask(operations: GrpcOperations) -> None:
        _show((await operations.abort_canary()).canary, json=json)

    ask_operator(target, certificate, private_key, authorities, ask)


def _show(report: CanaryReport, *, json: bool) -> None:
    if json:
        typer.echo(json_text.dumps(asdict(report)))
        return
    for line in describe_canary(report):
        typer.echo(line)


def describe_canary(report: CanaryReport) -> list[str]:
    """What became of it, the two sides, and each measure."""
    if report.phase is CanaryPhase.NONE:
        return ["no canary"]
    lines = [_headline(report)]
    for name, group in (("canary", report.canary), ("control", report.control)):
        lines.append(f"  {name:<8} {_describe_group(group)}")
    for measure in report.measures:
        low, high = ("unknown" if bound is None else f"{bound:+.4f}" for bound in (measure.low, measure.high))
        name = measure.measure.replace("_", " ")
        lines.append(f"  {name}: canary minus control {low} to {high}, passes up to {measure.margin:+g}")
    return lines


def _headline(report: CanaryReport) -> str:
    phase = report.phase.replace("_", " ")
    line = f"canary of {report.share} % (before: {report.previous}), started by {report.caller}: {phase}"
    if report.reason:
        line += f", {report.reason}"
    if report.phase is not CanaryPhase.RUNNING:
        return line
    if report.needed:
        return f"{line}; inconclusive, about {count(report.needed, 'more call')} of the canary needed"
    return f"{line}; inconclusive, more calls are not expected to decide" if report.verdict else line


def _describe_group(group: CanaryGroup) -> str:
    p95 = "too few calls for a p95" if group.p95_ms is None else f"p95 at most {group.p95_ms:.3g} ms"
    parts = [
        count(group.calls, "call"),
        f"{group.missed} missed",
        f"{group.slow} slow",
        f"{group.sampled} with samples",
        p95,
    ]
    if group.validation_mean is not None:
        parts.append(f"validation {group.validation_mean:.6g} of {count(group.validation_values, 'value')}")
    return ", ".join(parts)
