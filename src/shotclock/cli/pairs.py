"""`shotclock pairs`: bench runs of two settings files in turns, then the gate between them."""

from __future__ import annotations

import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from shotclock.bench.numbers import span
from shotclock.cli.compare import Format, choose_format, exit_code, write
from shotclock.cli.exit_codes import INTERRUPTED

if TYPE_CHECKING:
    from shotclock.app.pairs import PairsJob, RunProgress
    from shotclock.bench.compare.gate import Comparison, MetricLimit

_OURS = ("--config", "--out", "--json", "--strict")
"""Options of `bench` that this verb sets itself."""


def pairs(
    a: Annotated[Path, typer.Argument(metavar="A.toml", help="Settings of the baseline.")],
    b: Annotated[Path, typer.Argument(metavar="B.toml", help="Settings of the change.")],
    bench: Annotated[
        list[str] | None, typer.Argument(metavar="[-- BENCH-OPTIONS]", help="Further options of `bench`.")
    ] = None,
    *,
    number: Annotated[int, typer.Option("-n", min=1, max=1000, help="Pairs to make.")] = 10,
    most: Annotated[
        int | None, typer.Option(min=1, max=1000, help="Add pairs up to so many while it is inconclusive.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the pairs; existing pairs are kept and the missing ones made."),
    ] = None,
    clock: Annotated[
        Literal["wall", "virtual"], typer.Option(help="virtual: account emulated waits, skip them.")
    ] = "wall",
    command_a: Annotated[str | None, typer.Option(help="Another installed `shotclock` that runs A.")] = None,
    command_b: Annotated[str | None, typer.Option(help="Another installed `shotclock` that runs B.")] = None,
    metric: Annotated[list[str] | None, typer.Option(help="As of `compare`: PATTERN=LIMIT.")] = None,
    despite: Annotated[
        list[str] | None, typer.Option(help="As of `compare`: a fact of the machine that may differ.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="An inconclusive metric exits 5.")] = False,
    format: Annotated[  # noqa: A002 - the flag's name
        Format, typer.Option("--format", help="junit and markdown are for CI.")
    ] = "text",
    json: Annotated[bool, typer.Option("--json", help="As --format json; progress on stderr.")] = False,
) -> None:
    """Make pairs of bench runs in turns (A B, B A, …) into OUT/a and OUT/b, and compare them.

    Resumable: the same command completes what is there. Exit codes: those of `compare` (0, 2, 5, 99), 3
    environment, 4 a run failed, 130 interrupted (complete runs are kept).
    """
    from shotclock.app.pairs import THIS, PairsJob, prepare  # noqa: PLC0415 - `--help` must not wait for it
    from shotclock.bench.compare.gate import MetricLimit  # noqa: PLC0415

    limits = [MetricLimit.parse(text) for text in metric or ()]
    chosen = choose_format(format, json=json)
    options = tuple(bench or ())
    _refuse_ours(options)
    accepted = (*(despite or ()), *_despite_settings(a, b))
    commands = [(command,) if command else THIS for command in (command_a, command_b)]
    folder = out or Path("runs") / f"pairs-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    job = PairsJob(folder, (a, b), (commands[0], commands[1]), ("--clock", clock, *options))
    prepare(job)
    comparison = _run_looks(job, _looks(number, most), limits, accepted)
    write(comparison, chosen, strict=strict)
    typer.echo(f"Pairs: {folder}", err=chosen != "text" or bool(exit_code(comparison, strict)))
    raise typer.Exit(exit_code(comparison, strict))


def _refuse_ours(options: tuple[str, ...]) -> None:
    from shotclock.domain.errors import SettingsError  # noqa: PLC0415

    for option in options:
        if option.partition("=")[0] in _OURS:
            raise SettingsError(f"-- {option}: is set by `shotclock pairs`; give it before the --")
    if options and not options[0].startswith("-"):
        raise SettingsError(f"{options[0]}: is a third settings file; name two, A.toml and B.toml")


def _despite_settings(a: Path, b: Path) -> tuple[str, ...]:
    """What A and B may differ in because their settings do, which is what the pairs are made to compare."""
    from shotclock.app.check_names import check_names  # noqa: PLC0415
    from shotclock.app.pairs import differences  # noqa: PLC0415
    from shotclock.bench.compare.units import SET_BY_SETTINGS  # noqa: PLC0415
    from shotclock.settings import load  # noqa: PLC0415

    settings_a, settings_b = load(a, {}), load(b, {})
    check_names(a, settings_a)
    check_names(b, settings_b)
    differ = differences(settings_a, settings_b)
    for line in differ:
        typer.echo(f"A and B differ in {line}", err=True)
    return SET_BY_SETTINGS if differ else ()


def _looks(number: int, most: int | None) -> list[int]:
    """After how many pairs the question is asked: each look spends its part of the gate's 1 %."""
    from shotclock.bench.compare.decide import LOOK_AT  # noqa: PLC0415

    last = max(number, most or number)
    return sorted({number, *(look for look in LOOK_AT if number < look < last), last})


def _run_looks(
    job: PairsJob, looks: list[int], limits: list[MetricLimit], despite: tuple[str, ...]
) -> Comparison:
    """The comparison at the first look that settles it, or at the last."""
    from shotclock.app.pairs import make  # noqa: PLC0415
    from shotclock.bench.compare.gate import compare  # noqa: PLC0415
    from shotclock.bench.compare.units import read_units  # noqa: PLC0415
    from shotclock.bench.schema import Result  # noqa: PLC0415
    from shotclock.domain.documents import refuse_contradictions  # noqa: PLC0415

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a job's end keeps what has run, too
    try:
        for look in looks:
            make(job, look, lambda progress, of=look: _tell(progress, of))  # type: ignore[misc]
            with refuse_contradictions(job.out):
                comparison = compare(
                    read_units(job.out / "a"), read_units(job.out / "b"), limits, despite=despite
                )
            if comparison.result is not Result.INCONCLUSIVE:
                break
    except KeyboardInterrupt:
        typer.echo(
            f"shotclock: interrupted: {job.complete()} of {looks[-1]} pairs are complete in {job.out}; "
            f"the same command with --out {job.out} completes them; exit code {INTERRUPTED}",
            err=True,
        )
        raise typer.Exit(INTERRUPTED) from None
    return comparison


def _tell(progress: RunProgress, of: int) -> None:
    took = "…" if progress.seconds is None else f"took {span(progress.seconds)}"
    sys.stderr.write(f"pair {progress.pair} of {of}, {progress.side.upper()}: {took}\n")
    sys.stderr.flush()
