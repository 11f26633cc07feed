"""`shotclock topology`: accelerators, fabrics and QPU endpoints of a host, and versions to acknowledge."""

from __future__ import annotations

import json as json_text
from pathlib import Path
from typing import Annotated

import typer

topology = typer.Typer(help="Accelerators, fabrics and QPU endpoints; versions to acknowledge.")

Root = Annotated[
    Path, typer.Option(metavar="DIR", help="Read another machine's tree: a folder with its sys and proc.")
]
Config = Annotated[Path | None, typer.Option(help="Settings file (TOML).")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


@topology.callback(invoke_without_command=True)
def show_topology(
    context: typer.Context, *, root: Root = Path("/"), config: Config = None, json: Json = False
) -> None:
    """Show accelerators, fabrics and QPU endpoints; what is unknown is left out, with its reason in --json.

    Exit codes: 0, whether there are problems or not, 2 settings, 3 environment.
    """
    if context.invoked_subcommand is not None:
        return
    from shotclock.app.topology import read_view  # noqa: PLC0415 - `--help` must not wait for it
    from shotclock.app.topology_text import outline  # noqa: PLC0415
    from shotclock.settings import load  # noqa: PLC0415

    view = read_view(load(config, {}), root)
    if json:
        typer.echo(json_text.dumps(view.document()))
        return
    for line in outline(view):
        typer.echo(line)


@topology.command("acknowledge")
def acknowledge_versions(context: typer.Context, *, config: Config = None, json: Json = False) -> None:
    """Record the present versions of drivers and firmware as known (file: placement.acknowledged)."""
    parent = context.parent.params if context.parent else {}
    root, config, json = parent["root"], config or parent["config"], json or parent["json"]
    from shotclock.app.topology import acknowledge  # noqa: PLC0415 - as above
    from shotclock.domain.plural import count  # noqa: PLC0415
    from shotclock.settings import load  # noqa: PLC0415

    settings = load(config, {})
    number = acknowledge(settings, root)
    file = settings.placement.acknowledged_file
    if json:
        typer.echo(json_text.dumps({"acknowledged": number, "file": file}))
        return
    typer.echo(f"{count(number, 'version')} acknowledged in {file}")


@topology.command("export")
def export_labels(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty folder.")],
    *,
    rack: Annotated[str, typer.Option(help="The site's label of this host's rack.")] = "",
    qpu_slots: Annotated[int, typer.Option(min=1, help="Jobs that the QPU takes at a time.")] = 1,
    config: Config = None,
) -> None:
    """Write this host's placement facts for Ray, Kubernetes and Slurm."""
    parent = context.parent.params if context.parent else {}
    from shotclock.app.topology import write_labels  # noqa: PLC0415 - as above
    from shotclock.settings import load  # noqa: PLC0415

    settings = load(config or parent["config"], {})
    for file in write_labels(settings, parent["root"], folder, rack, qpu_slots):
        typer.echo(file)
