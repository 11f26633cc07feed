"""`shotclock compare`: the gate between two sets of runs."""

from __future__ import annotations

import json as json_text
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shotclock.cli.exit_codes import INCONCLUSIVE, THRESHOLD_FAILED

if TYPE_CHECKING:
    from rich.console import Console

    from shotclock.bench.compare.gate import Comparison


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
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Hold B against A, pair by pair: PASS, FAIL, or INCONCLUSIVE with the pairs that would settle it.

    Without --metric: the software's part of latencies (p50 5 %, p99 10 % slower), shares (0.01 lower).
    Exit codes: 0 pass or unsettled, 2 usage or results that don't compare, 5 unsettled under --strict,
    99 a metric failed.
    """
    from rich.console import Console  # noqa: PLC0415 - `--help` must not wait for it

    from shotclock.bench.compare import gate  # noqa: PLC0415
    from shotclock.bench.compare.units import read_units  # noqa: PLC0415

    wanted = [gate.Wanted.parse(text) for text in metric or ()]
    found = gate.compare(
        read_units(a), read_units(b), wanted, despite=tuple(despite or ()), sequential=sequential
    )
    if json:
        typer.echo(json_text.dumps(as_json(found), indent=2))
    else:
        _show(found, Console())
    raise typer.Exit(exit_code(found, strict))


def exit_code(found: Comparison, strict: bool) -> int:
    """See `compare`."""
    from shotclock.bench.schema import Result  # noqa: PLC0415

    if found.result is Result.FAIL:
        return THRESHOLD_FAILED
    return INCONCLUSIVE if strict and found.result is Result.INCONCLUSIVE else 0


def as_json(found: Comparison) -> dict[str, object]:
    """Schema 1. change, low, high: how much worse B is, as a share of A or, for shares, a difference."""
    return {
        "schema": 1,
        "a": found.a,
        "b": found.b,
        "result": found.result,
        "pairs": found.pairs,
        "unpaired": found.unpaired,
        "interleaved": found.interleaved,
        "caveat": found.caveat,
        "metrics": {
            one.rule.metric: {
                "result": one.result,
                "direction": one.rule.direction,
                "scale": one.rule.scale,
                "limit": one.rule.limit,
                "change": one.change.value if one.change else None,
                "low": one.change.low if one.change else None,
                "high": one.change.high if one.change else None,
                "pairs": one.pairs,
                "pairs_needed": one.needed,
                "why": one.why,
            }
            for one in found.decisions
        },
    }


def _show(found: Comparison, console: Console) -> None:
    from rich.padding import Padding  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    from shotclock.bench.report.words import STYLES, SYMBOLS  # noqa: PLC0415

    console.print(Text(f"A {found.a}\nB {found.b}", style="dim"), highlight=False)
    console.print("how much worse is B?", style="dim")
    for one in found.decisions:
        line = Text(f"{SYMBOLS[one.result]} {one.result:<12} ", style=STYLES[one.result])
        line.append(one.rule.metric, style="default not bold")
        console.print(line, highlight=False, overflow="fold")
        console.print(Padding(Text(one.why, style="dim"), (0, 0, 0, 15)), highlight=False)
    if found.unpaired:
        console.print(f"left out, having no partner: {found.unpaired} runs of the longer side")
    if found.caveat:
        console.print(Text(found.caveat, style="bold"), highlight=False)
    console.print(
        Text(f"{SYMBOLS[found.result]} {found.result}", style=STYLES[found.result]), highlight=False
    )
