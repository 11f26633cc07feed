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
    """Tail latency spikes and model versions part: what late answers do, protections off and on.

    Exit codes: 0 the protections held, 99 they did not, or the failure did not show.
    """
    import torch  # noqa: PLC0415 - `--help` must not wait for it

    from shotclock.app import drill as drills  # noqa: PLC0415

    torch.set_num_threads(1)  # sums in one order, so that a seed gives the same figures everywhere
    found = drills.stale_updates(seed, lambda what: typer.echo(what, err=True))
    if json:
        document = {"drill": "stale-updates", "emulated": True, "clock": "virtual", **asdict(found)}
        typer.echo(
            json_text.dumps(
                document | {"ratio": found.ratio, "passed": found.has_passed, "verdict": found.verdict}
            )
        )
    else:
        _show(found)
    if not found.has_passed:
        raise typer.Exit(THRESHOLD_FAILED)


def _show(found: StaleUpdates) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    console = Console(highlight=False)
    table = Table(title=f"stale-updates, seed {found.seed} (EMULATED, virtual time)")
    for name in ("", *(one.arm for one in found.rounding)):
        table.add_column(name, justify="right" if name else "left")
    for words, cells in _rows(found):
        table.add_row(words, *cells)
    console.print(table)
    console.print("K1 is the kernel rounding, K3 qat_flip; a harmful answer raised the layer's loss.")
    console.print("K3's held-out loss as training goes on:")
    for one in found.flipping:
        console.print(f"  {one.arm:<12} " + " ".join(number(loss) for loss in one.course), soft_wrap=True)
    console.print(found.verdict, soft_wrap=True)


def _rows(found: StaleUpdates) -> list[tuple[str, list[str]]]:
    arms, flips = found.rounding, found.flipping[1:]
    return [
        ("answered after, median", [f"{ms(one.answered_p50_ms)} ms" for one in arms]),
        ("answered after, longest", [f"{ms(one.answered_longest_ms)} ms" for one in arms]),
        ("K1 calls", [", ".join(f"{n} {how}" for how, n in one.answers.items()) for one in arms]),
        ("K1 answers applied", [str(one.applied) for one in arms]),
        ("K1 of them harmful", [str(one.harmful) for one in arms]),
        ("K1 layer loss ÷ nearest rounding", [number(one.loss_ratio) for one in arms]),
        ("K3 answers applied", [f"{one.applied} of {one.calls}" for one in flips]),
        ("K3 held-out loss at the end", [number(one.course[-1]) for one in flips]),
    ]
