"""`shotclock profile`: latency profiles and where their numbers come from."""

from __future__ import annotations

from typing import Annotated

import typer

profile = typer.Typer(
    help="Latency profiles: what stands between a submit and its samples.", no_args_is_help=True
)


@profile.callback()
def _root() -> None:
    """Keeps `show` a verb of its own while it is the only one."""


@profile.command()
def show(
    name: Annotated[str, typer.Argument(help="A shipped profile, or a path to a .toml file.")],
    *,
    json: Annotated[bool, typer.Option("--json", help="The profile as one JSON document.")] = False,
) -> None:
    """Print every number of a profile with its tag and source."""
    from shotclock.emulator.profile import load  # noqa: PLC0415 - `--help` must not wait for it

    found = load(name)
    if json:
        typer.echo(found.model_dump_json(indent=2, by_alias=True))
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    console = Console()
    console.print(
        f"[bold]{found.name}[/]: {found.title} (EMULATED)\n{found.summary}\nmode: {found.execution_mode}"
    )
    table = Table("number", "value", "tag", "source", box=None, pad_edge=False)
    for named in found.figures():
        figure = named.figure
        table.add_row(named.name, f"{figure.value:g} {figure.unit}", figure.tag, figure.source)
    console.print(table)
    for omission in found.not_modelled:
        console.print(f"not modelled: {omission.component}: {omission.reason}")
    if found.sanity:
        console.print(f"to be held against: {found.sanity.text}")
