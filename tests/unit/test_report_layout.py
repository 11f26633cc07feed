"""How the report reads: the verdict first, points in a line, every tick drawn, nothing cut or said twice."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from sample_report import draw_charts, run
from shotclock.bench.judge.shares import Share
from shotclock.bench.record.rows import table
from shotclock.bench.report.kit.grid import plain
from shotclock.bench.report.kit.panel import Axis, Panel, draw, rule, with_title
from shotclock.bench.report.kit.render import svg
from shotclock.bench.report.run import conclusion_tables
from shotclock.bench.report.run.page import write_report
from shotclock.bench.report.run.tables import note_emulated_share
from shotclock.bench.report.run.terminal import show
from shotclock.bench.schema import CurvePoint, Latency, Percentile, State, Summary


def print_summary(summary: Summary, width: int = 80) -> str:
    stream = io.StringIO()
    show(summary, Path("run"), Console(file=stream, width=width, no_color=True), [])
    return stream.getvalue()


def test_the_decimal_points_of_a_column_align() -> None:
    grid = plain("", ("", "ms"), [("a", "1,234"), ("b", "0.05"), ("c", "–"), ("d", "-7.5"), ("e", "9 %")])
    words, places = grid.places()
    assert (words, places) == (0, 2)
    assert [cells[1].padding(places) for cells in grid.groups[0].rows] == [
        "\u2008\u2007\u2007",
        "",
        "",
        "\u2007",
        "",
    ]


def test_rows_of_different_units_need_no_line() -> None:
    assert plain("", ("", "value"), [("s", "0.05"), ("lanes", "5")], mixed=True).places() == (0, 0)


def test_the_verdict_stands_above_the_facts_and_charts_are_listed_by_their_own_titles(
    tmp_path: Path,
) -> None:
    steps, summary = run()
    text = write_report(summary, table(steps), tmp_path).read_text(encoding="utf-8")
    assert text.count(summary.verdict.headline) == 1
    assert text.index(summary.verdict.headline) < text.index('<dl class="facts">')
    for name, chart in draw_charts(steps, summary).items():
        assert f'<a href="#{name}">{chart.title}</a>' in text
        assert f">{chart.title}" in svg(chart.chart)


def test_no_line_of_the_page_ends_before_a_percent_sign(tmp_path: Path) -> None:
    steps, summary = run()
    body = write_report(summary, table(steps), tmp_path).read_text(encoding="utf-8").partition("<main>")[2]
    tables = "".join(part.partition("</table>")[0] for part in body.split("<table>")[1:])
    assert "\u00a0%" in tables
    assert "0 %" not in tables


def test_every_tick_of_a_short_axis_is_drawn() -> None:
    ticks = tuple(range(9))
    words = tuple(f"tick {tick}" for tick in ticks)
    axis = Axis(0.0, 8.0, tuple(map(float, ticks)), words, "")
    panel = Panel((), axis, axis, 500, 180, "", stepped=False)
    shown = svg(with_title(draw(panel, {}, rule(4.0, "a limit", panel)), "", []))
    assert [shown.count(f">{each}<") for each in words] == [2] * len(words)


def test_an_arms_name_is_whole_beside_large_figures() -> None:
    _, summary = run()
    at = Percentile(value=None, upper_bound=None)
    large = {
        name: metric.model_copy(
            update={
                "n": 10_000,
                "mean": 11_583.0,
                "censored_above": 30_000,
                "percentiles": dict.fromkeys(("p50", "p95", "p99"), at),
            }
        )
        if isinstance(metric, Latency)
        else metric
        for name, metric in summary.metrics.items()
    }
    text = print_summary(summary.model_copy(update={"metrics": large}))
    assert "…" not in text
    latencies = text[text.index("Latency by arm") : text.index("Latency by stage")]
    for name in summary.arms:
        assert f"\n{name}\n" in latencies or name == "classical-only"
    assert "> 30,000 > 30,000 > 30,000" in latencies
    assert max(map(len, latencies.splitlines())) <= 80


def test_a_terminal_begins_with_the_verdict_and_ends_with_its_reasons() -> None:
    _, summary = run()
    text = print_summary(summary, width=200)
    first, last = summary.verdict.headline, summary.verdict.sentences[-1].text
    assert text.index(first) < text.index("Latency by arm")
    assert text.rindex(first) > text.index("Cost per loss")
    assert text.index(f"{len(summary.verdict.sentences)}. {last}") > text.rindex(first)


def test_figures_of_the_same_arms_are_named_together() -> None:
    _, summary = run()
    arms = ("hybrid-colocated", "hybrid-public-cloud")
    names = tuple(f"{arm}.{kind}" for arm in arms for kind in ("added_latency", "qpu_exec_time"))
    point = CurvePoint(
        key="x", title="x", state=State.MET, said="so", figures=(*names, "quantum-raw.winners")
    )
    (row,) = conclusion_tables.checklist(summary.model_copy(update={"checklist": (point,)})).groups[0].rows
    together = "added_latency, qpu_exec_time of hybrid-colocated, hybrid-public-cloud"
    assert row[2].note == f"rests on {together}; winners of quantum-raw"


@pytest.mark.parametrize(
    ("share", "emulated", "words"),
    [(0.5, 0.0, ""), (0.5, 0.4999, "emulated"), (0.5, 0.2, "20.0 % emulated")],
)
def test_a_share_says_how_much_of_it_was_emulated(share: float, emulated: float, words: str) -> None:
    assert note_emulated_share(Share("collect", share, emulated)) == words
