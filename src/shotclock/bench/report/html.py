"""report.html: one file that needs no network and no script, and the charts beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from shotclock.bench.report import findings, tables
from shotclock.bench.report.figures import Figure, figures
from shotclock.bench.report.grid import Grid
from shotclock.bench.report.render import inline, png, standalone, svg
from shotclock.bench.report.words import figure, mark_of, number
from shotclock.bench.schema import Summary


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A chart ready for the page."""

    name: str
    title: str
    caption: str
    drawing: Markup
    grid: Grid


def write_report(summary: Summary, table: pa.Table, folder: Path) -> Path:
    """Writes charts/*.svg, charts/*.png and report.html under `folder`; gives the page's path.

    table: the rows of steps.parquet (`rows.table`). Raises OSError where the folder cannot be written.
    """
    charts = folder / "charts"
    charts.mkdir(parents=True, exist_ok=True)
    drawn = [_draw(each, charts) for each in figures(summary, table)]
    path = folder / "report.html"
    path.write_text(page(summary, drawn), encoding="utf-8")
    return path


def _draw(each: Figure, charts: Path) -> _Drawn:
    drawing = svg(each.chart)
    (charts / f"{each.name}.svg").write_text(standalone(drawing), encoding="utf-8")
    (charts / f"{each.name}.png").write_bytes(png(drawing))
    # Vega escapes the text it draws and `inline` what it adds.
    safe = Markup(inline(drawing, each.name, each.title, each.caption))  # noqa: S704
    return _Drawn(each.name, each.title, each.caption, safe, each.grid)


def page(summary: Summary, drawn: list[_Drawn]) -> str:
    """The page's text."""
    environment = Environment(
        loader=PackageLoader("shotclock.bench", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    cited = [
        (sentence.text, [(name, figure(summary, name)) for name in sentence.figures])
        for sentence in summary.verdict.sentences
    ]
    return environment.get_template("report.html.j2").render(
        run=summary,
        cited=cited,
        drawn=drawn,
        facts=_facts(summary),
        tables=tables,
        findings=findings,
        mark=mark_of(summary),
    )


def _facts(summary: Summary) -> list[tuple[str, str]]:
    return [
        ("run", summary.run_id),
        ("started", summary.started_at[:19].replace("T", " ")),
        ("took", f"{number(summary.duration_s)} s"),
        ("workload", summary.workload),
        ("kernel", f"{summary.kernel}, n = {summary.n}"),
        ("shots", str(summary.shots)),
        ("common steps", f"{summary.common_steps:,}"),
        ("clock", summary.clock),
        ("shotclock", summary.shotclock),
    ]
