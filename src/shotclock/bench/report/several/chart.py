"""How far several runs lie apart: each figure about its mean over the runs, an arm a panel."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt

from shotclock.bench.compare.several import WHOLE, Several
from shotclock.bench.compare.several import Row as Compared
from shotclock.bench.report.kit.arm_styles import INK, Look, looks
from shotclock.bench.report.kit.compose import Composed, lay_over, stack
from shotclock.bench.report.kit.panel import Row, data, with_title

_WIDTH, _ROW_PX = 600, 17
_LEAST_REACH = 1.0
"""How far the axis goes to either side at least, per cent, so that runs that agree do not look scattered."""
_ROOM = 1.08


def comparable(rows: Sequence[Compared]) -> list[Compared]:
    """What can be drawn about its mean: all runs have it, it is not 0, and it is not a part or difference."""
    names = (*WHOLE, "latency", "quantum_latency")
    return [
        row
        for row in rows
        if row.spread is not None
        and ".software." not in row.metric
        and (row.unit != "ms" or row.metric.split(".")[1] in names)
        and not row.metric.endswith((".improvement", ".qpu_s"))
    ]


def scatter(several: Several, subtitle: Sequence[str]) -> Composed | None:
    """The whole chart; None where no figure is in every run."""
    every = {name: comparable(rows) for name, rows in several.groups.items()}
    panels = {name: rows for name, rows in every.items() if rows}
    if not panels:
        return None
    faces = looks([f"host {place + 1}" for place in range(len(several.hosts))])
    reach = max(_LEAST_REACH, *(_reach(row) for rows in panels.values() for row in rows))
    last = list(panels)[-1]
    drawn = [
        _panel(name, rows, several, faces, _axis(_ROOM * reach, titled=name == last))
        for name, rows in panels.items()
    ]
    chart = stack(drawn, spacing=18)
    return with_title(chart, "How far the runs lie apart", subtitle)


def _percent(row: Compared, value: float) -> float:
    """How far a value lies from the row's mean, per cent; `comparable` leaves only rows that have one."""
    mean = row.estimate.value if row.estimate is not None else 1.0
    return 100 * (value - mean) / abs(mean)


def _reach(row: Compared) -> float:
    return max(abs(_percent(row, value)) for value in row.present_values)


def _axis(reach: float, *, titled: bool) -> alt.X:
    title = "against the mean of the runs, %" if titled else None
    axis = alt.Axis(title=title, tickCount=7, labelExpr="datum.value ? format(datum.value, '+,.3~r') : '0'")
    return alt.X("x:Q", scale=alt.Scale(domain=[-reach, reach], nice=False), axis=axis)


def _panel(
    name: str, rows: Sequence[Compared], several: Several, faces: dict[str, Look], x: alt.X
) -> Composed:
    points: list[Row] = []
    intervals: list[Row] = []
    labels = [row.metric.removeprefix(f"{name}.") for row in rows]
    for label, row in zip(labels, rows, strict=True):
        for run, value in zip(several.runs, row.values, strict=True):
            if value is not None:
                host = f"host {several.hosts.index(run.host) + 1}"
                points.append({"figure": label, "x": _percent(row, value), "host": host})
        if row.estimate is not None:
            low, high = _percent(row, row.estimate.low), _percent(row, row.estimate.high)
            intervals.append({"figure": label, "x": low, "x2": high})
    y = alt.Y("figure:N", sort=labels, axis=alt.Axis(title=None, labelLimit=260, grid=False))
    several_hosts = len(faces) > 1
    legend = alt.Legend(title=None, orient="top", labelColor=INK) if several_hosts else None
    colour = alt.Color(
        "host:N",
        scale=alt.Scale(domain=list(faces), range=[face.colour for face in faces.values()]),
        legend=legend,
    )
    shape = alt.Shape(
        "host:N",
        scale=alt.Scale(domain=list(faces), range=[face.shape for face in faces.values()]),
        legend=legend,
    )
    zero = alt.Chart(data([{"x": 0.0}])).mark_rule(color=INK, strokeWidth=1, strokeDash=[1, 3]).encode(x=x)
    bar = alt.Chart(data(intervals)).mark_rule(color=INK, strokeWidth=7, opacity=0.18)
    dot = alt.Chart(data(points)).mark_point(size=42, filled=True, opacity=0.85)
    layers = [zero, bar.encode(x=x, x2=alt.X2("x2:Q"), y=y), dot.encode(x=x, y=y, color=colour, shape=shape)]
    title = alt.TitleParams(name, anchor="start", fontSize=12, fontWeight="bold", offset=6)
    height = _ROW_PX * len(rows)
    return lay_over(layers, width=_WIDTH, height=height, title=title)
