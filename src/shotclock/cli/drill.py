"""`shotclock drill`: rehearses an incident, from its fault to the recovery; EMULATED."""

from __future__ import annotations

import json as json_text
import textwrap
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shotclock.app.drills.catalog import BY_NAME, ENTRIES, DrillEntry
from shotclock.bench.numbers import ms, number
from shotclock.cli.exit_codes import THRESHOLD_FAILED

if TYPE_CHECKING:
    from shotclock.app.drills.late_answers import StaleUpdates
    from shotclock.app.drills.record import DrillRecord

INDENT = "    "
HELP = """Rehearse an incident: fault, alert, runbook, recovery; EMULATED.

A drill starts a site in a temporary folder: `shotclock serve` with mutual TLS, an EMULATED QPU, Prometheus
and Alertmanager with the rules of `ops export`, and a client that makes calls. It causes the fault at its
source, waits until Alertmanager sends the alert, performs the runbook's steps and waits until the alert is
resolved. A running system is never the target: the faults kill processes, fill disks and spend money.
Ctrl-C ends everything.

Exit codes: 0 passed, 3 a program is missing, 99 not passed.
"""

drill = typer.Typer(help=HELP, no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


@drill.callback()
def _root() -> None:
    """Takes the drill's name."""


@drill.command("list")
def list_drills(*, json: Json = False) -> None:
    """List the drills: what each causes, how long it takes, what it needs."""
    if json:
        typer.echo(json_text.dumps({"drills": [_describe(entry) for entry in ENTRIES]}))
        return
    for entry in ENTRIES:
        typer.echo(f"{entry.name:<20}{entry.minutes} min   alert {entry.alert}")
        typer.echo(textwrap.fill(entry.summary, 80, initial_indent=INDENT, subsequent_indent=INDENT))
    typer.echo(f"Every drill needs {', '.join(ENTRIES[0].needs)} on PATH.")


def _describe(entry: DrillEntry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "alert": entry.alert,
        "fault": entry.summary,
        "minutes": entry.minutes,
        "scale": entry.scale,
        "needs": list(entry.needs),
    }


def _add_command(entry: DrillEntry) -> None:
    @drill.command(entry.name, help=f"{entry.summary} Alert: {entry.alert}.")
    def run(*, json: Json = False) -> None:
        record = _rehearse(entry.name)
        if json:
            typer.echo(json_text.dumps(record.document()))
        else:
            _show_record(record)
        if not record.has_passed:
            raise typer.Exit(THRESHOLD_FAILED)


for _entry in ENTRIES:
    if _entry.name != "stale-updates":
        _add_command(_entry)


@drill.command("stale-updates")
def stale_updates(
    *,
    seed: Annotated[int, typer.Option(min=0, help="Random seed for network, delay and sample draws.")] = 0,
    virtual: Annotated[
        bool, typer.Option("--virtual", help="Only the part on virtual time, which starts no process.")
    ] = False,
    json: Json = False,
) -> None:
    """Answers are older than the model: the alert; then on virtual time what they do, protections off and on.

    Exit codes: 0 the drill passed and the protections held, 99 not, or the failure did not show.
    """
    record = None if virtual else _rehearse("stale-updates")
    result = _run_virtually(seed)
    if json:
        typer.echo(json_text.dumps(_stale_document(result, record)))
    else:
        if record is not None:
            _show_record(record)
        _show(result)
    if not result.has_passed or (record is not None and not record.has_passed):
        raise typer.Exit(THRESHOLD_FAILED)


def _rehearse(name: str) -> DrillRecord:
    from shotclock.app.drills.monitoring import find_programs  # noqa: PLC0415 - `--help` must not wait for them

    find_programs(BY_NAME[name].needs)  # before torch is imported
    from shotclock.app.drills.registry import run_drill  # noqa: PLC0415

    return run_drill(name, _report)


def _run_virtually(seed: int) -> StaleUpdates:
    import torch  # noqa: PLC0415 - `--help` must not wait for it

    from shotclock.app.drills import late_answers  # noqa: PLC0415

    torch.set_num_threads(1)  # sums in one order, so that a seed gives the same figures everywhere
    return late_answers.stale_updates(seed, _report)


def _report(what: str) -> None:
    typer.echo(what, err=True)


def _stale_document(result: StaleUpdates, record: DrillRecord | None) -> dict[str, Any]:
    from dataclasses import asdict  # noqa: PLC0415

    return {
        "drill": "stale-updates",
        "emulated": True,
        "clock": "virtual",
        **asdict(result),
        "ratio": result.ratio,
        "passed": result.has_passed and (record is None or record.has_passed),
        "verdict": result.verdict,
        "rehearsal": None if record is None else record.document(),
    }


def _show_record(record: DrillRecord) -> None:
    for step in record.steps:
        if step.has_failed:
            typer.echo(f"a step ended with {step.exit_code}: {step.command.strip()}\n{step.output.strip()}")
    calls = record.calls
    for line in (
        f"{record.name} (EMULATED): {'passed' if record.has_passed else f'NOT PASSED: {record.failure}'}",
        f"  detection {_seconds(record.detection_s)} with the rules' times divided by {record.scale:g}; "
        f"as exported the rule adds {record.unscaled_adds_s:.0f} s, "
        f"and looks at {record.unscaled_window_s:.0f} s",
        f"  recovery {_seconds(record.recovery_s)} from the alert, {len(record.steps)} steps included",
        f"  calls {calls.total}: {calls.with_samples} with samples, {calls.degraded} classical, "
        f"{calls.unanswered} unanswered, {calls.lost} lost",
    ):
        typer.echo(line)


def _seconds(duration_s: float | None) -> str:
    return "not reached" if duration_s is None else f"{duration_s:.1f} s"


def _show(result: StaleUpdates) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    console = Console(highlight=False)
    table = Table(title=f"stale-updates, seed {result.seed} (EMULATED, virtual time)")
    for name in ("", *(arm.arm for arm in result.rounding)):
        table.add_column(name, justify="right" if name else "left")
    for words, cells in _rows(result):
        table.add_row(words, *cells)
    console.print(table)
    console.print("K1 is the kernel rounding, K3 qat_flip; a harmful answer raised the layer's loss.")
    console.print("K3's held-out loss as training continues:")
    for arm in result.flipping:
        console.print(f"  {arm.arm:<12} " + " ".join(number(loss) for loss in arm.course), soft_wrap=True)
    console.print(result.verdict, soft_wrap=True)


def _rows(result: StaleUpdates) -> list[tuple[str, list[str]]]:
    arms, flips = result.rounding, result.flipping[1:]
    return [
        ("answered after, median", [f"{ms(arm.answered_p50_ms)} ms" for arm in arms]),
        ("answered after, longest", [f"{ms(arm.answered_longest_ms)} ms" for arm in arms]),
        ("K1 calls", [", ".join(f"{n} {how}" for how, n in arm.answers.items()) for arm in arms]),
        ("K1 answers applied", [str(arm.applied) for arm in arms]),
        ("K1 of them harmful", [str(arm.harmful) for arm in arms]),
        ("K1 layer loss ÷ nearest rounding", [number(arm.loss_ratio) for arm in arms]),
        ("K3 answers applied", [f"{arm.applied} of {arm.calls}" for arm in flips]),
        ("K3 held-out loss at the end", [number(arm.course[-1]) for arm in flips]),
    ]
