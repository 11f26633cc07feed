"""`shotclock profile`: latency profiles and where their numbers come from."""

from __future__ import annotations

import json as json_text
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shotclock.cli.streams import echo_json
from shotclock.domain.plural import count

if TYPE_CHECKING:
    from shotclock.app.device_comparison import Prediction

profile = typer.Typer(
    help="Latency profiles: the numbers behind the time from a submit to its samples.", no_args_is_help=True
)


@profile.command()
def show(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A shipped profile, or a path to a .toml file.")
    ],
    *,
    json: Annotated[bool, typer.Option("--json", help="The profile as one JSON document.")] = False,
) -> None:
    """Print every number of a profile with its tag and source."""
    from shotclock.emulator.profile import load  # noqa: PLC0415 - `--help` must not wait for it

    profile = load(name)
    if json:
        echo_json(profile.model_dump_json(indent=2, by_alias=True))
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    console = Console()
    console.print(
        f"[bold]{profile.name}[/]: {profile.title} (EMULATED)\n{profile.summary}\n"
        f"mode: {profile.execution_mode}"
    )
    table = Table("number", "value", "tag", "source", box=None, pad_edge=False)
    for entry in profile.figures():
        figure = entry.figure
        table.add_row(entry.name, f"{figure.value:g} {figure.unit}", figure.tag, figure.source)
    console.print(table)
    for omission in profile.not_modelled:
        console.print(f"not modelled: {omission.component}: {omission.reason}")
    if profile.sanity:
        console.print(f"reference figures: {profile.sanity.text}")


@profile.command()
def fit(
    records: Annotated[
        Path, typer.Argument(metavar="RECORDS", help="Job records: JSON, or CSV with a header line.")
    ],
    *,
    name: Annotated[str, typer.Option(help="The profile's name.")] = "site",
    source: Annotated[
        str | None, typer.Option(help="Where the records are from; written next to every number.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where to write it; NAME.toml by default.")] = None,
    json: Annotated[bool, typer.Option("--json", help="What was fitted, as one JSON document.")] = False,
) -> None:
    """Fit a profile to a site's own job records.

    Their columns: created, running, finished, usage. Costs no QPU time.
    """
    from shotclock.domain import files  # noqa: PLC0415
    from shotclock.domain.errors import MachineError  # noqa: PLC0415
    from shotclock.emulator import fit as fits  # noqa: PLC0415 - `--help` must not wait for it

    jobs = fits.read(records)
    fitted = fits.fit_profile(jobs, name, source or f"job records {records.name}")
    file = out or Path(f"{name}.toml")
    try:
        files.write_text(file, fits.toml_of(fitted))
    except OSError as error:
        raise MachineError(f"{file}: cannot be written: {error.strerror}") from error
    distance = fits.goodness(jobs, fitted)
    if json:
        document = {"profile": str(file), "records": len(jobs), "queue_distance": distance}
        typer.echo(json_text.dumps(document))
        return
    typer.echo(
        f"{file}: fitted to {count(len(jobs), 'job')}; the queue's lognormal is off by {distance:.2f} at most"
    )
    typer.echo(f"use it with --profile {file}, or look at it: shotclock profile show {file}")


@profile.command()
def snapshot(
    *,
    backend: Annotated[str, typer.Option(help="The back end's name; the least busy one by default.")] = "",
    out: Annotated[Path | None, typer.Option(help="Where to write it; BACKEND.toml by default.")] = None,
    config: Annotated[
        Path | None, typer.Option(help="Settings file (TOML) with quantum.credentials_file and instance.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="What was written, as one JSON document.")] = False,
) -> None:
    """Write a device file from a back end of your account, for quantum.device.

    Reads its configuration and properties through qiskit-ibm-runtime; submits nothing. The key and the
    instance are not written.
    """
    from shotclock.app.device_snapshot import write_snapshot  # noqa: PLC0415 - as above
    from shotclock.settings import load  # noqa: PLC0415

    quantum = load(config, {}).quantum
    file, device = write_snapshot(quantum, backend or quantum.backend, out)
    documents = file.with_name(device.documents)
    if json:
        document = {"device": str(file), "documents": str(documents), "backend": device.name}
        typer.echo(json_text.dumps(document))
        return
    typer.echo(f"{file} and {documents}: {device.title}")
    typer.echo(f'use it with --device {file}, or in the settings: quantum.device = "{file}"')


@profile.command()
def compare(
    devices: Annotated[
        list[str] | None, typer.Argument(metavar="DEVICE…", help="Devices; the shipped ones by default.")
    ] = None,
    *,
    n: Annotated[int, typer.Option(min=1, max=64, help="Variables of the call's subproblem.")] = 12,
    profiles: Annotated[
        list[str] | None,
        typer.Option("--profile", help="A profile, or a path; may be repeated. The shipped ones by default."),
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="The table as Markdown.")] = False,
    chart: Annotated[Path | None, typer.Option(help="Also write it as a chart, an SVG file.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Predict the same call on each device and fabric, by rep_delay and shots.

    Means of the time model in milliseconds, EMULATED: nothing is run. "most shots" keep the mean within 50 ms
    with the fitted efficiency as a factor; "if constant" with a constant time a shot in its place.
    """
    from dataclasses import asdict  # noqa: PLC0415 - as above

    from shotclock.app import device_comparison  # noqa: PLC0415
    from shotclock.emulator.device import list_devices  # noqa: PLC0415
    from shotclock.emulator.profile import list_profiles, load  # noqa: PLC0415

    chosen = [load(name) for name in profiles or list_profiles()]
    rows = device_comparison.compare(devices or list_devices(), chosen, n)
    conclusions = device_comparison.conclude(rows)
    if chart is not None:
        _write_chart(chart, rows, n)
    if json:
        document = {"emulated": True, "n": n, "predictions": [asdict(row) for row in rows]}
        typer.echo(json_text.dumps(document | {"conclusions": conclusions}))
        return
    table = device_comparison.write_markdown(rows)
    if not markdown:
        table = _align(table)
    typer.echo(f"{table}\nEMULATED: the time model's mean of a call, n = {n}, in milliseconds.")
    for sentence in conclusions:
        typer.echo(sentence)


def _write_chart(file: Path, rows: list[Prediction], n: int) -> None:
    from shotclock.app.device_chart import draw_chart  # noqa: PLC0415 - as above
    from shotclock.domain import files  # noqa: PLC0415
    from shotclock.domain.errors import MachineError  # noqa: PLC0415

    try:
        files.write_text(file, draw_chart(rows, n))
    except OSError as error:
        raise MachineError(f"{file}: cannot be written: {error.strerror}") from error


def _align(markdown: str) -> str:
    """A table of Markdown in columns for a terminal."""
    rows = [
        [cell.strip().replace("**", "") for cell in line.strip("|").split("|")]
        for line in markdown.splitlines()
        if not line.startswith("|---")
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
