"""`shotclock doctor`: the environment and a provider, checked before anything is paid."""

from __future__ import annotations

import json as json_text
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from shotclock.app.doctor import Check
    from shotclock.app.integration import Checklist
    from shotclock.settings import Settings


def doctor(
    *,
    provider: Annotated[str | None, typer.Option(help="ibm, qrmi, aer, emulated or module:factory.")] = None,
    run: Annotated[
        Path | None, typer.Option(help="A run folder, to fill in the integration checklist from.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Settings file (TOML).")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Check the environment, a provider, and the integration checklist. Submits nothing.

    Exit codes: 0 no failure (warnings are allowed), 2 settings, 3 the environment or the provider fails; each
    failure and each warning names its fix.
    A point of the checklist that is not met is not a fault of the environment and exits 0.
    """
    from rich.console import Console  # noqa: PLC0415 - `--help` must not wait for it
    from rich.text import Text  # noqa: PLC0415

    from shotclock.app import doctor as checks  # noqa: PLC0415
    from shotclock.app.host import WallHost  # noqa: PLC0415
    from shotclock.settings import load  # noqa: PLC0415

    settings = load(config, {"quantum": {"provider": provider}} if provider else {})
    results: list[Check] = []
    console = Console(stderr=json, highlight=False, soft_wrap=True)

    def report(check: Check) -> None:
        results.append(check)
        mark = Text("FAIL", "red")
        if check.ok:
            mark = Text("WARN", "yellow") if check.fix else Text("ok  ", "green")
        _line(console, mark, f"{check.name}: {check.said}")
        if check.fix:
            _line(console, Text("    "), f"fix: {check.fix}")

    host = WallHost()
    try:
        for check in checks.environment(settings):
            report(check)
        installed = all(check.ok for check in results)
        checks.provider(host, settings, report)
    finally:
        host.close()
    checklist = _checklist(settings, run) if installed else None
    if checklist is not None:
        _show(checklist, console)
    ok = all(check.ok for check in results)
    if json:
        document = {
            "ok": ok,
            "provider": settings.quantum.provider,
            "checks": [asdict(check) for check in results],
        }
        points = checklist.points if checklist else ()
        checklist_field = {"checklist": [point.model_dump(mode="json") for point in points]}
        typer.echo(json_text.dumps(document | checklist_field))
    if not ok:
        raise typer.Exit(3)


def _checklist(settings: Settings, run: Path | None) -> Checklist:
    from shotclock.app import integration  # noqa: PLC0415 - nothing of it may be missing by now
    from shotclock.domain.documents import refuse_contradictions  # noqa: PLC0415

    if run is None:
        return integration.of_settings(settings)
    with refuse_contradictions(run):
        return integration.of_run(run)


def _show(checklist: Checklist, console: Console) -> None:
    """In the words of the report's checklist."""
    from rich.text import Text  # noqa: PLC0415 - as above

    from shotclock.bench.report.kit.wording import STATES  # noqa: PLC0415

    console.print(f"\n[bold]Integration checklist[/]  {checklist.mark}")
    for point in checklist.points:
        state = str(point.state) if checklist.mark else str(point.state).removesuffix(" in this run")
        _line(console, Text(f"{STATES[point.state]}   "), f"{point.title}: {state}; {point.said}")
        if point.fix:
            _line(console, Text("    "), f"to meet it: {point.fix}")


def _line(console: Console, mark: Text, words: str) -> None:
    """A person sees words wrapped beside the mark; a pipe gets them in one line."""
    from rich.table import Table  # noqa: PLC0415 - as above
    from rich.text import Text  # noqa: PLC0415

    if not console.is_terminal:
        console.print(mark.append(" ").append_text(Text(words)))
        return
    row = Table.grid(padding=(0, 1, 0, 0))
    row.add_row(mark, Text(words))
    console.print(row, soft_wrap=False)
