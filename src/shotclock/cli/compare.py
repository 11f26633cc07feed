"""`shotclock compare`: the gate between two sets of runs."""

from __future__ import annotations

import json as json_text
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from shotclock.cli.exit_codes import INCONCLUSIVE, THRESHOLD_FAILED

if TYPE_CHECKING:
    from shotclock.bench.compare.gate import Comparison

Format = Literal["text", "json", "markdown", "junit"]


def compare(
    a: Annotated[
        Path, typer.Argument(metavar="A", help="The baseline: a run folder, or a folder of run folders.")
    ],
    b: Annotated[Path, typer.Argument(metavar="B", help="The change, likewise.")],
    *,
    metric: Annotated[
        list[str] | None,
        typer.Option(help="PATTERN=LIMIT, how much worse it may get: '*.added_latency.software.p50=5%'."),
    ] = None,
    despite: Annotated[
        list[str] | None, typer.Option(help="A fact in which A and B may differ: cpu, torch, rate …")
    ] = None,
    sequential: Annotated[
        bool, typer.Option("--sequential", help="Judge runs that were not made in turns.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="An inconclusive metric exits 5.")] = False,
    format: Annotated[  # noqa: A002 - the flag's name
        Format, typer.Option("--format", help="junit and markdown are for CI.")
    ] = "text",
    json: Annotated[bool, typer.Option("--json", help="As --format json.")] = False,
) -> None:
    """Show each metric as A → B (change), then judge it: PASS, FAIL, or INCONCLUSIVE with the pairs missing.

    Without --metric: the software's part of latencies (p50 5 %, p99 10 % slower), shares (0.01 lower).
    `shotclock pairs` makes the pairs. Exit codes: 0 pass or inconclusive, 2 usage or results that don't
    compare, 5 inconclusive under --strict, 99 a metric failed.
    """
    from shotclock.bench.compare import gate  # noqa: PLC0415 - `--help` must not wait for it
    from shotclock.bench.compare.units import read_units  # noqa: PLC0415
    from shotclock.domain.documents import refuse_contradictions  # noqa: PLC0415

    limits = [gate.MetricLimit.parse(text) for text in metric or ()]
    with refuse_contradictions(a):
        baseline = read_units(a)
    with refuse_contradictions(b):
        comparison = gate.compare(
            baseline, read_units(b), limits, despite=tuple(despite or ()), sequential=sequential
        )
    write(comparison, choose_format(format, json=json), strict=strict)
    raise typer.Exit(exit_code(comparison, strict))


def choose_format(requested: Format, *, json: bool) -> Format:
    """--json is --format json; SettingsError where both are given and differ."""
    from shotclock.domain.errors import SettingsError  # noqa: PLC0415

    if json and requested not in ("text", "json"):
        raise SettingsError(f"--json: is --format json; leave it out, or --format {requested}")
    return "json" if json else requested


def write(comparison: Comparison, format: Format, *, strict: bool) -> None:  # noqa: A002 - as the flag
    """The comparison on stdout; where it fails the command, the reason and the code on stderr, last."""
    from rich.console import Console  # noqa: PLC0415

    from shotclock.bench.report.compare.junit import junit  # noqa: PLC0415
    from shotclock.bench.report.compare.table import show_comparison, to_markdown, verdict  # noqa: PLC0415

    match format:
        case "json":
            typer.echo(json_text.dumps(as_json(comparison), indent=2))
        case "markdown":
            typer.echo(to_markdown(comparison), nl=False)
        case "junit":
            typer.echo(junit(comparison, strict=strict), nl=False)
        case "text":
            show_comparison(comparison, Console())
    if code := exit_code(comparison, strict):
        typer.echo(f"shotclock: {verdict(comparison)}; exit code {code}", err=True)


def exit_code(comparison: Comparison, strict: bool) -> int:
    """See `compare`."""
    from shotclock.bench.schema import Result  # noqa: PLC0415

    if comparison.result is Result.FAIL:
        return THRESHOLD_FAILED
    return INCONCLUSIVE if strict and comparison.result is Result.INCONCLUSIVE else 0


def as_json(comparison: Comparison) -> dict[str, object]:
    """Schema 1. a, b: ms of a latency, else a share. change, low, high: how much worse B is, as a share of A

    or, for shares, a difference. pairs_needed: null where more pairs do not help.
    """
    return {
        "schema": 1,
        "a": comparison.a,
        "b": comparison.b,
        "result": comparison.result,
        "pairs": comparison.pairs,
        "unpaired": comparison.unpaired,
        "interleaved": comparison.interleaved,
        "pairs_missing": comparison.missing,
        "caveat": comparison.caveat,
        "metrics": {
            decision.rule.metric: {
                "result": decision.result,
                "direction": decision.rule.direction,
                "scale": decision.rule.scale,
                "limit": decision.rule.limit,
                "a": decision.levels.a,
                "b": decision.levels.b,
                "change": decision.change.value if decision.change else None,
                "low": decision.change.low if decision.change else None,
                "high": decision.change.high if decision.change else None,
                "pairs": decision.pairs,
                "pairs_needed": None if decision.has_few_calls else decision.needed,
                "why": decision.why,
            }
            for decision in comparison.decisions
        },
    }
