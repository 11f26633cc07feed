"""The break-even drawn: a panel a fabric, its measured point among the lines of equal cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import altair as alt

from shotclock.bench.analysis import BreakEven, CallCost
from shotclock.bench.numbers import number, span
from shotclock.bench.record.arm_runs import CONTROL
from shotclock.bench.report.kit.arm_styles import INK, Look
from shotclock.bench.report.kit.axes import logarithmic, power
from shotclock.bench.report.kit.compose import Composed, lay_over, set_beside, stack
from shotclock.bench.report.kit.label_layout import Frame, freest, stack_labels
from shotclock.bench.report.kit.panel import Axis, Row, data, with_title
from shotclock.bench.report.run.break_even_table import no_gain, word_prices

_WIDTH, _GAP, _HEIGHT, _COLUMNS = 714, 24, 280, 3
"""Of a whole row of panels, px."""
_POINTS = 48
_SUPPOSED_S = (1.0, 60.0, 3600.0, 86_400.0, 604_800.0)
"""Classical solvers of these times are drawn too, so that a far point's distance can be read."""
_HIDDEN_FROM = 1.05
_MARGIN = 30.0
_LABEL_PX = 13.0
_NAME_DX, _NAME_DY = 5, -6
_HERE = "this run"
_SIDES = ((10, -1), (4, -13), (4, 14), (-10, -1), (-4, -13), (-4, 14))
"""Possible positions of the words next to the mark, px: right, above, below, and the same to its left."""


@dataclass(frozen=True, slots=True)
class Equal:
    """A line of equal cost with a classical answer of so many seconds. kind: measured, gain, supposed."""

    kind: str
    classical_s: float
    words: str


@dataclass(frozen=True, slots=True)
class Course:
    """A line as a panel draws it. points: log10 of round trip and price; named_at: the height of its name."""

    line: Equal
    points: list[tuple[float, float]]
    named_at: float

    @property
    def is_lifted(self) -> bool:
        """Whether the name is above its line to avoid another's."""
        return self.named_at > self.points[0][1]


def draw_break_even(break_even: BreakEven, faces: dict[str, Look], subtitle: Sequence[str]) -> Composed:
    """Price of a QPU second over what a call holds the training; below its line a call is worth its cost."""
    x, y = _axes(break_even)
    beside = min(_COLUMNS, len(break_even.quantum))
    width = (_WIDTH - _GAP * (beside - 1)) // beside
    frame = Frame(x, y, width, _HEIGHT)
    panels = [
        _panel(break_even, cost, faces[cost.arm], frame, first=place % _COLUMNS == 0)
        for place, cost in enumerate(break_even.quantum)
    ]
    rows = [
        set_beside(panels[first : first + _COLUMNS], spacing=_GAP)
        for first in range(0, len(panels), _COLUMNS)
    ]
    lines = [*subtitle, f"at {word_prices(break_even.prices)}", *no_gain(break_even)]
    return with_title(stack(rows, spacing=30), "Break-even: round trip against price", lines)


def _lines(break_even: BreakEven, call_cost: CallCost) -> list[Equal]:
    """The measured answer's, the gain's where it is settled, and supposed ones up to beyond the point."""
    lines, least = [], 0.0
    if break_even.classical is not None:
        least = break_even.classical.blocked_s
        lines.append(Equal("measured", least, f"{CONTROL}: {span(least)}"))
        if (factor := break_even.gain_factor(call_cost)) is not None:
            lines.append(Equal("gain", factor * least, f"for its gain: × {number(factor)}"))
    farthest = max(cost.classical_s(break_even.prices) for cost in break_even.quantum)
    supposed = [seconds for seconds in _SUPPOSED_S if seconds > 4 * least]
    beyond = next((seconds for seconds in supposed if seconds > farthest), math.inf)
    return lines + [Equal("supposed", s, f"a solver of {span(s)}") for s in supposed if s <= beyond]


def _axes(break_even: BreakEven) -> tuple[Axis, Axis]:
    """Both cover the points, every least line with some room, and the plateaus of the supposed ones."""
    at = break_even.prices
    lines = {cost.arm: _lines(break_even, cost) for cost in break_even.quantum}
    least_s = min(
        [line.classical_s for each in lines.values() for line in each]
        + [cost.blocked_s for cost in break_even.quantum]
    )
    trips = [value for cost in break_even.quantum for value in (cost.blocked_s, cost.round_trip_s)]
    low_s, high_s = least_s / _MARGIN, 8 * max(*trips, least_s)
    # in a session the bill grows with the round trip: the plateau is highest at the left edge
    plateaus = [
        cost.price(line.classical_s, low_s, at) for cost in break_even.quantum for line in lines[cost.arm]
    ]
    low = min(plateaus) / _MARGIN
    high = 8 * max(*plateaus, at.qpu_second)
    x = logarithmic(low_s, high_s, "round trip the training waits for, log scale", read=span)
    return x, logarithmic(low, high, f"price of a QPU second, {at.currency}, log scale", every=2, read=power)


def _course(
    cost: CallCost, line: Equal, break_even: BreakEven, x: Axis, y: Axis
) -> list[tuple[float, float]]:
    """(log10 R, log10 p) from the left edge until it leaves by the bottom or the right one."""
    end_s = min(cost.round_trip(line.classical_s, 10**y.low, break_even.prices), 10**x.high)
    if end_s <= 10**x.low:
        return []
    width = math.log10(end_s) - x.low
    even = [x.low + width * step / _POINTS for step in range(_POINTS)]
    # the fall at R = T has no width on a log axis, so it needs extra points
    near = [math.log10(end_s * (1 - 10 ** (-step / 8))) for step in range(2, _POINTS)]
    places = [*sorted({place for place in (*even, *near) if place >= x.low}), math.log10(end_s)]
    prices = [cost.price(line.classical_s, 10**place, break_even.prices) for place in places]
    return [
        (place, min(y.high, max(y.low, math.log10(price))))
        for place, price in zip(places, prices, strict=True)
        if price > 0
    ]


def _panel(break_even: BreakEven, cost: CallCost, face: Look, frame: Frame, *, first: bool) -> Composed:
    x, y = frame.x, frame.y
    use_x = alt.X("x:Q", scale=alt.Scale(domain=[x.low, x.high], nice=False, zero=False), axis=x.encode())
    scale = alt.Scale(domain=[y.low, y.high], nice=False, zero=False)
    use_y = alt.Y("y:Q", scale=scale, axis=y.encode(words=first))
    drawn = _label_lines(break_even, cost, frame)
    layers = [layer for each in drawn for layer in _line(each, y, use_x, use_y)]
    layers += _point(break_even, cost, face, use_x, use_y, drawn, frame)
    title = alt.TitleParams(
        cost.arm,
        subtitle=_describe_lines(break_even, cost),
        anchor="start",
        fontSize=12,
        subtitleFontSize=10,
        offset=8,
    )
    return lay_over(layers, width=frame.width, height=frame.height, title=title)


def _label_lines(break_even: BreakEven, cost: CallCost, frame: Frame) -> list[Course]:
    """The lines that are seen; a supposed one under another's name would not be, and is left out."""
    courses = [(line, _course(cost, line, break_even, frame.x, frame.y)) for line in _lines(break_even, cost)]
    visible = sorted(
        ((line, course) for line, course in courses if course),
        key=lambda each: (each[1][0][1], each[0].kind == "gain"),
    )
    gap = _LABEL_PX * (frame.y.high - frame.y.low) / frame.height
    while True:
        heights = stack_labels([course[0][1] for _, course in visible], gap)
        labelled = [
            Course(line, course, height) for (line, course), height in zip(visible, heights, strict=True)
        ]
        hidden = next((each for each in labelled if each.line.kind == "supposed" and each.is_lifted), None)
        if hidden is None:
            return labelled
        visible = [each for each in visible if each[0] is not hidden.line]


def _beside(
    break_even: BreakEven, cost: CallCost, drawn: Sequence[Course], frame: Frame
) -> tuple[float, float]:
    """How far from this run's mark its words stand, px: where they touch least; dx below 0 ends there."""
    at = math.log10(cost.blocked_s), _height(break_even, frame.y)
    lines = [frame.place(point) for each in drawn for point in each.points]
    x, y = frame.place(at)
    if cost.round_trip_s > _HIDDEN_FROM * cost.blocked_s:
        end, _ = frame.place((math.log10(cost.round_trip_s), at[1]))
        lines += [(x + (end - x) * step / _POINTS, y) for step in range(_POINTS + 1)]
    label_boxes = [
        frame.words((each.points[0][0], each.named_at), each.line.words, _NAME_DX, _NAME_DY) for each in drawn
    ]
    choices = [frame.words(at, _HERE, dx, dy) for dx, dy in _SIDES]
    return _SIDES[freest(frame, choices, label_boxes, lines)]


def _describe_lines(break_even: BreakEven, cost: CallCost) -> list[str]:
    return [
        f"a call: {span(cost.blocked_s)}, QPU billed {span(cost.billed_s(cost.blocked_s))}",
        f"costs what {span(cost.classical_s(break_even.prices))} of a solver does",
    ]


def _line(drawn: Course, y: Axis, use_x: alt.X, use_y: alt.Y) -> list[alt.Chart]:
    line, course = drawn.line, drawn.points
    rows: list[Row] = [{"x": place, "y": price, "low": y.low} for place, price in course]
    base = alt.Chart(data(rows))
    width, dash = {"measured": (2.0, [1, 0]), "gain": (2.0, [6, 3]), "supposed": (0.8, [3, 3])}[line.kind]
    curve = base.mark_line(color=INK, strokeWidth=width, strokeDash=dash, interpolate="linear")
    start: Row = {"x": course[0][0], "y": drawn.named_at}
    name = alt.Chart(data([start])).mark_text(align="left", dx=_NAME_DX, dy=_NAME_DY, fontSize=10, color=INK)
    layers = [
        curve.encode(x=use_x, y=use_y, order=alt.Order("x:Q")),
        name.encode(x=use_x, y=use_y, text=alt.value(line.words)),
    ]
    if line.kind == "supposed":
        return layers
    region = base.mark_area(color=INK, opacity=0.12, line=False).encode(x=use_x, y=use_y, y2=alt.Y2("low:Q"))
    corner: Row = {"x": course[0][0], "y": y.low}
    words = alt.Chart(data([corner])).mark_text(
        align="left", dx=5, dy=-7, fontSize=10, fontStyle="italic", color=INK
    )
    return [region, *layers, words.encode(x=use_x, y=use_y, text=alt.value("worth it"))]


def _height(break_even: BreakEven, y: Axis) -> float:
    """Today's price; a free QPU is on the lower edge."""
    price = break_even.prices.qpu_second
    return math.log10(price) if price > 10**y.low else y.low


def _point(
    break_even: BreakEven,
    cost: CallCost,
    face: Look,
    use_x: alt.X,
    use_y: alt.Y,
    drawn: Sequence[Course],
    frame: Frame,
) -> list[alt.Chart]:
    """Today's price and round trip; what overlap hides of the round trip, as a line to an open mark."""
    height = _height(break_even, frame.y)
    blocked_at: Row = {"x": math.log10(cost.blocked_s), "y": height}
    point = alt.Chart(data([blocked_at])).mark_point(
        shape=face.shape, size=90, filled=True, color=face.colour, opacity=1
    )
    dx, dy = _beside(break_even, cost, drawn, frame)
    words = alt.Chart(data([blocked_at]))
    name = words.mark_text(align="left" if dx >= 0 else "right", dx=dx, dy=dy, fontSize=10, color=INK)
    layers = [
        point.encode(x=use_x, y=use_y),
        name.encode(x=use_x, y=use_y, text=alt.value(_HERE)),
    ]
    if cost.round_trip_s > _HIDDEN_FROM * cost.blocked_s:
        round_trip_at: Row = {"x": math.log10(cost.round_trip_s), "y": height}
        way: Row = {**blocked_at, "x2": round_trip_at["x"]}
        rule = alt.Chart(data([way])).mark_rule(color=INK, strokeWidth=1, strokeDash=[2, 2])
        ring = alt.Chart(data([round_trip_at])).mark_point(
            shape=face.shape, size=90, stroke=face.colour, strokeWidth=1.4, opacity=1
        )
        layers = [rule.encode(x=use_x, x2=alt.X2("x2:Q"), y=use_y), ring.encode(x=use_x, y=use_y), *layers]
    return layers
