"""A chart as SVG and as PNG, without a browser and without a network."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape

import vl_convert
from altair.utils import schemapi

from shotclock.bench.report.kit.arm_styles import INK
from shotclock.bench.report.kit.compose import Composed

_ROOT = re.compile(r"<svg\b[^>]*?>")
_WIDTH = re.compile(r'\bwidth="([\d.]+)"')
_ENLARGED = 1.07
"""So that the widest charts fill the page, and letters are of one size in all of them."""
_SIZE = re.compile(r'\s(?:width|height|role|aria-[a-z]+)="[^"]*"')


@contextmanager
def without_validation() -> Iterator[None]:
    """Draws charts without holding each of their parts against Vega-Lite's schema.

    That takes half of a report's time and tells a reader nothing: the charts are this package's own, and its
    tests draw them with the check.
    """
    with schemapi.debug_mode(arg=False):
        yield


def svg(chart: Composed) -> str:
    """The chart as Vega draws it, on no background. Raises ValueError if Vega refuses it."""
    return vl_convert.vegalite_to_svg(chart.to_dict(validate=schemapi.DEBUG_MODE), allowed_base_urls=[])


def standalone(drawn: str) -> str:
    """For a separate file: the same on white paper."""
    return _ROOT.sub(
        lambda root: f'{root.group(0)}<rect width="100%" height="100%" fill="#ffffff"/>', drawn, 1
    )


def png(drawn: str) -> bytes:
    """The drawing on white, at twice its size, for slides and screens."""
    return vl_convert.svg_to_png(standalone(drawn), scale=2.0)


def inline(drawn: str, name: str, title: str, description: str) -> str:
    """For the page: scales with it, in its text colour, and is one image with a title to a screen reader."""

    def root(tag: re.Match[str]) -> str:
        sized = _SIZE.sub("", tag.group(0))[:-1]
        width = _WIDTH.search(tag.group(0))
        most = f"max-width:{_ENLARGED * float(width.group(1)):.0f}px" if width is not None else ""
        return (
            f'{sized} style="{most}" role="img" '
            f'aria-label="{escape(title)}" aria-describedby="{name}-description">'
            f'<title>{escape(title)}</title><desc id="{name}-description">{escape(description)}</desc>'
        )

    # An id must be unique in a page, but Vega numbers its ids from zero in every drawing.
    own = re.sub(r'(\bid="|url\(#)', rf"\g<1>{name}-", drawn)
    return _ROOT.sub(root, own, 1).replace(f'"{INK}"', '"currentColor"')
