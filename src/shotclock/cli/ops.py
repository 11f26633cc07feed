"""`shotclock ops`: the files with which a site operates the service."""

from __future__ import annotations

import json as json_text
from pathlib import Path
from typing import Annotated

import typer

from shotclock.domain.plural import count

ops = typer.Typer(help="Alerts, dashboard, units and runbooks for a site.", no_args_is_help=True)


@ops.callback()
def _root() -> None:
    """Takes the subcommand's name."""


@ops.command()
def export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write; created if missing.")],
    *,
    runbooks: Annotated[
        str, typer.Option(help="URL of the runbooks for `runbook_url` (default: the exported ones).")
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that exist.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Write Prometheus rules with their tests, a Grafana dashboard, units, a Kubernetes base and runbooks.

    Symbolic links below DIR are never followed. Exit codes: 0 written, 2 a file exists, 3 environment.
    """
    from shotclock.ops.export import export as write  # noqa: PLC0415 - `--help` must not wait for it

    written = write(folder, runbooks, force=force)
    if json:
        typer.echo(json_text.dumps({"folder": str(folder), "files": [str(path) for path in written]}))
    else:
        for path in written:
            typer.echo(path)
        typer.echo(f"{count(len(written), 'file')} written", err=True)
