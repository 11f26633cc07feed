"""`shotclock bench --hardware`: what is there, what it will cost, and whether to go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from shotclock.app.hardware import Piece, Preflight
    from shotclock.app.main_job import MainJob
    from shotclock.settings import Settings

RECORD = "hardware.json"


@contextmanager
def open_rehearsal(settings: Settings, console: Console) -> Iterator[Settings]:
    """The settings of a dry run: those that lead to the endpoint that the environment names, else to one
    that is started here and ends with the run.
    """
    from shotclock.app import rehearsal  # noqa: PLC0415 - `--help` must not wait for it

    if rehearsal.is_endpoint_named():
        yield settings
        return
    with rehearsal.open_emulated_endpoint(settings) as (led, listening):
        profile, speed = settings.quantum.profile, rehearsal.SPEED
        what = f"{listening.backends[0]}, profile {profile}, {speed:g} times real time"
        console.print(f"EMULATED: started an endpoint for this dry run: {what}", markup=False)
        yield led


def admit(
    settings: Settings, job: MainJob, dry_run: bool, agree: Callable[[str], None], console: Console
) -> tuple[Settings, MainJob]:
    """Looks at every piece, shows them, and asks (`agree`) where the run is paid for; what then is to run.

    Raises MachineError where a piece that a hardware run requires is missing.
    """
    from shotclock.app import hardware  # noqa: PLC0415 - `--help` must not wait for it
    from shotclock.app.host import WallHost  # noqa: PLC0415
    from shotclock.app.site import Site  # noqa: PLC0415

    settings = hardware.for_hardware(settings)
    host, site = WallHost(), Site()
    try:
        preflight = hardware.preflight(host, settings, site)
        _show(preflight.pieces, console)
        _refuse(preflight, dry_run)
        run = hardware.expect_cost(host, settings, quick=job.quick)
    finally:
        host.close()
    if preflight.emulated:
        console.print(f"EMULATED: a dry run. On hardware it would take {run}.", markup=False)
    else:
        hardware.refuse_overspending(settings, run)
        agree(f"a paid run: {run} expected")
    more = {RECORD: preflight.record(run, site)}
    return settings, replace(job, surroundings=preflight.environment(), beside=more)


def _refuse(preflight: Preflight, dry_run: bool) -> None:
    from shotclock.domain.errors import MachineError, SettingsError  # noqa: PLC0415

    wanting = preflight.stopping if dry_run else preflight.missing
    if wanting:
        names = ", ".join(piece.name for piece in wanting)
        way = "" if dry_run or preflight.stopping else "; --dry-run rehearses it, marked EMULATED"
        raise MachineError(f"--hardware: missing: {names}; the table says what to do{way}")
    if dry_run and not preflight.emulated:
        raise SettingsError("--dry-run: this QPU is real and would be paid for; leave --dry-run out")


def _show(pieces: tuple[Piece, ...], console: Console) -> None:
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("", "", "piece", "found"):
        table.add_column(name)
    for piece in pieces:
        mark = Text("✓", style="green") if piece.ok else Text("✗", style="bold red")
        table.add_row(mark, piece.side, piece.name, Text(piece.said))
        if not piece.ok:
            table.add_row("", "", "", Text(f"do: {piece.fix}", style="bold"))
    console.print(table)
