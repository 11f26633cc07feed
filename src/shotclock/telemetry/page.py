"""The overview as a page for a browser: one document that needs nothing else and renews itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from html import escape
from importlib.resources import files
from itertools import groupby
from urllib.parse import quote

from shotclock.domain.overview import Interval, Overview
from shotclock.telemetry.amounts import show_instant, show_span
from shotclock.telemetry.problems import find_problems, show_title
from shotclock.telemetry.recent import INTERVAL_S
from shotclock.telemetry.sections import Cell, Section, Tile, sections, tiles

WIDE = frozenset({"callers", "refusals", "tenants", "events"})
"""Sections as wide as the page."""

CHART_WIDTH, CHART_HEIGHT = 300, 56
KINDS = (
    ("samples", "in time, with QPU samples"),
    ("classical", "in time, classically"),
    ("missed", "missed the deadline"),
)
ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><circle cx="4" cy="4" r="4" fill="{}"/></svg>'
)
COLOURS = {"well": "#17713c", "attention": "#e08a00", "down": "#b1121d"}

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><link rel="icon" href="{icon}">
<noscript><meta http-equiv="refresh" content="5"></noscript>
<style nonce="{nonce}">{style}</style></head>
<body class="{state}" data-icon="{icon}">
<header><div id="title" role="status" data-part><h1>{title}</h1></div>
<span class="muted" id="which" data-part>{which}</span>
<button id="pause" type="button" hidden>Pause updates</button></header>
<p id="stale" role="alert" hidden>The service does not answer: the figures below are old.</p>
<main><ul id="problems" aria-label="What needs attention" data-part>{problems}</ul>
<dl id="tiles" data-part>{tiles}</dl>
{chart}{sections}</main>
<footer><span id="at" data-part>{at}</span> <span class="live">Renewed every 2 seconds, every 5 without
JavaScript.</span></footer>
<script nonce="{nonce}">{script}</script></body></html>
"""


@cache
def _read(name: str) -> str:
    return (files("shotclock.telemetry") / "files" / name).read_text(encoding="utf-8")


def policy(nonce: str) -> str:
    """The Content-Security-Policy of a page: nothing from elsewhere, and no script but its own."""
    return (
        f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; img-src data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def page(overview: Overview, nonce: str = "") -> str:
    """The document; the nonce permits its style and its script."""
    problems = find_problems(overview)
    state = "down" if overview.reasons else "attention" if problems else "well"
    emulated = " · EMULATED provider" if overview.emulated else ""
    up = show_span(overview.now_unix_s - overview.started_unix_s)
    return _PAGE.format(
        title=escape(show_title(overview)),
        icon=escape(f"data:image/svg+xml,{quote(ICON.format(COLOURS[state]))}"),
        nonce=nonce,
        style=_read("status.css"),
        script=_read("status.js"),
        state=state,
        which=escape(f"{overview.address} · version {overview.version} · up for {up}{emulated}"),
        problems="".join(f"<li>{_show(problem)}</li>" for problem in problems),
        tiles="".join(map(_tile, tiles(overview))),
        chart=_chart_section(overview.intervals),
        sections=_arrange(sections(overview)),
        at=escape(f"As of {show_instant(overview.now_unix_s, overview.now_unix_s)} UTC."),
    )


def _show(text: str) -> str:
    """Escaped; what is between backticks is code."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(text))


def _tile(tile: Tile) -> str:
    return (
        f'<div class="tile"><dt>{escape(tile.name)}</dt><dd class="figure">{_mark(tile.value)}</dd>'
        f'<dd class="of">{escape(tile.note)}</dd></div>\n'
    )


def _arrange(every: tuple[Section, ...]) -> str:
    """Wide sections below each other, runs of narrow ones in two columns."""
    runs = groupby(every, key=lambda section: section.name in WIDE)
    texts = [(is_wide, "\n".join(map(_section, run))) for is_wide, run in runs]
    return "\n".join(text if is_wide else f'<div class="columns">{text}</div>' for is_wide, text in texts)


def _mark(cell: Cell) -> str:
    text = _show(cell.text)
    return f'<span class="concern">{text}</span>' if cell.needs_attention else text


def _section(section: Section) -> str:
    name = section.name
    note = section.note if section.rows else ""
    scroll = f' class="scroll" tabindex="0" role="group" aria-labelledby="{name}-title"'
    return (
        f'<section aria-labelledby="{name}-title">'
        f'<h2 id="{name}-title" data-part>{escape(section.title)}</h2>'
        f'<div id="{name}" data-part{scroll if section.has_numbers else ""}>{_table(section)}</div>'
        f'<p id="{name}-note" class="note" data-part>{escape(note)}</p></section>'
    )


def _table(section: Section) -> str:
    if not section.rows:
        return f'<p class="note">{escape(section.empty)}</p>'
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in section.columns)
    rows = "".join(
        f'<tr><th scope="row">{_mark(row[0])}</th>'
        + "".join(f"<td>{_mark(cell)}</td>" for cell in row[1:])
        + "</tr>\n"
        for row in section.rows
    )
    kind = "numbers" if section.has_numbers else "rows" if section.columns else "facts"
    return (
        f'<table class="{kind}" aria-labelledby="{section.name}-title">'
        f"{f'<thead><tr>{head}</tr></thead>' if head else ''}<tbody>{rows}</tbody></table>"
    )


def _chart_section(intervals: tuple[Interval, ...]) -> str:
    busiest = max((sum(_parts(interval)) for interval in intervals), default=0)
    legend = "".join(f'<span><span class="key {kind}"></span>{words}</span>' for kind, words in KINDS)
    totals = [sum(part) for part in zip(*map(_parts, intervals), strict=True)]
    words = ", ".join(f"{total:,} {text}" for total, (_, text) in zip(totals, KINDS, strict=False))
    window = show_span(INTERVAL_S * len(intervals))
    return (
        '<section aria-labelledby="chart-title">'
        f'<h2 id="chart-title">Calls, every {INTERVAL_S} s of the last {window}</h2>'
        '<div id="chart" data-part>'
        f'<svg class="chart" viewBox="0 0 {CHART_WIDTH} {CHART_HEIGHT}" preserveAspectRatio="none" '
        f'role="img" aria-label="{escape(words)}">{"".join(_bars(intervals, busiest))}</svg>'
        f'<p class="legend">{legend}<span>most: {busiest:,}; the present is on the right</span></p>'
        "</div></section>"
    )


def _parts(interval: Interval) -> tuple[int, int, int]:
    return interval.samples, interval.classical, interval.missed


def _bars(intervals: tuple[Interval, ...], busiest: int) -> Iterator[str]:
    width = CHART_WIDTH / max(1, len(intervals))
    for number, interval in enumerate(intervals):
        base = float(CHART_HEIGHT)
        for part, (kind, _) in zip(_parts(interval), KINDS, strict=True):
            if part:
                height = CHART_HEIGHT * part / busiest
                base -= height
                yield (
                    f'<rect class="{kind}" x="{number * width + 0.5:.1f}" y="{base:.2f}" '
                    f'width="{width - 1:.1f}" height="{height:.2f}"/>'
                )
