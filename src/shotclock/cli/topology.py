"""`shotclock topology`: accelerators, fabrics and QPU endpoints of hosts, and versions to acknowledge."""

from __future__ import annotations

import json as json_text
import os
import sys
from pathlib import Path
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from shotclock.cli.operator import Authorities, Certificate, Json, PrivateKey, read_security, split_hosts
from shotclock.cli.streams import echo_json

if TYPE_CHECKING:
    from shotclock.app.topology import View

topology = typer.Typer(help="Accelerators, fabrics and QPU endpoints; versions to acknowledge.")

Roots = Annotated[
    list[Path] | None,
    typer.Option(
        "--root", metavar="DIR", help="Read another machine's tree: a folder with its sys and proc; repeated."
    ),
]
Hosts = Annotated[
    str | None, typer.Option(metavar="HOST:PORT,…", help="Ask the orchestrators of several hosts.")
]
Svg = Annotated[Path | None, typer.Option(metavar="FILE", help="Draw the graph, too.")]
Config = Annotated[Path | None, typer.Option(help="Settings file (TOML).")]


@topology.callback(invoke_without_command=True)
def show_topology(
    context: typer.Context,
    *,
    root: Roots = None,
    hosts: Hosts = None,
    svg: Svg = None,
    certificate: Certificate = None,
    private_key: PrivateKey = None,
    authorities: Authorities = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Show accelerators, fabrics and QPU endpoints; what is unknown is left out, with its reason in --json.

    Exit codes: 0, whether there are problems or not, 2 settings, 3 environment.
    """
    if context.invoked_subcommand is not None:
        return
    from shotclock.app.topology import read_view  # noqa: PLC0415 - `--help` must not wait for it
    from shotclock.app.topology_document import make_document  # noqa: PLC0415
    from shotclock.app.topology_text import fold, outline  # noqa: PLC0415
    from shotclock.domain.errors import SettingsError  # noqa: PLC0415
    from shotclock.settings import load  # noqa: PLC0415

    if hosts is not None and root:
        raise SettingsError("--hosts, --root: ask running hosts or read trees; leave one of the two out")
    security = read_security(certificate, private_key, authorities)
    settings = load(config, {})
    if hosts is not None:
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its core writes to stderr by itself; see `serve`
        from shotclock.app.topology_hosts import read_hosts  # noqa: PLC0415

        view = read_hosts(split_hosts(hosts), security)
    else:
        view = read_view(settings, root or [])
    if svg is not None:
        _draw(view, svg)
    if json:
        echo_json(json_text.dumps(make_document(view)))
        return
    lines = outline(view)
    if sys.stdout.isatty():
        lines = fold(lines, max(40, get_terminal_size().columns))
    for line in lines:
        typer.echo(line)


def _draw(view: View, file: Path) -> None:
    """Writes the picture."""
    from shotclock.app.topology_picture import draw  # noqa: PLC0415 - as above
    from shotclock.domain import files  # noqa: PLC0415
    from shotclock.domain.errors import MachineError  # noqa: PLC0415

    try:
        files.write_text(file, draw(view.topology))
    except OSError as error:
        raise MachineError(f"--svg {file}: cannot be written ({error.strerror or error})") from error


@topology.command("acknowledge")
def acknowledge_versions(context: typer.Context, *, config: Config = None, json: Json = False) -> None:
    """Record the present versions of drivers and firmware as known (file: placement.acknowledged)."""
    parent = context.parent.params if context.parent else {}
    roots, config, json = _roots(parent), config or parent["config"], json or parent["json"]
    from shotclock.app.topology import acknowledge  # noqa: PLC0415 - as above
    from shotclock.domain.plural import count  # noqa: PLC0415
    from shotclock.settings import load  # noqa: PLC0415

    settings = load(config, {})
    number = acknowledge(settings, roots)
    file = settings.placement.acknowledged_file
    if json:
        echo_json(json_text.dumps({"acknowledged": number, "file": file}))
        return
    typer.echo(f"{count(number, 'version')} acknowledged in {file}")


@topology.command("export")
def export_labels(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty folder.")],
    *,
    rack: Annotated[str, typer.Option(help="The site's label of this host's rack.")] = "",
    qpu_slots: Annotated[int, typer.Option(min=1, help="Jobs that the QPU takes at a time.")] = 1,
    mask: Annotated[
        bool,
        typer.Option("--mask", help="A visibility mask by UUID, too: only where no scheduler sets one."),
    ] = False,
    mask_for: Annotated[
        Literal["programs", "ray"] | None,
        typer.Option(
            "--mask-for",
            help="Who reads it: programs, as with --mask, or `ray start`.",
        ),
    ] = None,
    config: Config = None,
) -> None:
    """Write this host's placement facts for Ray, Kubernetes and Slurm; of several --root, for Slurm."""
    parent = context.parent.params if context.parent else {}
    from shotclock.app.topology import write_labels  # noqa: PLC0415 - as above
    from shotclock.settings import load  # noqa: PLC0415

    settings = load(config or parent["config"], {})
    reader = mask_for or ("programs" if mask else None)
    for file in write_labels(settings, _roots(parent), folder, rack, qpu_slots, reader):
        typer.echo(file)


def _roots(parent: dict[str, Any]) -> list[Path]:
    from shotclock.domain.errors import SettingsError  # noqa: PLC0415 - as above

    if parent["hosts"] is not None:
        raise SettingsError("--hosts: shows hosts alone; run this command on each of them")
    return parent["root"] or []
