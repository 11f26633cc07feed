"""`shotclock report`: the report of a run folder, made again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    *,
    json: Annotated[bool, typer.Option("--json", help="summary.json on stdout.")] = False,
) -> None:
    """Write report.html and its charts from a run's summary and rows, and print the short form."""
    from rich.console import Console  # noqa: PLC0415 - `--help` must not wait for it

    from shotclock.bench.report.html import write_report  # noqa: PLC0415
    from shotclock.bench.report.terminal import show  # noqa: PLC0415
    from shotclock.bench.run_folder import RunFolder  # noqa: PLC0415
    from shotclock.cli.progress import Bars  # noqa: PLC0415

    folder = RunFolder(run)
    summary = folder.read_summary()
    with Bars(Console(stderr=True)) as bars:
        bars.phase("drawing the charts")
        write_report(summary, folder.read_steps(), run)
    if json:
        typer.echo(summary.model_dump_json(indent=2, by_alias=True))
    else:
        show(summary, run, Console(), [f"open {run / 'report.html'}"])
