"""`shotclock jobs`: the ledger of paid jobs, and the parked ones settled by a person."""

from __future__ import annotations

import difflib
import json as json_text
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from shotclock.domain.errors import SettingsError
from shotclock.domain.ledger import JobRecord, LedgerState

if TYPE_CHECKING:
    from rich.table import Table

    from shotclock.orchestrator.ledger.places import LedgerPlace
    from shotclock.orchestrator.ledger.transitions import Transition

TAG_WIDTH = len("shotclock:") + 24
"""A tag as the orchestrator makes it."""

jobs = typer.Typer(
    help="The ledger of paid jobs: list it, settle what is parked.", invoke_without_command=True
)

Where = Annotated[
    str,
    typer.Option(
        "--ledger", help="A path, sqlite:///path or postgresql://… (default: the settings' serve.ledger)."
    ),
]
Config = Annotated[Path | None, typer.Option(help="Settings file (TOML).")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
Tag = Annotated[str, typer.Argument(metavar="TAG", help="A job's tag, as the list shows it.")]
Tags = Annotated[
    list[str] | None, typer.Argument(metavar="[TAG]...", help="Tags of parked jobs, as the list shows them.")
]


@dataclass(frozen=True, slots=True)
class Place:
    """Where the ledger is, as far as it was said."""

    ledger: str
    config: Path | None

    def find(self, above: Place) -> LedgerPlace:
        """The ledger; if not given here, it was given before the verb or is in the settings."""
        from shotclock.orchestrator.ledger.places import find_place  # noqa: PLC0415 - see `bench`
        from shotclock.settings import load  # noqa: PLC0415

        ledger = self.ledger or above.ledger
        flags = {"serve": {"ledger": ledger}} if ledger else {}
        return find_place(load(self.config or above.config, flags).serve.ledger_file)


@jobs.callback()
def list_jobs(
    context: typer.Context,
    *,
    ledger: Where = "",
    state: Annotated[list[LedgerState], typer.Option(help="Only jobs in this state; may be repeated.")] = [],  # noqa: B006 - typer copies it
    config: Config = None,
    json: Json = False,
) -> None:
    """List the ledger's jobs, the newest change last; also while an orchestrator runs."""
    place = Place(ledger, config)
    if context.invoked_subcommand is not None:
        context.obj = place
        return
    jobs_ledger = place.find(place)
    records = jobs_ledger.read_jobs(*state)
    if json:
        typer.echo(
            json_text.dumps({"ledger": jobs_ledger.name, "jobs": [_fields(job) for job in records]}, indent=2)
        )
        return
    from rich.console import Console  # noqa: PLC0415 - `--help` must not wait for it

    if records:
        Console().print(_job_table(records, time.time()))
    else:
        typer.echo(
            f"no {' or '.join(state)} jobs in {jobs_ledger.name}"
            if state
            else f"no jobs in {jobs_ledger.name}"
        )


@jobs.command()
def history(
    context: typer.Context, tag: Tag, *, ledger: Where = "", config: Config = None, json: Json = False
) -> None:
    """Print what a job went through, transition by transition."""
    place = Place(ledger, config).find(context.obj)
    _job(place, tag)
    transitions = place.read_history(tag)
    if json:
        steps = [
            {
                "before": transition.before,
                "after": transition.after,
                "job_id": transition.job_id,
                "note": transition.note,
                "at_unix_s": transition.at_unix_s,
            }
            for transition in transitions
        ]
        typer.echo(json_text.dumps({"tag": tag, "history": steps}, indent=2))
        return
    from rich.console import Console  # noqa: PLC0415

    Console().print(_history_table(transitions))


@jobs.command()
def settle(
    context: typer.Context,
    tags: Tags = None,
    *,
    as_: Annotated[
        Literal["failed", "submitted"],
        typer.Option(
            "--as", help="failed: no job ran. submitted: one did, and is collected at the next start."
        ),
    ],
    note: Annotated[str, typer.Option(help="How you know; kept in the history.")],
    job_id: Annotated[str, typer.Option(help="The provider's id of the job that ran.")] = "",
    every: Annotated[
        bool, typer.Option("--all", help="Instead of tags: every parked job without a job id.")
    ] = False,
    older_than: Annotated[
        float, typer.Option(min=0, help="With --all: only jobs parked for so many seconds.")
    ] = 0.0,
    ledger: Where = "",
    config: Config = None,
    json: Json = False,
) -> None:
    """Decide what became of parked jobs, while no orchestrator holds the ledger's file.

    Everything is checked first: where one job cannot be settled, none is.
    """
    place, state = Place(ledger, config).find(context.obj), LedgerState(as_)
    if bool(tags) == every:
        raise SettingsError("name the tags of parked jobs, or give --all; not both")
    if older_than and not every:
        raise SettingsError("--older-than: is for --all; leave it out where tags are given")
    if not note.strip():
        raise SettingsError("--note: state how you determined the job's outcome")
    parked = _unknown(place, older_than) if every else [_job(place, tag) for tag in dict.fromkeys(tags or ())]
    _check_moves(parked, state, job_id)
    place.settle([job.tag for job in parked], state, job_id, note)
    settled = [_job(place, job.tag) for job in parked]
    if json:
        document = (
            _fields(settled[0]) if tags and len(settled) == 1 else {"jobs": [_fields(job) for job in settled]}
        )
        typer.echo(json_text.dumps(document, indent=2))
    else:
        for job in settled:
            typer.echo(f"{job.tag}: parked → {job.state}")
        if not settled:
            typer.echo(f"no parked jobs to settle in {place.name}")


def _check_moves(parked: Sequence[JobRecord], state: LedgerState, job_id: str) -> None:
    if job_id and len(parked) > 1:
        raise SettingsError(f"--job-id: is the id of one job (got {len(parked)}); settle them one by one")
    for job in parked:
        if job.state is not LedgerState.PARKED:
            raise SettingsError(f"{job.tag} is {job.state}: only a parked job is settled by hand")
        if state is LedgerState.SUBMITTED and not job_id and not job.job_id:
            raise SettingsError(
                f"{job.tag}: --as submitted needs --job-id, the provider's id of the job that ran"
            )


def _unknown(place: LedgerPlace, older_than_s: float) -> list[JobRecord]:
    """The parked jobs of which no job id is known, parked for so long."""
    latest_s = time.time() - older_than_s
    parked = place.read_jobs(LedgerState.PARKED)
    return [job for job in parked if not job.job_id and job.changed_unix_s <= latest_s]


def _job(place: LedgerPlace, tag: str) -> JobRecord:
    by_tag = {job.tag: job for job in place.read_jobs()}
    if tag not in by_tag:
        near = difflib.get_close_matches(tag, by_tag, n=1, cutoff=0.0)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise SettingsError(f"no job {tag!r} in {place.name}{hint}")
    return by_tag[tag]


def _fields(job: JobRecord) -> dict[str, object]:
    return {
        "tag": job.tag,
        "provider": job.provider,
        "requests": job.requests,
        "shots": job.shots,
        "state": job.state,
        "job_id": job.job_id,
        "note": job.note,
        "changed_unix_s": job.changed_unix_s,
    }


def _job_table(records: tuple[JobRecord, ...], now_unix_s: float) -> Table:
    """The note stands under the tag, so that at 80 columns a tag is one word to copy; nothing is cut."""
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, pad_edge=False)
    table.add_column("state", no_wrap=True)
    table.add_column("tag, note", overflow="fold", width=TAG_WIDTH)
    table.add_column("provider", overflow="fold")
    table.add_column("job id", overflow="fold")
    table.add_column("calls", justify="right", no_wrap=True)
    table.add_column("age", justify="right", no_wrap=True)
    for job in records:
        # Text, since a provider's words may hold rich's markup
        tag = Text(job.tag)
        if job.note:
            tag.append(f"\n{job.note}", style="dim")
        calls, since = str(len(job.requests)), age(now_unix_s - job.changed_unix_s)
        table.add_row(Text(job.state), tag, Text(job.provider), Text(job.job_id), calls, since)
    return table


def _history_table(transitions: tuple[Transition, ...]) -> Table:
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, pad_edge=False)
    table.add_column("at (UTC)", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("job id", overflow="fold")
    table.add_column("note", overflow="fold")
    for transition in transitions:
        at = (
            datetime.fromtimestamp(transition.at_unix_s, UTC)
            .isoformat(" ", "milliseconds")
            .removesuffix("+00:00")
        )
        table.add_row(*map(Text, (at, transition.after, transition.job_id, transition.note)))
    return table


def age(seconds: float) -> str:
    """A time span in its largest fitting unit: 45s, 12m, 7h, 3d."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return f"{max(0, int(seconds))}s"
