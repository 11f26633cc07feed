"""What every page is made of: charts written beside it and set inline, and a template that marks them up."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from shotclock.bench.report.kit.figure import Figure
from shotclock.bench.report.kit.grid import Grid
from shotclock.bench.report.kit.render import inline, png, standalone, svg
from shotclock.domain import files

PAGE = "report.html"
CHARTS = "charts"


@dataclass(frozen=True, slots=True)
class Drawn:
    """A chart ready for a page.

    name: of its files.
    title: on the page and for a screen reader.
    caption: what it shows, in words.
    drawing: the SVG, safe to set inline.
    grid: its figures.
    narrow: the drawing for a narrow screen; empty if that is the same one.
    """

    name: str
    title: str
    caption: str
    drawing: Markup
    grid: Grid
    narrow: Markup


def draw_all(figures: Iterable[Figure], folder: Path) -> list[Drawn]:
    """Writes charts/*.svg and charts/*.png under `folder`; gives them for its page, in the same order.

    Raises OSError where the folder cannot be written.
    """
    charts = folder / CHARTS
    folder.mkdir(parents=True, exist_ok=True)
    files.make_folder(charts)
    return [_draw(figure, charts) for figure in figures]


def _draw(figure: Figure, charts: Path) -> Drawn:
    drawing = svg(figure.chart)
    files.write_text(charts / f"{figure.name}.svg", standalone(drawing))
    files.write_bytes(charts / f"{figure.name}.png", png(drawing))
    shown = _embed(drawing, figure.name, figure)
    narrow = (
        Markup() if figure.narrow is None else _embed(svg(figure.narrow), f"{figure.name}-narrow", figure)
    )
    return Drawn(figure.name, figure.title, figure.caption, shown, figure.grid, narrow)


def _embed(drawing: str, name: str, figure: Figure) -> Markup:
    # Vega escapes the text it draws and `inline` what it adds.
    return Markup(inline(drawing, name, figure.title, figure.caption))  # noqa: S704


def template(name: str) -> Template:
    """A page's template from this package: everything is escaped, and a missing name is an error."""

    def keep_unbroken(shown: object) -> object:
        """No line ends between a number and its %."""
        return shown.replace(" %", "\u00a0%") if type(shown) is str else shown

    environment = Environment(
        loader=PackageLoader("shotclock.bench", "report"),
        autoescape=True,
        finalize=keep_unbroken,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)
