"""`shotclock verify`: a run folder against every rule it must meet."""

from __future__ import annotations

import json as json_text
from pathlib import Path
from typing import Annotated

import typer

from shotclock.cli.exit_codes import THRESHOLD_FAILED


def verify(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, of bench or of load.")],
    *,
    record: Annotated[
        Path | None, typer.Option(help="Add the run to this history (SQLite) if it has no fault.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """List every fault of a run folder: files, schema, figures against rows, marks, log, trace, page.

    Exit codes: 0 none, 2 no such folder, 99 faults.
    """
    from shotclock.bench.history.store import History, entry  # noqa: PLC0415 - `--help` must not wait for it
    from shotclock.bench.verify.check import verify as check  # noqa: PLC0415
    from shotclock.domain.documents import refuse_contradictions  # noqa: PLC0415
    from shotclock.domain.plural import count  # noqa: PLC0415

    faults = check(run)
    added = False
    if record is not None and not faults:
        with refuse_contradictions(run), History(record) as history:
            added = history.add(entry(run))
    if json:
        document = {
            "schema": 1,
            "run": str(run),
            "faults": [{"file": fault.file, "what": fault.what} for fault in faults],
            "recorded": added,
        }
        typer.echo(json_text.dumps(document, indent=2))
    else:
        for fault in faults:
            typer.echo(str(fault))
        typer.echo(f"{count(len(faults), 'fault')} in {run}" if faults else f"{run}: no fault")
        if record is not None:
            why = "recorded in" if added else ("not recorded in" if faults else "already in")
            typer.echo(f"{why} {record}")
    if faults:
        typer.echo(
            f"shotclock: {count(len(faults), 'fault')} in {run}; exit code {THRESHOLD_FAILED}", err=True
        )
    raise typer.Exit(THRESHOLD_FAILED if faults else 0)
