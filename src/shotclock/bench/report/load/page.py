"""report.html of a load test: one file that needs no network and no script, its charts beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shotclock.bench.load.records import CallRecord
from shotclock.bench.load.schema import LoadSummary
from shotclock.bench.numbers import number
from shotclock.bench.report.kit.render import without_validation
from shotclock.bench.report.kit.sheet import PAGE, Drawn, draw_all, template
from shotclock.bench.report.load import tables as load_tables
from shotclock.bench.report.load.charts import figures
from shotclock.bench.report.load.wording import headline, mark_of_load, over_runs, sentences
from shotclock.domain import files


@without_validation()
def write_load_report(summary: LoadSummary, calls: Sequence[CallRecord], folder: Path) -> Path:
    """Writes charts/*.svg, charts/*.png and report.html under `folder`; gives the page's path.

    Raises OSError where the folder cannot be written.
    """
    drawn = draw_all(figures(summary, calls), folder)
    path = folder / PAGE
    files.write_text(path, load_page(summary, drawn))
    return path


def load_page(summary: LoadSummary, drawn: Sequence[Drawn]) -> str:
    """The page's text; a test without a run that ended has a page too."""
    quoted = summary.runs[summary.quoted] if summary.runs else None
    marks = mark_of_load(summary)
    badges = marks.split(", ")
    if summary.status != "complete":
        badges.append(f"{summary.status.upper()}: partial results")
    rate = f" at {number(quoted.rate_per_s)} calls/s" if quoted is not None else ""
    return template("load.html.j2").render(
        title=f"Shotclock load: {summary.run_id}{' (EMULATED)' if summary.emulated else ''}",
        name="Shotclock load",
        heading=f"{summary.scenario}{rate}, {summary.request_label}",
        badges=badges,
        strong=len(badges),
        foot=(
            f"shotclock {summary.shotclock}, load.json schema {summary.schema_number}. Raw calls: "
            "calls.parquet, nanoseconds."
        ),
        run=summary,
        quoted=quoted,
        which=f"run {summary.quoted + 1} of {len(summary.runs)}, which speaks for the test",
        headline=headline(summary),
        sentences=sentences(summary),
        over_runs=over_runs(summary),
        drawn=drawn,
        facts=_facts(summary),
        tables=load_tables,
        mark=marks,
    )


def _facts(summary: LoadSummary) -> list[tuple[str, str]]:
    return [
        ("run", summary.run_id),
        ("started", summary.started_at[:19].replace("T", " ")),
        ("calls", f"{sum(run.calls for run in summary.runs):,}"),
        ("target", summary.target),
        ("provider", summary.provider),
        ("shotclock", summary.shotclock),
    ]
