"""`shotclock doctor`: the environment and a provider, checked before anything is paid."""

from __future__ import annotations

import json as json_text
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from shotclock.app.doctor import Check


def doctor(
    *,
    provider: Annotated[str | None, typer.Option(help="ibm, qrmi, aer, emulated or module:factory.")] = None,
    config: Annotated[Path | None, typer.Option(help="Settings file (TOML).")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Check the environment and a provider: credentials, reachability, limits, price. Submits nothing.

    Exit codes: 0 all well, 2 settings, 3 something is not; each failure says its fix.
    """
    from rich.console import Console  # noqa: PLC0415 - `--help` must not wait for it

    from shotclock.app import doctor as checks  # noqa: PLC0415
    from shotclock.app.host import WallHost  # noqa: PLC0415
    from shotclock.settings import load  # noqa: PLC0415

    settings = load(config, {"quantum": {"provider": provider}} if provider else {})
    found: list[Check] = []
    console = Console(stderr=json, highlight=False, soft_wrap=True)

    def report(check: Check) -> None:
        found.append(check)
        mark = "[green]ok  [/]" if check.ok else "[red]FAIL[/]"
        console.print(f"{mark} {check.name}: ", end="")
        console.print(check.said, markup=False)
        if check.fix:
            console.print(f"     fix: {check.fix}", markup=False)

    host = WallHost()
    try:
        for check in checks.environment(settings):
            report(check)
        checks.provider(host, settings, report)
    finally:
        host.close()
    ok = all(check.ok for check in found)
    if json:
        document = {"ok": ok, "provider": settings.quantum.provider, "checks": [asdict(one) for one in found]}
        typer.echo(json_text.dumps(document))
    if not ok:
        raise typer.Exit(3)
