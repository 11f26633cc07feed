"""Charts laid over and beside each other, without a copy of any of them.

Altair's constructors copy every chart of a composition at each level, when it is made and again when it is
written, for parameters that these charts do not have; that took a third of a report's time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

import altair as alt

_Kind = Literal["layer", "hconcat", "vconcat", "concat"]


@dataclass(frozen=True, slots=True)
class Composed:
    """Charts in one drawing.

    kind: how they are arranged, Vega-Lite's key of the parts.
    parts: the charts, in order.
    properties: of the whole by Vega-Lite's keys: width, title, spacing and so on.
    """

    kind: _Kind
    parts: tuple[alt.Chart | Composed, ...]
    properties: dict[str, Any]

    def with_properties(self, **properties: Any) -> Composed:
        """The same charts with these properties too."""
        return replace(self, properties=self.properties | properties)

    def to_dict(self, *, validate: bool) -> dict[str, Any]:
        """The specification in Vega-Lite. validate: each chart is checked against its schema."""
        datasets: dict[str, Any] = {}
        specification = self._specify(datasets, validate)
        return {"$schema": alt.SCHEMA_URL, **specification, "datasets": datasets}

    def _specify(self, datasets: dict[str, Any], validate: bool) -> dict[str, Any]:
        """Without what stands at the top only; the charts' data go to `datasets`."""
        context = {"datasets": datasets, "top_level": False}
        parts = [
            part._specify(datasets, validate)
            if isinstance(part, Composed)
            else part.to_dict(validate=validate, context=context)
            for part in self.parts
        ]
        properties = {
            name: value.to_dict(validate=validate) if isinstance(value, alt.SchemaBase) else value
            for name, value in self.properties.items()
        }
        return {**properties, self.kind: parts}


def lay_over(charts: Iterable[alt.Chart], **properties: Any) -> Composed:
    """One panel; properties: its width, height (px) and title, which a layer must not set."""
    return Composed("layer", tuple(charts), properties)


def set_beside(charts: Iterable[Composed], spacing: int) -> Composed:
    """Panels from left to right, `spacing` px apart."""
    return Composed("hconcat", tuple(charts), {"spacing": spacing})


def stack(charts: Iterable[alt.Chart | Composed], spacing: int) -> Composed:
    """Panels from top to bottom, `spacing` px apart."""
    return Composed("vconcat", tuple(charts), {"spacing": spacing})


def set_in_columns(charts: Iterable[Composed], columns: int, spacing: tuple[int, int]) -> Composed:
    """Panels row by row; spacing: between rows and between columns, px."""
    rows_px, columns_px = spacing
    gaps = {"row": rows_px, "column": columns_px}
    return Composed("concat", tuple(charts), {"columns": columns, "spacing": gaps})
