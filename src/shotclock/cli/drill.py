"""`shotclock drill`: rehearses an incident against an embedded, EMULATED system."""

from __future__ import annotations

import json as json_text
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from shotclock.bench.numbers import ms, number
from shotclock.cli.exit_codes import THRESHOLD_FAILED

if TYPE_CHECKING:
    from shotclock.app.drill import StaleUpdates


drill = typer.Typer(help="Rehearse an incident on virtual time; EMULATED.", no_args_is_help=True)


@drill.callback()
def _root() -> None:
    """Takes the drill's name."""


@drill.command("stale-updates")
def stale_updates(
    *,
    seed: Annotated[int, typer.Option(min=0, help="Random seed for network, delay and sample draws.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Tail latency spikes and model versions diverge: what late answers do, protections off and on.

    Exit codes: 0 the protections held, 99 they did not, or the failure did not show.
    """
    import torch  # noqa: PLC0415 - `--help` must not wait for it

    from shotclock.app import drill as drills  # noqa: PLC0415

    torch.set_num_threads(1)  # sums in one order, so that a seed gives the same figures everywhere
    result = drills.stale_updates(seed, lambda what: typer.echo(what, err=True))
    if json:
        document = {"drill": "stale-updates", "emulated": True, "clock": "virtual", **asdict(result)}
        typer.echo(
            json_text.dumps(
                document | {"ratio": result.ratio, "passed": result.has_passed, "verdict": result.verdict}
            )
        )
    else:
        _show(result)
    if not result.has_passed:
        raise typer.Exit(THRESHOLD_FAILED)


def _show(result: StaleUpdates) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    console = Console(highlight=False)
    table = Table(title=f"stale-updates, seed {result.seed} (EMULATED, virtual time)")
    for name in ("", *(arm.arm for arm in result.rounding)):
        table.add_column(name, justify="right" if name else "left")
    for words, cells in _rows(result):
        table.add_row(words, *cells)
    console.print(table)
    console.print("K1 is the kernel rounding, K3 qat_flip; a harmful answer raised the layer's loss.")
    console.print("K3's held-out loss as training continues:")
    for arm in result.flipping:
        console.print(f"  {arm.arm:<12} " + " ".join(number(loss) for loss in arm.course), soft_wrap=True)
    console.print(result.verdict, soft_wrap=True)


def _rows(result: StaleUpdates) -> list[tuple[str, list[str]]]:
    arms, flips = result.rounding, result.flipping[1:]
    return [
        ("answered after, median", [f"{ms(arm.answered_p50_ms)} ms" for arm in arms]),
        ("answered after, longest", [f"{ms(arm.answered_longest_ms)} ms" for arm in arms]),
        ("K1 calls", [", ".join(f"{n} {how}" for how, n in arm.answers.items()) for arm in arms]),
        ("K1 answers applied", [str(arm.applied) for arm in arms]),
        ("K1 of them harmful", [str(arm.harmful) for arm in arms]),
        ("K1 layer loss ÷ nearest rounding", [number(arm.loss_ratio) for arm in arms]),
        ("K3 answers applied", [f"{arm.applied} of {arm.calls}" for arm in flips]),
        ("K3 held-out loss at the end", [number(arm.course[-1]) for arm in flips]),
    ]
