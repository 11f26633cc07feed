"""Charts laid over and beside each other, without a copy of any of them.

Altair's constructors copy every chart in a composition three times, for parameters that these charts do not
have; half of a report's time went there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import altair as alt

Composed = alt.ConcatChart | alt.HConcatChart | alt.LayerChart | alt.VConcatChart


def lay_over(charts: Iterable[alt.Chart], **properties: Any) -> alt.LayerChart:
    """One panel; properties: its width, height (px) and title, which a layer must not set."""
    composed = alt.LayerChart(layer=[], **properties)
    composed.layer = list(charts)
    return composed


def set_beside(charts: Iterable[Composed], spacing: int) -> alt.HConcatChart:
    """Panels from left to right, `spacing` px apart."""
    composed = alt.HConcatChart(hconcat=[], spacing=spacing)
    composed.hconcat = list(charts)
    return composed


def stack(charts: Iterable[Composed], spacing: int) -> alt.VConcatChart:
    """Panels from top to bottom, `spacing` px apart."""
    composed = alt.VConcatChart(vconcat=[], spacing=spacing)
    composed.vconcat = list(charts)
    return composed


def set_in_columns(charts: Iterable[Composed], columns: int, spacing: tuple[int, int]) -> alt.ConcatChart:
    """Panels row by row; spacing: between rows and between columns, px."""
    rows_px, columns_px = spacing
    composed = alt.ConcatChart(concat=[], columns=columns, spacing={"row": rows_px, "column": columns_px})
    composed.concat = list(charts)
    return composed
