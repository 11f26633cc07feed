"""`shotclock report`: the page of a run folder made again, of several runs, or of a history."""

from __future__ import annotations

import json as json_text
from collections.abc import Sequence
from dataclasses import dataclass
from os.path import abspath, commonpath
from pathlib import Path
from typing import Annotated

import typer

from shotclock.cli.streams import echo_json


@dataclass(frozen=True, slots=True)
class _Written:
    """A page, what it says in short, and the same as JSON."""

    page: Path
    words: str
    document: str


def report(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="RUN", help="A run folder, of bench or load; several are compared."),
    ] = None,
    *,
    history: Annotated[
        Path | None, typer.Option(help="Trends over the runs that `verify --record` kept here.")
    ] = None,
    metric: Annotated[
        list[str] | None, typer.Option(help="With --history: metrics by name, '*' matches anything.")
    ] = None,
    despite: Annotated[
        list[str] | None, typer.Option(help="A fact in which several runs may differ: cpu, torch …")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the page (default: the run's, or beside the runs).")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Write report.html and its charts: of one run, of several (how far they lie apart), or of a history.

    Exit codes: 0 written, 2 usage, or runs that don't belong together, 3 a place that cannot be written.
    """
    from shotclock.domain.documents import refuse_contradictions  # noqa: PLC0415 - as below
    from shotclock.domain.errors import MachineError, SettingsError  # noqa: PLC0415

    folders = runs or []
    if bool(folders) == (history is not None):
        raise SettingsError("name one run folder or several, or --history FILE")
    if metric and history is None:
        raise SettingsError("--metric: chooses from a --history; a run's report has all its metrics")
    if despite and len(folders) < 2:
        raise SettingsError("--despite: is for several runs")
    try:
        if history is not None:
            with refuse_contradictions(history):
                result = _history(history, metric or [], out)
        elif len(folders) > 1:
            with refuse_contradictions(_beside(folders)):
                result = _several(folders, despite or [], out or _beside(folders))
        else:
            with refuse_contradictions(folders[0]):
                result = _one(folders[0], out or folders[0])
    except OSError as error:
        raise MachineError(
            f"{error.filename or 'stdout'}: cannot write the report: {error.strerror}"
        ) from error
    if json:
        echo_json(result.document)
        return
    typer.echo(result.words)
    if str(result.page) not in result.words:
        typer.echo(f"\nReport: {result.page}")


def _beside(folders: Sequence[Path]) -> Path:
    """The folder that the runs are in, as they are named: a link may lead to another disk."""
    return Path(commonpath([Path(abspath(folder)).parent for folder in folders]))  # noqa: PTH100


def _one(run: Path, out: Path) -> _Written:
    from rich.console import Console  # noqa: PLC0415 - `--help` must not wait for it

    from shotclock.bench.load.folder import SUMMARY, read_calls, read_load  # noqa: PLC0415
    from shotclock.bench.record.folder import RunFolder  # noqa: PLC0415
    from shotclock.bench.report.load.page import write_load_report  # noqa: PLC0415
    from shotclock.bench.report.load.wording import show_load  # noqa: PLC0415
    from shotclock.bench.report.run.page import write_report  # noqa: PLC0415
    from shotclock.bench.report.run.terminal import show  # noqa: PLC0415
    from shotclock.cli.progress import Bars  # noqa: PLC0415

    console = Console()
    with Bars(Console(stderr=True)) as bars, console.capture() as shown:
        bars.phase("drawing the charts")
        if (run / SUMMARY).is_file():
            load = read_load(run)
            page = write_load_report(load, read_calls(run), out)
            show_load(load, console)
            document = load.model_dump_json(indent=2, by_alias=True)
        else:
            summary = RunFolder(run).read_summary()
            page = write_report(summary, RunFolder(run).read_steps(), out)
            show(summary, page.parent, console, [f"open {page}"])
            document = summary.model_dump_json(indent=2, by_alias=True)
    return _Written(page, shown.get().rstrip(), document)


def _several(folders: Sequence[Path], despite: Sequence[str], out: Path) -> _Written:
    from shotclock.bench.compare.several import as_json, read_several  # noqa: PLC0415 - as above
    from shotclock.bench.report.several.page import headline, write_several  # noqa: PLC0415

    runs = read_several(folders, despite)
    page = write_several(runs, out)
    return _Written(page, headline(runs), json_text.dumps(as_json(runs), indent=2))


def _history(file: Path, patterns: Sequence[str], out: Path | None) -> _Written:
    from shotclock.bench.history.store import History  # noqa: PLC0415 - as above
    from shotclock.bench.history.trends import as_json, read_trends  # noqa: PLC0415
    from shotclock.bench.report.trends.page import headline, write_trends  # noqa: PLC0415
    from shotclock.domain.errors import SettingsError  # noqa: PLC0415

    if not file.is_file():
        raise SettingsError(
            f"--history {file}: does not exist; `shotclock verify RUN --record {file}` makes it"
        )
    with History(file) as history:
        trends = read_trends(history, patterns)
        page = write_trends(trends, history, out or file.with_name(f"{file.stem}-trends"))
    return _Written(page, headline(trends), json_text.dumps(as_json(trends), indent=2))
