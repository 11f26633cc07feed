"""report.html: one file that needs no network and no script, and the charts beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from shotclock.bench.judge.worth import add_worth
from shotclock.bench.record.arm_runs import SOLVERS
from shotclock.bench.report.kit.arm_styles import looks
from shotclock.bench.report.kit.render import without_validation
from shotclock.bench.report.kit.sheet import PAGE, Drawn, draw_all, template
from shotclock.bench.report.kit.wording import figure, mark_of, note_virtual_arms, took
from shotclock.bench.report.run import (
    accelerators_table,
    conclusion_tables,
    hosts_table,
    ladder_table,
    savings_table,
    serving_table,
    tables,
)
from shotclock.bench.report.run import arm_table as arms
from shotclock.bench.report.run.charts import figures, overview
from shotclock.bench.schema import CIRCUITS, Summary
from shotclock.domain import files
from shotclock.domain.plural import count


@without_validation()
def write_report(summary: Summary, table: pa.Table, folder: Path) -> Path:
    """Writes charts/*.svg, charts/*.png and report.html under `folder`; gives the page's path.

    table: the rows of steps.parquet (`rows.table`). Raises OSError where the folder cannot be written.
    """
    if summary.schema_number == 1:
        summary = add_worth(summary, table)
    first = draw_all(overview(summary), folder)
    drawn = draw_all(figures(summary, table), folder)
    path = folder / PAGE
    files.write_text(path, page(summary, first, drawn))
    return path


def page(summary: Summary, first: Sequence[Drawn], drawn: Sequence[Drawn]) -> str:
    """The page's text; first: the charts of the first screen."""
    mark = mark_of(summary)
    strong = mark.split(", ")
    if summary.status != "complete":
        strong.append(f"{summary.status.upper()}: partial results")
    cited = [
        (sentence.text, [(name, figure(summary, name)) for name in sentence.figures])
        for sentence in summary.verdict.sentences
    ]
    return template("report.html.j2").render(
        title=f"Shotclock report: {summary.run_id}{' (EMULATED)' if summary.emulated else ''}",
        name="Shotclock bench",
        heading=summary.workload,
        badges=[*strong, *(["quick run"] if summary.quick else [])],
        strong=len(strong),
        foot=(
            f"shotclock {summary.shotclock}, summary.json schema {summary.schema_number}. Raw rows: "
            "steps.parquet; the settings: config.lock.toml; time line, for Perfetto: trace.pftrace."
        ),
        headline=summary.verdict.headline,
        run=summary,
        cited=cited,
        first=first,
        drawn=drawn,
        faces={arm: look for arm, look in looks(summary.arms).items() if arm not in SOLVERS},
        facts=_facts(summary),
        tables=tables,
        conclusions=conclusion_tables,
        ladder=ladder_table.compare_rungs(summary),
        arms=arms,
        savings=savings_table,
        serving=serving_table,
        accelerators=accelerators_table,
        hosts=hosts_table,
        own=mark if summary.emulated else "",
        virtual_arms=note_virtual_arms(summary),
    )


def _facts(summary: Summary) -> list[tuple[str, str]]:
    shots = "shots to fit" if summary.shots == "fit" else count(summary.shots, "shot")
    return [
        ("run", summary.run_id),
        ("started", summary.started_at[:19].replace("T", " ")),
        ("took", took(summary)),
        ("workload", summary.workload),
        ("kernel", summary.subject if summary.kernel == CIRCUITS else f"{summary.subject}, {shots}"),
        ("common steps", f"{summary.common_steps:,}"),
        ("clock", f"{summary.clock}; virtual for some arms" if note_virtual_arms(summary) else summary.clock),
        ("shotclock", summary.shotclock),
    ]
