"""`shotclock jobs export` and `jobs reconcile`: paid jobs for a site's accounting."""

from __future__ import annotations

import json as json_text
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from shotclock.cli.exit_codes import THRESHOLD_FAILED
from shotclock.cli.jobs import Config, Json, Place, Where, jobs
from shotclock.domain.errors import MachineError, SettingsError

if TYPE_CHECKING:
    from shotclock.app.accounting import AccountRow

MOST_BYTES = 256 * 1024 * 1024
Since = Annotated[
    str, typer.Option(help="Jobs from this date or instant on (ISO 8601, UTC unless it says otherwise).")
]
Until = Annotated[str, typer.Option(help="Jobs before this date or instant.")]


@jobs.command()
def export(
    context: typer.Context,
    *,
    format_: Annotated[
        Literal["csv", "json", "parquet"], typer.Option("--format", help="Parquet needs --out.")
    ] = "csv",
    out: Annotated[Path | None, typer.Option(help="File to write; stdout without it.")] = None,
    since: Since = "",
    until: Until = "",
    ledger: Where = "",
    config: Config = None,
) -> None:
    """Write a row for each call of the paid jobs: Slurm job, resource, times, user, usage, charge.

    What is not known is empty, never 0.
    """
    from shotclock.app import accounting  # noqa: PLC0415 - `--help` must not wait for it
    from shotclock.domain import files  # noqa: PLC0415

    if format_ == "parquet" and out is None:
        raise SettingsError("--format parquet: needs --out FILE; it is not text")
    rows = _read(context, ledger, config, since, until)
    if out is not None and format_ == "parquet":
        accounting.write_parquet(rows, out)
        return
    text = accounting.to_csv(rows) if format_ == "csv" else f"{accounting.to_json(rows)}\n"
    if out is None:
        typer.echo(text, nl=False)
        return
    try:
        files.write_text(out, text)
    except OSError as error:
        raise MachineError(f"cannot write {out}: {error.strerror}") from error


@jobs.command()
def reconcile(
    context: typer.Context,
    *,
    sacct: Annotated[
        str,
        typer.Option(
            help="Output of sacct --parsable2 --format=JobID,JobIDRaw,User,Account,Start,End; - is stdin."
        ),
    ] = "",
    usage: Annotated[
        str, typer.Option(help="The provider's usage: CSV or JSON with job_id and usage_s; - is stdin.")
    ] = "",
    since: Since = "",
    until: Until = "",
    ledger: Where = "",
    config: Config = None,
    json: Json = False,
) -> None:
    """List where the ledger, Slurm and the provider differ; exit code 99 if they do."""
    from shotclock.app import reconcile as comparison  # noqa: PLC0415 - see `export`

    if not sacct and not usage:
        raise SettingsError("reconcile: give --sacct, --usage or both")
    if sacct == usage == "-":
        raise SettingsError("reconcile: only one of --sacct and --usage can be stdin")
    slurm = comparison.read_sacct(_text("--sacct", sacct)) if sacct else None
    used = comparison.read_usage(_text("--usage", usage)) if usage else None
    rows = _read(context, ledger, config, since, until)
    differences: list[comparison.Difference] = []
    if slurm is not None:
        differences += comparison.compare_with_slurm(rows, slurm)
    if used is not None:
        differences += comparison.compare_with_usage(rows, used)
    if json:
        document = {"calls": len(rows), "differences": [asdict(each) for each in differences]}
        typer.echo(json_text.dumps(document, indent=2))
    else:
        for each in differences:
            typer.echo("".join(letter if letter.isprintable() else " " for letter in each.text))
        typer.echo(f"{len(differences)} differences over {len(rows)} calls")
    if differences:
        raise typer.Exit(THRESHOLD_FAILED)


def _read(
    context: typer.Context, ledger: str, config: Path | None, since: str, until: str
) -> list[AccountRow]:
    from shotclock.app import accounting  # noqa: PLC0415 - see `export`

    first = accounting.parse_instant("--since", since) if since else 0.0
    last = accounting.parse_instant("--until", until) if until else float("inf")
    if first >= last:
        raise SettingsError(f"--since: must be before --until (got {since} and {until})")
    return accounting.read_rows(Place(ledger, config).find(context.obj), first, last)


def _text(option: str, where: str) -> str:
    try:
        if where == "-":
            content = sys.stdin.buffer.read(MOST_BYTES + 1)
        else:
            with Path(where).open("rb") as file:
                content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise SettingsError(f"{option}: cannot read {where}: {error.strerror}") from error
    if len(content) > MOST_BYTES:
        raise SettingsError(f"{option}: must be at most {MOST_BYTES // 1024**2} MiB; choose a shorter time")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise SettingsError(f"{option}: must be UTF-8 (byte {error.start} is not)") from error
